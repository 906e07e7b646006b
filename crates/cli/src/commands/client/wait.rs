//! Waits for the end of a backup, a restore or a verification, and says how it ended.

use std::time::Duration;

use serde_json::Value;

use super::api::{Api, take};
use super::find::{self, FoundBackup, Latest, short_id, text};
use crate::error::CommandError;
use crate::output;
use crate::progress::{Measure, ProgressMeter, size};

/// How often the backup is looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often it is looked at in the beginning, since most backups are quick.
const FIRST_INTERVAL: Duration = Duration::from_millis(250);
/// How often the shorter interval is used.
const FIRST_LOOKS: u32 = 20;
/// How many failures in a row are accepted.
const FAILURES: u32 = 10;
/// The time between two attempts after a failure.
const FAILURE_INTERVAL: Duration = Duration::from_secs(3);
/// The exit code of something that completed with notes.
const NOTES_EXIT_CODE: u8 = 3;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    Creation,
    Restore,
    Verification,
}

/// `holdfast client wait`.
pub(super) async fn run(
    api: &Api,
    json: bool,
    server: &str,
    backup: &str,
) -> Result<(), CommandError> {
    let server = find::server(api, server).await?;
    let backup = find::backup(api, &server, backup, Latest::Any).await?;
    let jobs = [Awaited::Creation, Awaited::Restore, Awaited::Verification];
    let running = jobs
        .into_iter()
        .find(|job| !job.has_ended(&backup.attributes));
    finish(api, json, backup, running.unwrap_or(Awaited::Creation)).await
}

/// Waits until a job of a backup has ended, and prints the backup.
///
/// # Errors
/// If the job failed. If it completed with notes, the error has no text and exit code 3.
pub(super) async fn finish(
    api: &Api,
    json: bool,
    backup: FoundBackup,
    awaited: Awaited,
) -> Result<(), CommandError> {
    let ended = until_ended(api, json, backup, awaited).await?;
    if json {
        output::result(true, &ended)?;
    }
    let outcome = awaited.outcome(&ended);
    let name = output::visible(text(&ended, "name")).into_owned();
    let title = format!("{} `{name}` ({})", awaited.noun(), short_id(&ended));
    if let Err(reason) = outcome {
        return Err(CommandError::new(format!("{title} failed: {reason}")));
    }
    if !json {
        let size = size(ended["bytes"].as_u64().unwrap_or_default());
        output::line(&format!("{title} is completed: {size}"))?;
    }
    match awaited.print_notes(&ended) {
        0 => Ok(()),
        _ => Err(CommandError::new("").with_exit_code(NOTES_EXIT_CODE)),
    }
}

/// Looks at a backup until a job of it has ended. Returns its attributes.
async fn until_ended(
    api: &Api,
    json: bool,
    backup: FoundBackup,
    awaited: Awaited,
) -> Result<Value, CommandError> {
    let path = backup.path;
    let mut now = backup.attributes;
    let title = format!("{} `{}`", awaited.noun(), text(&now, "name"));
    let mut meter = ProgressMeter::new(&title, json);
    let (mut looks, mut failures) = (0, 0);
    while !awaited.has_ended(&now) {
        let progress = &now["progress"];
        let number = |field: &str| progress[field].as_u64().unwrap_or_default();
        let measure = Measure {
            bytes_done: number("bytes_done"),
            bytes_total: number("bytes_total"),
            files_done: number("files_done"),
            files_total: number("files_total"),
        };
        let step = progress["phase"].as_str().unwrap_or("queued");
        meter.show(step, measure);
        let pause = if failures > 0 {
            FAILURE_INTERVAL
        } else if looks < FIRST_LOOKS {
            FIRST_INTERVAL
        } else {
            INTERVAL
        };
        tokio::time::sleep(pause).await;
        looks += 1;
        match api.get(&path).await {
            Ok(mut answer) => {
                now = take(&mut answer, "attributes");
                failures = 0;
            }
            Err(failure) if failure.is_passing() && failures < FAILURES => {
                failures += 1;
                meter.notice(&format!("{failure}; the work goes on, looking again"));
            }
            Err(failure) if failure.is_missing() => {
                return Err(CommandError::new(format!("{title} was deleted meanwhile")));
            }
            Err(failure) => return Err(failure.into()),
        }
    }
    Ok(now)
}

impl Awaited {
    fn noun(self) -> &'static str {
        match self {
            Self::Creation => "backup",
            Self::Restore => "restore of backup",
            Self::Verification => "verification of backup",
        }
    }

    fn status(self, backup: &Value) -> &str {
        match self {
            Self::Creation => text(backup, "status"),
            Self::Restore => text(&backup["restore"], "status"),
            Self::Verification => text(&backup["verification"], "status"),
        }
    }

    fn has_ended(self, backup: &Value) -> bool {
        !matches!(self.status(backup), "creating" | "queued" | "running")
    }

    /// Returns why the job has failed, if it has.
    fn outcome(self, backup: &Value) -> Result<(), String> {
        let job = match self {
            Self::Creation => backup,
            Self::Restore => &backup["restore"],
            Self::Verification => &backup["verification"],
        };
        match self.status(backup) {
            "completed" | "passed" => Ok(()),
            status => Err(match text(job, "error") {
                "" => format!("its status is `{status}`"),
                error => error.to_owned(),
            }),
        }
    }

    /// Prints the notes of a completed job, and returns their number.
    fn print_notes(self, backup: &Value) -> u64 {
        let notes = match self {
            Self::Creation => &backup["notes"],
            Self::Restore => &backup["restore"]["notes"],
            Self::Verification => {
                let note = text(&backup["verification"], "note");
                if !note.is_empty() {
                    output::problem(note);
                }
                return u64::from(!note.is_empty());
            }
        };
        let first = notes["first"].as_array().map_or(&[][..], Vec::as_slice);
        for note in first {
            output::problem(note.as_str().unwrap_or_default());
        }
        let count = notes["count"].as_u64().unwrap_or_default();
        let more = count.saturating_sub(first.len() as u64);
        if more > 0 {
            output::problem(&format!("and {more} more notes"));
        }
        count
    }
}
