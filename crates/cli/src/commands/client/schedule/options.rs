//! The options of `holdfast client schedule create` and `set`, and the fields that they become.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use holdfast_domain::retention::KeepRules;
use holdfast_domain::schedule::{Cron, MissedPolicy, ScheduleName, Timezone};

use crate::commands::schedule_values::{
    ConsoleLine, OwnRules, command, cron, jitter, keep, keep_or_none, missed, name, timezone, wait,
};
use crate::error::CommandError;

/// The name of a schedule that is created without one.
const DEFAULT_NAME: &str = "Backup";

/// The options of `holdfast client schedule create`.
#[derive(Debug, Args)]
pub struct NewSchedule {
    /// UUID, short ID or name of the server
    pub(super) server: String,
    /// Cron expression, such as "0 4 * * *" for 04:00 every day
    #[arg(long, value_name = "CRON", value_parser = cron)]
    cron: Cron,
    /// IANA time zone of the expression, such as Europe/Berlin [default: that of the service]
    #[arg(long, value_name = "ZONE", value_parser = timezone)]
    timezone: Option<Timezone>,
    /// Longest delay of a run, such as 10m, 90s or 1h [default: none]
    #[arg(long, value_name = "TIME", value_parser = jitter, allow_hyphen_values = true)]
    jitter: Option<u32>,
    /// After an outage: whether one run makes up for the missed ones, or none [default: run-once]
    #[arg(long, value_name = "POLICY", value_parser = missed)]
    missed: Option<MissedPolicy>,
    /// Retention rules for the schedule's own backups, such as last=7,weekly=4 [default: none]
    #[arg(long, value_name = "RULES", value_parser = keep)]
    keep: Option<KeepRules>,
    /// Name of the schedule [default: Backup]
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<ScheduleName>,
    /// Skips runs while the server is not online
    #[arg(long)]
    only_when_online: bool,
    /// File with the ignore patterns of the backup, one a line [default: the server's own]
    #[arg(long, value_name = "FILE")]
    ignored: Option<PathBuf>,
    /// Command for the server's console before the backup, such as save-off; repeatable
    #[arg(long, value_name = "COMMAND", value_parser = command, allow_hyphen_values = true)]
    before: Vec<ConsoleLine>,
    /// Time between the last command and the backup, such as 15s [default: none]
    #[arg(long, value_name = "TIME", value_parser = wait, allow_hyphen_values = true)]
    wait: Option<u32>,
    /// Command for the server's console after the backup, such as save-on; repeatable
    #[arg(long, value_name = "COMMAND", value_parser = command, allow_hyphen_values = true)]
    after: Vec<ConsoleLine>,
}

/// The options of `holdfast client schedule set`.
#[derive(Debug, Args)]
pub struct ChangedSchedule {
    /// UUID, short ID or name of the server
    pub(super) server: String,
    /// ID or name of the schedule
    pub(super) schedule: String,
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
    /// New name
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<ScheduleName>,
    /// Whether the schedule runs by itself
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    active: Option<bool>,
    /// Whether runs are skipped while the server is not online
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    only_when_online: Option<bool>,
    /// File with the ignore patterns of the backup, one a line
    #[arg(long, value_name = "FILE")]
    ignored: Option<PathBuf>,
}

impl NewSchedule {
    /// Returns the fields of the schedule, which is not active yet.
    pub(super) fn fields(&self) -> Map<String, Value> {
        let name = self
            .name
            .as_ref()
            .map_or(DEFAULT_NAME, ScheduleName::as_str);
        let mut fields = Map::new();
        fields.insert("name".to_owned(), name.into());
        add_cron(&mut fields, &self.cron);
        fields.insert("is_active".to_owned(), false.into());
        fields.insert("only_when_online".to_owned(), self.only_when_online.into());
        let optional = [
            ("timezone", self.timezone.map(|zone| zone.name().into())),
            ("jitter_seconds", self.jitter.map(Value::from)),
            ("missed", self.missed.map(|policy| policy.as_str().into())),
            ("keep", self.keep.map(|rules| rules.to_string().into())),
        ];
        add(&mut fields, optional);
        fields
    }

    /// Returns the tasks: a backup, and the commands around it.
    pub(super) fn tasks(&self) -> Result<Vec<Value>, CommandError> {
        let patterns = match &self.ignored {
            Some(path) => fs_err::read_to_string(path)?,
            None => String::new(),
        };
        let wait = self.wait.unwrap_or_default();
        let backup = json!({ "action": "backup", "payload": patterns, "time_offset": wait });
        let commands = |lines: &[ConsoleLine]| {
            let actions = lines.iter().filter_map(|line| line.0.as_ref());
            let tasks = actions.map(|action| {
                json!({ "action": "command", "payload": action.payload(), "time_offset": 0 })
            });
            tasks.collect::<Vec<Value>>()
        };
        Ok([commands(&self.before), vec![backup], commands(&self.after)].concat())
    }
}

impl ChangedSchedule {
    /// Returns the fields that change.
    pub(super) fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        if let Some(cron) = &self.cron {
            add_cron(&mut fields, cron);
        }
        let rules = |OwnRules(rules): OwnRules| rules.map(|rules| rules.to_string()).into();
        let optional = [
            ("name", self.name.as_ref().map(|name| name.as_str().into())),
            ("timezone", self.timezone.map(|zone| zone.name().into())),
            ("jitter_seconds", self.jitter.map(Value::from)),
            ("missed", self.missed.map(|policy| policy.as_str().into())),
            ("keep", self.keep.map(rules)),
            ("is_active", self.active.map(Value::from)),
            ("only_when_online", self.only_when_online.map(Value::from)),
        ];
        add(&mut fields, optional);
        fields
    }

    /// Reads the new patterns of the backup, if they change.
    pub(super) fn patterns(&self) -> Result<Option<String>, CommandError> {
        let read = |path: &Path| fs_err::read_to_string(path);
        Ok(self.ignored.as_deref().map(read).transpose()?)
    }
}

fn add_cron(fields: &mut Map<String, Value>, cron: &Cron) {
    let cron = cron.fields();
    let values = [
        ("minute", &cron.minute),
        ("hour", &cron.hour),
        ("day_of_month", &cron.day_of_month),
        ("month", &cron.month),
        ("day_of_week", &cron.day_of_week),
    ];
    for (field, value) in values {
        fields.insert(field.to_owned(), value.as_str().into());
    }
}

fn add<const N: usize>(fields: &mut Map<String, Value>, optional: [(&str, Option<Value>); N]) {
    for (field, value) in optional {
        if let Some(value) = value {
            fields.insert(field.to_owned(), value);
        }
    }
}
