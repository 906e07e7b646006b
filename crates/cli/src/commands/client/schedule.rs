//! `holdfast client schedule …`: the schedules of a server.

mod options;

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::api::{Api, take};
use super::find::{self, FoundServer, text};
use crate::error::CommandError;
use crate::output;

use options::{ChangedSchedule, NewSchedule};

/// The subcommands of `holdfast client schedule`.
#[derive(Debug, Subcommand)]
pub enum ClientScheduleCommand {
    /// Lists the schedules of a server, oldest first
    List {
        /// UUID, short ID or name of the server
        server: String,
    },
    /// Shows a schedule with its tasks and its last result
    Show(ScheduleArguments),
    /// Creates a schedule that makes backups of a server
    Create(Box<NewSchedule>),
    /// Changes a schedule; options that are not given stay as they are
    Set(Box<ChangedSchedule>),
    /// Runs a schedule now, whether or not it is active
    Run(ScheduleArguments),
    /// Deletes a schedule; its backups are kept
    Delete(ScheduleArguments),
}

/// The arguments that name a schedule.
#[derive(Debug, clap::Args)]
pub struct ScheduleArguments {
    /// UUID, short ID or name of the server
    server: String,
    /// ID or name of the schedule
    schedule: String,
}

pub(super) async fn run(
    api: &Api,
    json: bool,
    command: ClientScheduleCommand,
) -> Result<(), CommandError> {
    match command {
        ClientScheduleCommand::List { server } => {
            let server = find::server(api, &server).await?;
            list(api, json, &server).await
        }
        ClientScheduleCommand::Show(asked) => {
            let (_, schedule) = found(api, &asked).await?;
            print(json, &schedule)
        }
        ClientScheduleCommand::Create(options) => create(api, json, &options).await,
        ClientScheduleCommand::Set(options) => set(api, json, &options).await,
        ClientScheduleCommand::Run(asked) => {
            let (path, schedule) = found(api, &asked).await?;
            api.send(Method::POST, &format!("{path}/execute"), None)
                .await?;
            let id = &schedule["id"];
            match json {
                true => output::result(true, &json!({ "id": id, "is_started": true })),
                false => output::line(&sentence(&schedule, "runs now")),
            }
        }
        ClientScheduleCommand::Delete(asked) => {
            let (path, schedule) = found(api, &asked).await?;
            api.send(Method::DELETE, &path, None).await?;
            let id = &schedule["id"];
            match json {
                true => output::result(true, &json!({ "id": id, "deleted": true })),
                false => output::line(&sentence(&schedule, "is deleted")),
            }
        }
    }
}

async fn list(api: &Api, json: bool, server: &FoundServer) -> Result<(), CommandError> {
    let mut answer = api.get(&server.schedules()).await?;
    let objects = match take(&mut answer, "data") {
        Value::Array(objects) => objects,
        _ => {
            return Err(CommandError::new(
                "the service answered with no list of schedules",
            ));
        }
    };
    let schedules = objects
        .into_iter()
        .map(|mut object| take(&mut object, "attributes"));
    if json {
        return output::result(true, &schedules.collect());
    }
    let rows = schedules.map(|schedule| {
        json!({
            "id": schedule["id"],
            "name": schedule["name"],
            "cron": cron(&schedule),
            "timezone": schedule["timezone"],
            "active": schedule["is_active"],
            "next_run_at": schedule["next_run_at"],
            "last_result": schedule["last_result"]["status"],
        })
    });
    output::result(false, &rows.collect())
}

/// Creates a schedule and its tasks. It becomes active when it is whole, and is removed again if it
/// cannot become so.
async fn create(api: &Api, json: bool, options: &NewSchedule) -> Result<(), CommandError> {
    let server = find::server(api, &options.server).await?;
    let tasks = options.tasks()?;
    let fields = Value::Object(options.fields());
    let created = api
        .send(Method::POST, &server.schedules(), Some(&fields))
        .await?;
    let id = &created["attributes"]["id"];
    let path = format!("{}/{id}", server.schedules());
    match complete(api, &path, &tasks).await {
        Ok(schedule) => print(json, &schedule),
        Err(error) => match api.send(Method::DELETE, &path, None).await {
            Ok(_) => Err(error),
            Err(failure) => Err(CommandError::new(format!(
                "{error}; schedule {id} is there, but inactive and without all of its tasks, and \
                 could not be deleted: {failure}"
            ))),
        },
    }
}

