//! `holdfast admin schedule create|list|show|set|run|delete`.

mod options;
mod tasks;
mod view;

use clap::Subcommand;
use futures_util::stream;
use serde_json::{Value, json};

use holdfast_db::operator_log::Change;
use holdfast_db::schedules::ManualRun;
use holdfast_db::{Database, maintenance, schedules, servers};
use holdfast_domain::schedule::{
    Schedule, ScheduleId, ScheduleName, ScheduleSettings, TaskLimits, Timing,
};
use holdfast_domain::{Server, ServerId};

use self::options::{NewScheduleOptions, ScheduleChanges};
use super::{Outcome, Pages, change, find_server};
use crate::error::CommandError;
use crate::settings::Settings;

/// How many schedules one query of a list reads.
const PAGE: u32 = 500;
/// How many of the latest runs are shown.
const RUNS: u32 = 10;
/// The name of a schedule that is created without one.
const DEFAULT_NAME: &str = "Backup";

/// The subcommands of `holdfast admin schedule`.
#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    /// Creates a schedule that makes backups of a server, and prints when it runs next
    Create(Box<NewScheduleOptions>),
    /// Lists schedules, oldest first
    List {
        /// UUID of a server, or its first eight characters, to list only its schedules
        #[arg(long, value_name = "SERVER")]
        server: Option<String>,
    },
    /// Shows a schedule with its tasks, its next five runs and its last ten runs
    Show {
        /// ID of the schedule
        #[arg(value_name = "ID", value_parser = schedule_id)]
        schedule: ScheduleId,
    },
    /// Changes a schedule; options that are not given stay as they are
    Set {
        /// ID of the schedule
        #[arg(value_name = "ID", value_parser = schedule_id)]
        schedule: ScheduleId,
        /// What to change.
        #[command(flatten)]
        options: Box<ScheduleChanges>,
    },
    /// Runs a schedule now, whether or not it is active
    Run {
        /// ID of the schedule
        #[arg(value_name = "ID", value_parser = schedule_id)]
        schedule: ScheduleId,
    },
    /// Deletes a schedule; its backups are kept, and a run that has begun sends its last commands.
    /// A server whose default schedule is deleted gets no other one
    Delete {
        /// ID of the schedule
        #[arg(value_name = "ID", value_parser = schedule_id)]
        schedule: ScheduleId,
    },
}

fn schedule_id(text: &str) -> Result<ScheduleId, String> {
    ScheduleId::parse(text).ok_or_else(|| "must be the number of a schedule".to_owned())
}

pub(super) async fn run(
    settings: &Settings,
    database: &Database,
    command: ScheduleCommand,
) -> Result<Outcome, CommandError> {
    let result = match command {
        ScheduleCommand::List { server } => {
            let server = match server {
                Some(text) => Some(find_server(database, &text).await?.id),
                None => None,
            };
            return Ok(Outcome::Pages(list(database.clone(), server)));
        }
        ScheduleCommand::Create(options) => create(settings, database, *options).await,
        ScheduleCommand::Show { schedule } => show(database, schedule).await,
        ScheduleCommand::Set { schedule, options } => {
            set(settings, database, schedule, &options).await
        }
        ScheduleCommand::Run { schedule } => run_now(database, schedule).await,
        ScheduleCommand::Delete { schedule } => delete(database, schedule).await,
    };
    result.map(Outcome::from)
}

/// Lists schedules in pages, so that any number of them needs little memory.
fn list(database: Database, server: Option<ServerId>) -> Pages {
    let pages = stream::try_unfold(Some(ScheduleId(0)), move |after| {
        let database = database.clone();
        async move {
            let Some(after) = after else { return Ok(None) };
            let page = schedules::page(&database, server, after, PAGE).await?;
            let next = page.last().map(|schedule| schedule.id);
            let rows: Vec<Value> = page.iter().map(view::row).collect();
            Ok((!rows.is_empty()).then_some((rows, next)))
        }
    });
    Box::pin(pages)
}

async fn create(
    settings: &Settings,
    database: &Database,
    options: NewScheduleOptions,
) -> Result<Value, CommandError> {
    let server = find_server(database, &options.server).await?;
    let tasks = tasks::around_a_backup(settings, &options.tasks)?;
    let name = options.name.unwrap_or(default_name()?);
    let new = ScheduleSettings {
        name,
        timing: Timing {
            cron: options.cron,
            timezone: options.timezone.unwrap_or(settings.api.timezone),
            jitter_seconds: options.jitter.unwrap_or_default(),
            missed: options.missed.unwrap_or_default(),
        },
        keep: options.keep,
        is_active: true,
        only_when_online: options.only_when_online,
    };
    let mut change = change::begin(database, "schedule create").await?;
    let server = lock_server(&mut change, server.id).await?;
    let usage = schedules::usage(&mut change, server.id).await?;
    tasks::check(&limits(settings, &server), &usage, &tasks)?;
    let schedule = schedules::insert(&mut change, server.id, &new, None).await?;
    schedules::replace_tasks(&mut change, schedule, &tasks).await?;
    let created = find_in(&mut change, server.id, schedule).await?;
    change.commit(Some(&schedule.to_string()), None).await?;
    Ok(view::whole(&created))
}

