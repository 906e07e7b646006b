//! A service with a power driver that writes down what it is asked for, and schedules.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_domain::ServerId;

use crate::support::app::{App, Setting};
use crate::support::eventually;
use crate::support::files;

/// A power driver that writes each call to a file. It says that servers run, unless a file `….off`
/// exists, and fails while a file `….broken` exists.
pub(super) struct Driver {
    pub(super) log: PathBuf,
    commands: Vec<(&'static str, String)>,
}

impl Driver {
    pub(super) fn new(folder: &Path) -> Self {
        let log = folder.join("calls");
        let script = folder.join("driver");
        let text = format!(
            "#!/bin/sh\nlog={}\n\
             if [ \"$1\" = running ]; then [ ! -e $log.off ]; exit; fi\n\
             if [ -e $log.broken ]; then exit 9; fi\n\
             kills() {{ [ -e \"$log.$1\" ] && rm \"$log.$1\" && kill -9 $PPID; }}\n\
             if kills \"before $2\"; then exit 1; fi\n\
             echo \"$@\" >> $log\n\
             kills \"after $2\"\nexit 0\n",
            log.display()
        );
        fs_err::write(&script, text).unwrap();
        files::set_mode(&script, 0o755);
        let command = |words: &str| {
            let mut text = format!("[\"{}\"", script.display());
            for word in words.split(' ') {
                write!(text, ", \"{word}\"").unwrap();
            }
            text + "]"
        };
        let commands = vec![
            ("power.driver", "command".to_owned()),
            ("power.stop_command", command("stop")),
            ("power.running_command", command("running")),
            ("power.start_command", command("start")),
            ("power.kill_command", command("kill")),
            ("power.console_command", command("console {command}")),
        ];
        Self { log, commands }
    }

    pub(super) fn settings(&self) -> Vec<Setting<'_>> {
        let commands = self.commands.iter();
        commands
            .map(|(key, value)| (*key, value.as_str()))
            .collect()
    }

    /// Lets the driver kill its worker once, `before` or `after` it sends a command.
    pub(super) fn kill_worker(&self, command: &str, when: &str) {
        self.mark(&format!("{when} {command}"));
    }

    /// Creates a file beside the log, which changes what the driver does.
    pub(super) fn mark(&self, name: &str) {
        fs_err::write(self.marked(name), "").unwrap();
    }

    pub(super) fn unmark(&self, name: &str) {
        fs_err::remove_file(self.marked(name)).unwrap();
    }

    fn marked(&self, name: &str) -> String {
        format!("{}.{name}", self.log.display())
    }

    pub(super) fn calls(&self) -> Vec<String> {
        let text = fs_err::read_to_string(&self.log).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// A service whose worker uses such a driver.
pub(super) struct Scene {
    pub(super) app: App,
    pub(super) driver: Driver,
    _folder: tempfile::TempDir,
}

pub(super) async fn scene() -> Scene {
    scene_with(&[]).await
}

/// A scene with some settings of its worker changed.
pub(super) async fn scene_with(changed: &[Setting<'_>]) -> Scene {
    let folder = files::scratch();
    let driver = Driver::new(folder.path());
    let mut app = App::without_worker(&[]).await;
    let settings = [driver.settings().as_slice(), changed].concat();
    app.add_worker(&settings);
    files::make_server(&app.directory);
    Scene {
        app,
        driver,
        _folder: folder,
    }
}

/// Inserts a schedule that is due now, with tasks such as `command save-off`, of the app's server
/// or another one.
pub(super) async fn schedule_of(
    app: &App,
    server: Option<ServerId>,
    columns: &str,
    tasks: &[&str],
) -> i64 {
    let server = server.unwrap_or(app.server.id);
    let insert =
        format!(
        "INSERT INTO schedules (server_id, name, minute, hour, day_of_month, month, day_of_week,
                                next_due_at, next_run_at{})
         VALUES ('{server}', 'Nightly', '0', '4', '*', '*', '*', now(), now(){}) RETURNING id",
        columns.split_once('=').map_or(String::new(), |(c, _)| format!(", {c}")),
        columns.split_once('=').map_or(String::new(), |(_, v)| format!(", {v}")),
    );
    let mut all = format!("WITH s AS ({insert}) ");
    let rows: Vec<String> = tasks
        .iter()
        .enumerate()
        .map(|(n, task)| {
            let (action, payload) = task.split_once(' ').unwrap_or((task, ""));
            format!("({}, '{action}', '{payload}')", n + 1)
        })
        .collect();
    write!(
        all,
        "INSERT INTO schedule_tasks (schedule_id, sequence, action, payload)
         SELECT s.id, t.n, t.action, t.payload FROM s,
             (VALUES {}) t (n, action, payload) RETURNING schedule_id",
        rows.join(", ")
    )
    .unwrap();
    app.sql().number(&all).await
}

impl Scene {
    /// Inserts a schedule that is due now, with tasks such as `command save-off`.
    pub(super) async fn schedule(&self, columns: &str, tasks: &[&str]) -> i64 {
        schedule_of(&self.app, None, columns, tasks).await
    }

    /// Makes a schedule due again, and waits until that run has ended. Returns its state and error.
    pub(super) async fn run_again(&self, schedule: i64) -> (String, Option<String>) {
        let due = format!(
            "UPDATE schedules SET next_due_at = now(), next_run_at = now() WHERE id = {schedule}"
        );
        let last = format!("SELECT max(id) FROM schedule_runs WHERE schedule_id = {schedule}");
        let last = self.app.sql().number(&last).await;
        self.app.sql().query(&due).await;
        let ended = format!(
            "SELECT state, error FROM schedule_runs
             WHERE schedule_id = {schedule} AND id > {last} AND finished_at IS NOT NULL"
        );
        eventually("the run has ended", async || {
            let rows = self.app.sql().query(&ended).await;
            let row = rows.first()?;
            Some((row[0].clone().unwrap(), row[1].clone()))
        })
        .await
    }

    /// Waits until the schedule's only run has ended. Returns its state and its error.
    pub(super) async fn ended(&self, schedule: i64) -> (String, Option<String>) {
        loop {
            let rows = self
                .app
                .sql()
                .query(&format!(
                    "SELECT state, error FROM schedule_runs
                     WHERE schedule_id = {schedule} AND finished_at IS NOT NULL"
                ))
                .await;
            if let [row] = rows.as_slice() {
                return (row[0].clone().unwrap(), row[1].clone());
            }
            assert!(rows.is_empty(), "{rows:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The due time of the schedule's only run, as clients see it.
    pub(super) async fn due_at(&self, schedule: i64) -> String {
        let select = format!(
            "SELECT to_char(due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS+00:00')
             FROM schedule_runs WHERE schedule_id = {schedule}"
        );
        self.app.sql().query(&select).await[0][0].clone().unwrap()
    }

    pub(super) fn calls(&self) -> Vec<String> {
        self.driver.calls()
    }
}