/// Adds the tasks of a new schedule, and makes it active.
async fn complete(api: &Api, path: &str, tasks: &[Value]) -> Result<Value, CommandError> {
    for task in tasks {
        api.send(Method::POST, &format!("{path}/tasks"), Some(task))
            .await?;
    }
    let active = json!({ "is_active": true });
    let mut answer = api.send(Method::PATCH, path, Some(&active)).await?;
    Ok(take(&mut answer, "attributes"))
}

async fn set(api: &Api, json: bool, options: &ChangedSchedule) -> Result<(), CommandError> {
    let server = find::server(api, &options.server).await?;
    let schedule = find::schedule(api, &server, &options.schedule).await?;
    let path = format!("{}/{}", server.schedules(), schedule["id"]);
    let fields = options.fields();
    let patterns = options.patterns()?;
    if fields.is_empty() && patterns.is_none() {
        return Err(CommandError::new(
            "name what to change: `--help` lists the options",
        ));
    }
    // Checked before anything is changed.
    let backup_task = match &patterns {
        Some(patterns) => Some(changed_backup(&schedule, patterns)?),
        None => None,
    };
    if !fields.is_empty() {
        api.send(Method::PATCH, &path, Some(&Value::Object(fields)))
            .await?;
    }
    if let Some((id, task)) = backup_task {
        let path = format!("{path}/tasks/{id}");
        api.send(Method::POST, &path, Some(&task)).await?;
    }
    let changed = api.get(&path).await?;
    print(json, &changed["attributes"])
}

/// Returns the ID of a schedule's backup task, and the task with other patterns.
fn changed_backup(schedule: &Value, patterns: &str) -> Result<(Value, Value), CommandError> {
    let tasks = tasks(schedule);
    let mut backups = tasks.iter().filter(|task| task["action"] == "backup");
    let (Some(task), None) = (backups.next(), backups.next()) else {
        return Err(CommandError::new(format!(
            "schedule `{}` does not have exactly one backup: change its tasks by the API",
            text(schedule, "name")
        )));
    };
    let changed = json!({
        "action": "backup",
        "payload": patterns,
        "time_offset": task["time_offset"],
        "continue_on_failure": task["continue_on_failure"],
    });
    Ok((task["id"].clone(), changed))
}

/// Returns a schedule's path in the API, and its attributes.
async fn found(api: &Api, asked: &ScheduleArguments) -> Result<(String, Value), CommandError> {
    let server = find::server(api, &asked.server).await?;
    let schedule = find::schedule(api, &server, &asked.schedule).await?;
    Ok((
        format!("{}/{}", server.schedules(), schedule["id"]),
        schedule,
    ))
}

fn print(json: bool, schedule: &Value) -> Result<(), CommandError> {
    if json {
        return output::result(true, schedule);
    }
    let mut shown = Map::new();
    for (name, value) in schedule.as_object().into_iter().flatten() {
        let value = match name.as_str() {
            "cron" => cron(schedule).into(),
            "last_result" if value.is_object() => {
                let words = ["status", "finished_at", "error"].map(|part| text(value, part));
                let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
                words.join(", ").into()
            }
            "relationships" => continue,
            _ => value.clone(),
        };
        shown.insert(name.clone(), value);
    }
    let rows = tasks(schedule).into_iter().map(|task| {
        json!({
            "task": task["sequence_id"],
            "action": task["action"],
            "payload": task["payload"],
            "seconds_before": task["time_offset"],
        })
    });
    shown.insert("tasks".to_owned(), rows.collect());
    output::result(false, &Value::Object(shown))
}

fn tasks(schedule: &Value) -> Vec<Value> {
    let tasks = schedule["relationships"]["tasks"]["data"].as_array();
    let tasks = tasks.into_iter().flatten();
    tasks.map(|task| task["attributes"].clone()).collect()
}

fn cron(schedule: &Value) -> String {
    let fields = ["minute", "hour", "day_of_month", "month", "day_of_week"];
    fields.map(|field| text(&schedule["cron"], field)).join(" ")
}

fn sentence(schedule: &Value, done: &str) -> String {
    let name = output::visible(text(schedule, "name"));
    format!("schedule `{name}` ({}) {done}", schedule["id"])
}
