//! Server-sent events, encoded once for all streams of a server.

use actix_web::web::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use holdfast_db::jobs::UnfinishedJob;
use holdfast_domain::job::Phase;
use holdfast_domain::{JobProgress, ServerEvent};

use crate::views;

/// An encoded event.
#[derive(Clone, Debug)]
pub(super) struct SseEvent {
    /// The number of the event. Progress has none, and is not sent again after a reconnection.
    pub(super) number: Option<i64>,
    pub(super) bytes: Bytes,
}

impl SseEvent {
    /// Encodes an event of a backup or a schedule.
    pub(super) fn of_server(event: &ServerEvent) -> Self {
        Self {
            number: Some(event.number),
            bytes: encode(Some(event.number), &event.kind, &event.body()),
        }
    }

    /// Returns the first event of a stream. `is_complete` means that no earlier event was missed.
    pub(super) fn ready(number: i64, is_complete: bool) -> Self {
        Self {
            number: Some(number),
            bytes: encode(
                Some(number),
                "stream.ready",
                &json!({ "event": "stream.ready", "sequence": number, "missed": !is_complete }),
            ),
        }
    }

    /// Returns a comment, which keeps the connection open.
    pub(super) fn comment() -> Self {
        Self {
            number: None,
            bytes: Bytes::from_static(b": still here\n\n"),
        }
    }
}

fn encode(number: Option<i64>, name: &str, data: &impl Serialize) -> Bytes {
    // JSON contains no raw line breaks, so the data is always one line.
    let data = serde_json::to_string(data).unwrap_or_default();
    let id = number.map_or_else(String::new, |number| format!("id: {number}\n"));
    Bytes::from(format!("{id}event: {name}\ndata: {data}\n\n"))
}

/// The progress of a job when it was last read.
#[derive(Clone, Debug)]
pub(super) struct ProgressEvent {
    pub(super) event: SseEvent,
    /// Whether the progress has changed since the previous event.
    pub(super) is_new: bool,
    progress: JobProgress,
    /// When the worker reported the progress.
    at: Option<DateTime<Utc>>,
}

impl ProgressEvent {
    /// Returns the progress of a job, given its previous event.
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
            event: SseEvent {
                number: None,
                bytes: encode(None, "backup.progress", &data),
            },
            is_new: true,
            progress,
            at: job.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_domain::{BackupId, JobId, JobKind, ServerId};

    use super::*;

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

    fn rate(progress: &ProgressEvent) -> Option<u64> {
        let text = std::str::from_utf8(&progress.event.bytes).expect("text");
        let (_, data) = text.split_once("data: ").expect("data");
        let data: serde_json::Value = serde_json::from_str(data.trim()).expect("JSON");
        data["bytes_per_second"].as_u64()
    }

    #[test]
    fn a_rate_is_measured_within_a_phase_with_the_times_of_the_worker() {
        let first = ProgressEvent::after(None, &job(Phase::Archiving, 1_000, 0));
        assert_eq!((first.is_new, rate(&first)), (true, None));
        let same = ProgressEvent::after(Some(&first), &job(Phase::Archiving, 1_000, 500));
        assert!(!same.is_new);
        let next = ProgressEvent::after(Some(&same), &job(Phase::Archiving, 5_000, 2_000));
        assert_eq!((next.is_new, rate(&next)), (true, Some(2_000)));
        let other = ProgressEvent::after(Some(&next), &job(Phase::Uploading, 6_000, 3_000));
        assert_eq!(rate(&other), None);
        let again = ProgressEvent::after(Some(&other), &job(Phase::Uploading, 10, 4_000));
        assert_eq!(rate(&again), None, "another attempt");
    }
}
