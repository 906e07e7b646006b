//! A worker that is killed anywhere in a run loses nothing: the next one ends the run, with the
//! commands that are owed, and no due time runs twice.

use futures_util::{StreamExt as _, stream};
use rustix::process::Signal;

use super::scene::{Driver, schedule_of};
use crate::support::app::App;
use crate::support::database::TestDatabase;
use crate::support::eventually;
use crate::support::files;
use crate::support::process::{Process, holdfast};

const TASKS: [&str; 3] = ["command save-off", "backup", "command save-on"];

/// How many tests of this kind run at the same time.
const CONCURRENCY: usize = 6;

/// Counts the changes of runs and jobs. The change whose number is armed waits, within its
/// transaction, until it is disarmed.
const PAUSE: &str = "
    CREATE SEQUENCE steps;
    CREATE TABLE armed (step bigint);
    CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        reached bigint := nextval('steps');
    BEGIN
        WHILE EXISTS (SELECT 1 FROM armed WHERE step = reached) LOOP
            PERFORM pg_sleep(0.01);
        END LOOP;
        RETURN NULL;
    END
    $$;
    CREATE TRIGGER pause AFTER INSERT OR UPDATE ON schedule_runs
        FOR EACH ROW EXECUTE FUNCTION pause();
    CREATE TRIGGER pause_inserted AFTER INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION pause();
    CREATE TRIGGER pause_changed AFTER UPDATE OF state ON jobs
        FOR EACH ROW EXECUTE FUNCTION pause();";

/// When the worker is killed.
#[derive(Clone, Debug)]
enum Kill {
    /// At no time, to count the changes.
    Never,
    /// In the transaction that makes this change of a run or a job.
    InStep(i64),
    /// By the power command, which then does nothing.
    BeforeCommand(&'static str),
    /// By the power command, after it has sent the command.
    AfterCommand(&'static str),
}

/// A server with a schedule, and a worker in a process of its own.
struct Victim {
    app: App,
    driver: Driver,
    folder: tempfile::TempDir,
}

impl Victim {
    async fn new() -> Self {
        let app = App::without_worker(&[]).await;
        files::make_server(&app.directory);
        app.sql().query(PAUSE).await;
        let folder = files::scratch();
        Self {
            driver: Driver::new(folder.path()),
            app,
            folder,
        }
    }

    fn sql(&self) -> &TestDatabase {
        self.app.sql()
    }

    fn worker(&self) -> Process {
        let url = self.sql().url();
        let mut settings = self.driver.settings();
        settings.push(("database.url", &url));
        let mut command = holdfast(&settings);
        let data = self.app.disk.parent().unwrap();
        Process::start(
            command.args(["worker", "--data"]).arg(data),
            self.folder.path(),
        )
    }

    /// Waits until the worker is where it shall be killed, and kills it.
    async fn kill(&self, worker: &mut Process, kill: &Kill) {
        match kill {
            Kill::Never => return,
            Kill::InStep(_) => {
                let pauses = "SELECT count(*) FROM pg_stat_activity
                              WHERE datname = current_database() AND wait_event = 'PgSleep'";
                eventually("the worker is at the step", async || {
                    (self.sql().number(pauses).await == 1).then_some(())
                })
                .await;
                worker.signal(Signal::KILL);
            }
            Kill::BeforeCommand(_) | Kill::AfterCommand(_) => {}
        }
        worker.ended().await;
        // Two transactions: the second one may wait for what the killed worker has locked.
        self.sql().query("DELETE FROM armed").await;
        // Jobs of a dead worker are taken over without the wait for their lease.
        let expire = "UPDATE jobs SET lease_expires_at = now() - interval '1 second'
                      WHERE state = 'running'";
        self.sql().query(expire).await;
    }
}

/// Runs a schedule once, while its worker is killed. Returns the number of changes.
async fn run_once(kill: Kill) -> i64 {
    let victim = Victim::new().await;
    let driver = &victim.driver;
    match kill {
        Kill::Never => {}
        Kill::InStep(step) => {
            let arm = format!("INSERT INTO armed VALUES ({step})");
            victim.sql().query(&arm).await;
        }
        Kill::BeforeCommand(line) => driver.kill_worker(line, "before"),
        Kill::AfterCommand(line) => driver.kill_worker(line, "after"),
    }
    let mut first = victim.worker();
    let schedule = schedule_of(&victim.app, None, "", &TASKS).await;
    victim.kill(&mut first, &kill).await;
    let second = victim.worker();
    let ended = "SELECT count(*) FROM schedule_runs WHERE finished_at IS NOT NULL";
    eventually("the run has ended", async || {
        (victim.sql().number(ended).await == 1).then_some(())
    })
    .await;
    let rows = format!(
        "SELECT (SELECT string_agg(state || coalesce(error, ''), ',') FROM schedule_runs),
                (SELECT string_agg(state, ',') FROM backups WHERE schedule_id = {schedule}),
                (SELECT count(*) FROM jobs
                 WHERE state NOT IN ('completed', 'discarded', 'cancelled')),
                (SELECT next_run_at > now() FROM schedules)"
    );
    let rows = victim.sql().query(&rows).await;
    let found: Vec<&str> = rows[0]
        .iter()
        .map(|field| field.as_deref().unwrap())
        .collect();
    assert_eq!(found, ["completed", "completed", "0", "t"], "{kill:?}");
    let mut calls = driver.calls();
    let repeated = calls.len();
    calls.dedup();
    assert_eq!(calls, ["console save-off", "console save-on"], "{kill:?}");
    assert!(
        repeated <= 3,
        "{kill:?}: only the command of the kill is sent again"
    );
    let steps = victim.sql().number("SELECT last_value FROM steps").await;
    drop((first, second));
    victim.app.stop().await;
    steps
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_as_it_should_wherever_its_worker_is_killed() {
    let steps = run_once(Kill::Never).await;
    assert!((15..40).contains(&steps), "{steps}");
    let mut kills: Vec<Kill> = (1..=steps).map(Kill::InStep).collect();
    for command in ["save-off", "save-on"] {
        kills.push(Kill::BeforeCommand(command));
        kills.push(Kill::AfterCommand(command));
    }
    let mut runs = stream::iter(kills)
        .map(run_once)
        .buffer_unordered(CONCURRENCY);
    while runs.next().await.is_some() {}
}