async fn show(database: &Database, id: ScheduleId) -> Result<Value, CommandError> {
    let server = server_of(database, id).await?;
    let schedule = schedules::find(database, server, id).await?;
    let schedule = schedule.ok_or_else(|| missing(id))?;
    let runs = schedules::runs_of(database, id, RUNS).await?;
    let now = maintenance::now(database).await?;
    Ok(view::with_runs(&schedule, &runs, now))
}

async fn set(
    settings: &Settings,
    database: &Database,
    id: ScheduleId,
    options: &ScheduleChanges,
) -> Result<Value, CommandError> {
    let server = server_of(database, id).await?;
    let mut change = change::begin(database, "schedule set").await?;
    let server = lock_server(&mut change, server).await?;
    let schedule = find_in(&mut change, server.id, id).await?;
    schedule.check_change().map_err(|error| {
        let server = server.id.short();
        CommandError::new(format!(
            "schedule `{id}` is not changed: {error}; `holdfast admin server set {server} \
             --default-schedule off` excludes the server from it"
        ))
    })?;
    let old: Vec<_> = schedule
        .tasks
        .into_iter()
        .map(|stored| stored.task)
        .collect();
    let tasks = tasks::changed(settings, id, &old, &options.tasks)?;
    if let Some(tasks) = tasks {
        let mut usage = schedules::usage(&mut change, server.id).await?;
        usage.schedules = usage.schedules.saturating_sub(1);
        let replaced = tasks::payload_bytes(&old);
        usage.payload_bytes = usage.payload_bytes.saturating_sub(replaced);
        tasks::check(&limits(settings, &server), &usage, &tasks)?;
        schedules::replace_tasks(&mut change, id, &tasks).await?;
    }
    let was_active = schedule.settings.is_active;
    let changed = options.apply(schedule.settings);
    if changed.is_active != was_active {
        schedules::abandon(&mut change, server.id, id).await?;
    }
    schedules::update(&mut change, server.id, id, &changed).await?;
    let schedule = find_in(&mut change, server.id, id).await?;
    change.commit(Some(&id.to_string()), None).await?;
    Ok(view::whole(&schedule))
}

async fn run_now(database: &Database, id: ScheduleId) -> Result<Value, CommandError> {
    let server = server_of(database, id).await?;
    let mut change = change::begin(database, "schedule run").await?;
    let server = lock_server(&mut change, server).await?;
    let schedule = find_in(&mut change, server.id, id).await?;
    let run = match schedules::run_now(&mut change, &schedule).await? {
        ManualRun::Begun(run) => run,
        ManualRun::IsWaiting => {
            return Err(CommandError::new(format!(
                "a run of schedule `{id}` waits already: `holdfast admin schedule show {id}` \
                 shows it"
            )));
        }
        ManualRun::NoTasks => {
            return Err(CommandError::new(format!("schedule `{id}` has no tasks")));
        }
    };
    change.commit(Some(&id.to_string()), None).await?;
    Ok(json!({ "id": id, "server": server.id, "run": run }))
}

async fn delete(database: &Database, id: ScheduleId) -> Result<Value, CommandError> {
    let server = server_of(database, id).await?;
    let mut change = change::begin(database, "schedule delete").await?;
    let server = lock_server(&mut change, server).await?;
    if !schedules::delete(&mut change, server.id, id).await? {
        return Err(missing(id));
    }
    change.commit(Some(&id.to_string()), None).await?;
    Ok(json!({ "id": id, "server": server.id, "deleted": true }))
}

fn default_name() -> Result<ScheduleName, CommandError> {
    let name = ScheduleName::parse(DEFAULT_NAME).ok().flatten();
    name.ok_or_else(|| CommandError::new("a new schedule needs --name"))
}

fn limits(settings: &Settings, server: &Server) -> TaskLimits {
    let default = settings.api.backups_per_server;
    TaskLimits {
        backups: server.limits.backups.unwrap_or(default),
        power: settings.api.power_support,
    }
}

async fn server_of(database: &Database, id: ScheduleId) -> Result<ServerId, CommandError> {
    let server = schedules::server_of(database, id).await?;
    server.ok_or_else(|| missing(id))
}

async fn lock_server(change: &mut Change, server: ServerId) -> Result<Server, CommandError> {
    let locked = servers::lock_and_find(change, server).await?;
    let (server, _) = locked.ok_or_else(|| {
        CommandError::new(format!(
            "server `{}` was deleted in the meantime",
            server.short()
        ))
    })?;
    Ok(server)
}

async fn find_in(
    change: &mut Change,
    server: ServerId,
    id: ScheduleId,
) -> Result<Schedule, CommandError> {
    let schedule = schedules::find_in(change, server, id).await?;
    schedule.ok_or_else(|| missing(id))
}

fn missing(id: ScheduleId) -> CommandError {
    CommandError::new(format!(
        "there is no schedule `{id}`: `holdfast admin schedule list` shows the schedules"
    ))
}
