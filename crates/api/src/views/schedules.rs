//! The objects of schedules and their tasks. They are the same in both profiles.

pub(crate) mod objects;

use actix_web::HttpResponse;

use holdfast_domain::Profile;
use holdfast_domain::schedule::{LastResult, Schedule, StoredTask};

use self::objects::{
    CronView, LastResultView, ScheduleAttributes, ScheduleList, ScheduleObject,
    ScheduleRelationships, TaskAttributes, TaskList, TaskObject,
};
use super::date;

/// Returns the object of a schedule.
pub(crate) fn schedule(schedule: &Schedule) -> ScheduleObject {
    let settings = &schedule.settings;
    let timing = &settings.timing;
    let cron = timing.cron.fields();
    ScheduleObject {
        object: "server_schedule",
        attributes: ScheduleAttributes {
            id: schedule.id.0,
            name: settings.name.as_str().to_owned(),
            cron: CronView {
                day_of_week: cron.day_of_week.clone(),
                day_of_month: cron.day_of_month.clone(),
                month: cron.month.clone(),
                hour: cron.hour.clone(),
                minute: cron.minute.clone(),
            },
            is_active: settings.is_active,
            is_processing: schedule.is_processing,
            only_when_online: settings.only_when_online,
            last_run_at: schedule.last_run_at.map(date),
            next_run_at: schedule.next_run_at.map(date),
            created_at: date(schedule.created_at),
            updated_at: date(schedule.updated_at),
            timezone: timing.timezone.name(),
            jitter_seconds: timing.jitter_seconds,
            missed: timing.missed.as_str(),
            keep: settings.keep.map(|keep| keep.to_string()),
            last_result: schedule.last_result.as_ref().map(last_result),
            relationships: ScheduleRelationships {
                tasks: TaskList {
                    object: "list",
                    data: schedule.tasks.iter().map(task).collect(),
                },
            },
        },
    }
}

/// Returns the list of the schedules of a server.
pub(crate) fn list(schedules: &[Schedule]) -> ScheduleList {
    ScheduleList {
        object: "list",
        data: schedules.iter().map(schedule).collect(),
    }
}

/// Returns the object of a task.
pub(crate) fn task(stored: &StoredTask) -> TaskObject {
    let task = &stored.task;
    TaskObject {
        object: "schedule_task",
        attributes: TaskAttributes {
            id: stored.id.0,
            sequence_id: stored.sequence,
            action: task.action.kind().as_str(),
            payload: task.action.payload().to_owned(),
            time_offset: task.time_offset_seconds,
            is_queued: stored.is_queued,
            continue_on_failure: task.continue_on_failure,
            created_at: date(stored.created_at),
            updated_at: date(stored.updated_at),
        },
    }
}

/// Answers a request to run a schedule. Clients of panels expect an empty array.
pub(crate) fn run_accepted(profile: Profile) -> HttpResponse {
    match profile {
        Profile::Documented => HttpResponse::Accepted().finish(),
        Profile::Pterodactyl => super::accepted(&[(); 0]),
    }
}

fn last_result(result: &LastResult) -> LastResultView {
    LastResultView {
        status: result.state.as_str(),
        finished_at: date(result.finished_at),
        backup: result.backup.map(|backup| backup.0),
        error: result.error.clone(),
    }
}
