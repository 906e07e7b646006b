//! What goes over a stream, written once for all who hear it.

use actix_web::web::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use holdfast_db::jobs::UnfinishedJob;
use holdfast_domain::job::Phase;
use holdfast_domain::{BackupEvent, JobProgress};

use crate::views;

/// An event as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// Its place in the order, if it has one: progress has none, and is not told again.
    pub(super) number: Option<i64>,
    pub(super) bytes: Bytes,
}

impl Frame {
    pub(super) fn notice(notice: &BackupEvent) -> Self {
        Self {
            number: Some(notice.number),
            bytes: event(Some(notice.number), &notice.kind, &notice.body()),
        }
    }

    /// The first event: from here on nothing is missed. `is_whole` says that nothing was missed before, either.
    pub(super) fn ready(number: i64, is_whole: bool) -> Self {
        Self {
            number: Some(number),
            bytes: event(
                Some(number),
                "stream.ready",
                &json!({ "event": "stream.ready", "sequence": number, "missed": !is_whole }),
            ),
        }
    }

    /// A comment, which keeps a connection open.
    pub(super) fn comment() -> Bytes {
        Bytes::from_static(b": still here\n\n")
    }
}

fn event(number: Option<i64>, name: &str, data: &impl Serialize) -> Bytes {
    // JSON has no raw line breaks, so one line of data is enough.
    let data = serde_json::to_string(data).unwrap_or_default();
    let id = number.map_or_else(String::new, |number| format!("id: {number}\n"));
    Bytes::from(format!("{id}event: {name}\ndata: {data}\n\n"))
}

/// How far a job was when it was last looked at.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) frame: Frame,
    /// Whether that differs from the time before.
    pub(super) is_new: bool,
    progress: JobProgress,
    at: Option<DateTime<Utc>>,
}

impl Shown {
    /// Shows a job after what was shown of it before.
    pub(super) fn after(before: Option<&Self>, job: &UnfinishedJob) -> Self {
        let progress = job
            .progress
            .unwrap_or_else(|| JobProgress::begin(Phase::Queued));
        if let Some(before) = before
            && before.progress == progress
        {
            return Self {
                is_new: false,
                ..before.clone()
            };
        }
        let bytes_per_second = before.and_then(|before| {
            let more = progress
                .bytes_done
                .checked_sub(before.progress.bytes_done)?;
            let millis = (job.at? - before.at?).num_milliseconds();
            let millis = u64::try_from(millis).ok().filter(|millis| *millis > 0)?;
            (before.progress.phase == progress.phase).then_some(more.saturating_mul(1000) / millis)
        });
        let data = json!({
            "event": "backup.progress",
            "server": { "uuid": job.server, "identifier": job.server.short() },
            "backup": { "uuid": job.backup },
            "job": job.kind.as_str(),
            "progress": views::progress(&progress),
            "bytes_per_second": bytes_per_second,
        });
        Self {
            frame: Frame {
                number: None,
                bytes: event(None, "backup.progress", &data),
            },
            is_new: true,
            progress,
            at: job.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_domain::{BackupId, JobId, JobKind, ServerId};

    fn job(phase: Phase, bytes_done: u64, millis: i64) -> UnfinishedJob {
        UnfinishedJob {
            id: JobId(1),
            kind: JobKind::CreateBackup,
            server: ServerId(uuid::Uuid::nil()),
            backup: BackupId(uuid::Uuid::nil()),
            progress: Some(JobProgress {
                bytes_done,
                ..JobProgress::begin(phase)
            }),
            at: DateTime::from_timestamp_millis(millis),
        }
    }

    fn rate(shown: &Shown) -> Option<u64> {
        let text = std::str::from_utf8(&shown.frame.bytes).expect("text");
        let (_, data) = text.split_once("data: ").expect("data");
        let data: serde_json::Value = serde_json::from_str(data.trim()).expect("JSON");
        data["bytes_per_second"].as_u64()
    }

    #[test]
    fn a_rate_is_that_of_one_phase_by_the_workers_own_times() {
        let first = Shown::after(None, &job(Phase::Archiving, 1_000, 0));
        assert_eq!((first.is_new, rate(&first)), (true, None));
        let same = Shown::after(Some(&first), &job(Phase::Archiving, 1_000, 500));
        assert!(!same.is_new);
        let next = Shown::after(Some(&same), &job(Phase::Archiving, 5_000, 2_000));
        assert_eq!((next.is_new, rate(&next)), (true, Some(2_000)));
        let other = Shown::after(Some(&next), &job(Phase::Uploading, 6_000, 3_000));
        assert_eq!(rate(&other), None);
        let again = Shown::after(Some(&other), &job(Phase::Uploading, 10, 4_000));
        assert_eq!(rate(&again), None, "another attempt");
    }
}
