//! The options of `holdfast admin schedule`, and their values.

use std::path::PathBuf;

use clap::Args;

use holdfast_domain::retention::KeepRules;
use holdfast_domain::schedule::{
    Cron, MissedPolicy, ScheduleName, ScheduleSettings, Timezone, Timing,
};

use crate::commands::schedule_values::{
    ConsoleLine, OwnRules, command, cron, jitter, keep, keep_or_none, missed, name, timezone, wait,
};

/// The options of `holdfast admin schedule create`.
#[derive(Debug, Args)]
pub struct NewScheduleOptions {
    /// UUID of the server, or its first eight characters
    #[arg(long, value_name = "SERVER")]
    pub(super) server: String,
    /// Cron expression, such as "0 4 * * *" for 04:00 every day
    #[arg(long, value_name = "CRON", value_parser = cron)]
    pub(super) cron: Cron,
    /// IANA time zone of the expression, such as Europe/Berlin [default: schedules.timezone]
    #[arg(long, value_name = "ZONE", value_parser = timezone)]
    pub(super) timezone: Option<Timezone>,
    /// Longest delay of a run, such as 10m, 90s or 1h: schedules of the same time are spread over
    /// it [default: none]
    #[arg(long, value_name = "TIME", value_parser = jitter, allow_hyphen_values = true)]
    pub(super) jitter: Option<u32>,
    /// After an outage: whether one run makes up for the missed ones, or none [default: run-once]
    #[arg(long, value_name = "POLICY", value_parser = missed)]
    pub(super) missed: Option<MissedPolicy>,
    /// Retention rules for the schedule's own backups, such as last=7,weekly=4 [default: none]
    #[arg(long, value_name = "RULES", value_parser = keep)]
    pub(super) keep: Option<KeepRules>,
    /// Name of the schedule [default: Backup]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(super) name: Option<ScheduleName>,
    /// Skips runs while the server is not online
    #[arg(long)]
    pub(super) only_when_online: bool,
    /// The tasks.
    #[command(flatten)]
    pub(super) tasks: TaskOptions,
}

/// The options of `holdfast admin schedule set`.
#[derive(Debug, Args)]
pub struct ScheduleChanges {
    /// Cron expression, such as "0 4 * * *" for 04:00 every day
    #[arg(long, value_name = "CRON", value_parser = cron)]
    cron: Option<Cron>,
    /// IANA time zone of the expression, such as Europe/Berlin
    #[arg(long, value_name = "ZONE", value_parser = timezone)]
    timezone: Option<Timezone>,
    /// Longest delay of a run, such as 10m, 90s or 1h; 0s for none
    #[arg(long, value_name = "TIME", value_parser = jitter, allow_hyphen_values = true)]
    jitter: Option<u32>,
    /// After an outage: whether one run makes up for the missed ones, or none
    #[arg(long, value_name = "POLICY", value_parser = missed)]
    missed: Option<MissedPolicy>,
    /// Retention rules for the schedule's own backups, such as last=7,weekly=4; `none` for none
    #[arg(long, value_name = "RULES", value_parser = keep_or_none)]
    keep: Option<OwnRules>,
    /// Name of the schedule
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<ScheduleName>,
    /// Whether the schedule runs by itself
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    active: Option<bool>,
    /// Whether runs are skipped while the server is not online
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    only_when_online: Option<bool>,
    /// The tasks.
    #[command(flatten)]
    pub(super) tasks: TaskOptions,
}

/// The tasks of a schedule: one backup, and commands around it.
#[derive(Debug, Args)]
pub(super) struct TaskOptions {
    /// File with the ignore patterns of the backup, one a line [default: the server's own]
    #[arg(long, value_name = "FILE")]
    pub(super) ignored: Option<PathBuf>,
    /// Command for the server's console before the backup, such as save-off; repeatable. In `set`,
    /// replaces all commands before it; "" removes them
    #[arg(long, value_name = "COMMAND", value_parser = command, allow_hyphen_values = true)]
    pub(super) before: Vec<ConsoleLine>,
    /// Time between the last command and the backup, such as 15s: until the server has written its
    /// world [default: none]
    #[arg(long, value_name = "TIME", value_parser = wait, allow_hyphen_values = true)]
    pub(super) wait: Option<u32>,
    /// Command for the server's console after the backup, such as save-on; repeatable. With
    /// commands before the backup, it is sent even if the backup fails. In `set`, replaces all
    /// commands after it; "" removes them
    #[arg(long, value_name = "COMMAND", value_parser = command, allow_hyphen_values = true)]
    pub(super) after: Vec<ConsoleLine>,
}

impl ScheduleChanges {
    /// Applies the options to a schedule.
    pub(super) fn apply(&self, old: ScheduleSettings) -> ScheduleSettings {
        let timing = old.timing;
        ScheduleSettings {
            name: self.name.clone().unwrap_or(old.name),
            timing: Timing {
                cron: self.cron.clone().unwrap_or(timing.cron),
                timezone: self.timezone.unwrap_or(timing.timezone),
                jitter_seconds: self.jitter.unwrap_or(timing.jitter_seconds),
                missed: self.missed.unwrap_or(timing.missed),
            },
            keep: self.keep.map_or(old.keep, |OwnRules(rules)| rules),
            is_active: self.active.unwrap_or(old.is_active),
            only_when_online: self.only_when_online.unwrap_or(old.only_when_online),
        }
    }
}
