//! Backups yield to the game servers of their node: priorities of threads, the weight of the
//! session, and rest while the node is under pressure.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Method;
use rustix::fs::Advice;
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::client::send;
use crate::support::process::{Process, holdfast};
use crate::support::{eventually, files, skipped};

/// Adds a worker's command line for the database and the disk of an app.
fn worker(app: &App, wrapper: &[&str], settings: &[(&str, &str)]) -> Command {
    let database = app.sql().url();
    let mut all = vec![("database.url", database.as_str())];
    all.extend_from_slice(settings);
    let plain = holdfast(&all);
    let mut command = match wrapper {
        [] => holdfast(&all),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(plain.get_program());
            for (name, value) in plain.get_envs() {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
            command
        }
    };
    command
        .args(["worker", "--data"])
        .arg(app.disk.parent().unwrap());
    command
}

/// A thread of another process.
#[derive(Debug)]
struct Thread {
    id: String,
    name: String,
    nice: String,
    policy: String,
}

fn threads(process: u32) -> Vec<Thread> {
    let tasks = fs_err::read_dir(format!("/proc/{process}/task")).unwrap();
    let stats = tasks.filter_map(|task| {
        // A thread may have ended meanwhile.
        fs_err::read_to_string(task.ok()?.path().join("stat")).ok()
    });
    let parsed = stats.map(|stat| {
        let (before, fields) = stat.rsplit_once(") ").unwrap();
        let (id, name) = before.split_once(" (").unwrap();
        let fields: Vec<&str> = fields.split(' ').collect();
        Thread {
            id: id.to_owned(),
            name: name.to_owned(),
            nice: fields[16].to_owned(),
            policy: fields[38].to_owned(),
        }
    });
    parsed.collect()
}

/// Reads the nice value of a process's session. `None` if the kernel has no autogroups.
fn session_nice(process: u32) -> Option<String> {
    let text = fs_err::read_to_string(format!("/proc/{process}/autogroup")).ok()?;
    Some(text.trim().rsplit_once(' ')?.1.to_owned())
}

/// Waits until bytes of a backup were read.
async fn under_way(app: &App, uuid: &str) {
    eventually("the backup is under way", async || {
        let progress = app.as_owner().show(uuid).await.attributes()["progress"].clone();
        (progress["bytes_done"].as_u64() > Some(0)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_and_session_have_a_low_priority_while_a_backup_runs_and_only_then() {
    const SCHED_BATCH: &str = "3";
    let app = App::without_worker(&[]).await;
    files::write(
        &app.directory.join("world.mca"),
        &files::noise(2_000_000, 5),
    );
    // A worker that leads its session, as under systemd and in a container.
    let settings = [
        ("worker.nice", "7"),
        ("worker.io_class", "best-effort"),
        ("worker.read_limit_bytes_per_second", "500000"),
    ];
    let mut command = worker(&app, &["setsid"], &settings);
    let process = Process::start(&mut command, app.disk.parent().unwrap());
    let uuid = app.as_owner().create(json!({})).await.uuid();
    under_way(&app, &uuid).await;

    let found = threads(process.id());
    let (busy, other): (Vec<_>, Vec<_>) = found.iter().partition(|one| one.name == "backup");
    // The reader, a compressor and the writer.
    assert!(busy.len() >= 3, "{found:?}");
    for thread in &busy {
        let state = (thread.nice.as_str(), thread.policy.as_str());
        assert_eq!(state, ("7", SCHED_BATCH), "{thread:?}");
    }
    assert!(other.len() > 1, "{found:?}");
    assert!(other.iter().all(|thread| thread.nice != "7"), "{other:?}");
    match Command::new("ionice").args(["-p", &busy[0].id]).output() {
        Ok(output) => {
            let class = String::from_utf8(output.stdout).unwrap();
            assert_eq!(class.trim(), "best-effort: prio 7");
        }
        Err(_) => skipped("ionice is not installed"),
    }
    match session_nice(process.id()) {
        Some(nice) => assert_eq!(nice, "7"),
        None => skipped("this kernel has no autogroups"),
    }

    let backup = app.ended(&uuid).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    let found = threads(process.id());
    assert!(found.iter().all(|thread| thread.nice != "7"), "{found:?}");
    if session_nice(process.id()).is_some() {
        eventually("the session has its weight again", async || {
            (session_nice(process.id())? == "0").then_some(())
        })
        .await;
    }
    assert!(!process.log().contains("lower"), "{}", process.log());
    drop(process);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_began_outside_of_the_pid_namespace_is_left_alone() {
    // As in a sandbox whose first process is not a session leader: its session has the ID 0 there.
    let mut wrapper = vec!["unshare", "--pid", "--mount-proc", "--fork", "--kill-child"];
    if !rustix::process::geteuid().is_root() {
        wrapper.push("--map-root-user");
    }
    let mut probe = Command::new(wrapper[0]);
    probe.args(&wrapper[1..]).arg("true");
    if !probe.output().is_ok_and(|ended| ended.status.success()) {
        skipped("no PID namespace can be created");
        return;
    }
    let app = App::without_worker(&[]).await;
    let mut command = worker(&app, &wrapper, &[]);
    let process = Process::start(&mut command, app.disk.parent().unwrap());
    let uuid = app.as_owner().create(json!({})).await.uuid();
    let backup = app.ended(&uuid).await;
    assert_eq!(backup["status"], "completed", "{}", process.log());
    drop(process);
    app.stop().await;
}

/// Files like those of `/proc`, whose counters grow until this is dropped.
struct Proc {
    folder: tempfile::TempDir,
    is_loaded: std::sync::Arc<AtomicBool>,
    is_over: std::sync::Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Proc {
    /// Starts with a machine that other programs load: they wait for a disk most of the time.
    fn start() -> Self {
        let folder = files::scratch();
        let path = folder.path().to_owned();
        fs_err::create_dir_all(path.join("pressure")).unwrap();
        fs_err::create_dir_all(path.join("self")).unwrap();
        write_counters(&path, 0, 0);
        let is_loaded = std::sync::Arc::new(AtomicBool::new(true));
        let is_over = std::sync::Arc::new(AtomicBool::new(false));
        let (loaded, over) = (is_loaded.clone(), is_over.clone());
        let thread = std::thread::spawn(move || {
            let begun = std::time::Instant::now();
            let (mut before, mut waited) = (Duration::ZERO, Duration::ZERO);
            while !over.load(Ordering::Relaxed) {
                let now = begun.elapsed();
                if loaded.load(Ordering::Relaxed) {
                    waited += (now - before) * 9 / 10;
                }
                before = now;
                write_counters(&path, now.as_millis(), waited.as_micros());
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self {
            folder,
            is_loaded,
            is_over,
            thread: Some(thread),
        }
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Other programs use nine tenths of what is used: half of two processors.
fn write_counters(proc: &Path, millis: u128, waited_micros: u128) {
    let put = |name: &str, text: String| {
        let part = proc.join("part");
        fs_err::write(&part, text).unwrap();
        fs_err::rename(&part, proc.join(name)).unwrap();
    };
    let some = |total| format!("some avg10=0.00 avg60=0.00 avg300=0.00 total={total}\n");
    put("pressure/cpu", some(0));
    put("pressure/io", some(waited_micros));
    put("pressure/memory", some(0));
    let used = millis / 10;
    put("stat", format!("cpu  {used} 0 0 {used} 0 0 0 0 0 0\n"));
    put(
        "self/stat",
        format!("7 (x) S 1 7 7 0 -1 4 1 2 3 4 {} 0 0 0", used / 10),
    );
}

/// Waits until the progress of a backup says whether it is slowed down.
async fn slowed(app: &App, uuid: &str, wanted: bool) -> Value {
    eventually("the progress says so", async || {
        let backup = app.as_owner().show(uuid).await.attributes();
        let progress = &backup["progress"];
        assert!(progress.is_object(), "it has ended: {backup}");
        (progress["slowed"] == wanted).then(|| progress.clone())
    })
    .await
}

/// Starts an app whose worker looks at `proc`, and a backup that takes `seconds` at full speed.
async fn begin(proc: PathBuf, seconds: usize, settings: &[(&str, &str)]) -> (App, String) {
    let mut app = App::without_worker(&[]).await;
    let world = files::noise(seconds * 1_000_000, 5);
    files::write(&app.directory.join("world.mca"), &world);
    let slow = [
        ("worker.read_limit_bytes_per_second", "1000000"),
        ("worker.yield_above_percent", "20"),
    ];
    app.add_worker_with(&[&slow, settings].concat(), |options| options.proc = proc);
    let uuid = app.as_owner().create(json!({})).await.uuid();
    (app, uuid)
}

/// Cancels a backup, and waits until it has ended.
async fn cancel(app: &App, uuid: &str) {
    let request = app.as_owner();
    let request = request.request(Method::POST, &format!("/{uuid}/cancel"));
    assert_eq!(send(request).await.status, 204);
    let backup = app.ended(uuid).await;
    assert_eq!(backup["status"], "failed", "{backup}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_slowed_down_only_while_other_programs_wait() {
    let proc = Proc::start();
    let (app, uuid) = begin(proc.folder.path().to_owned(), 8, &[]).await;
    let progress = slowed(&app, &uuid, true).await;
    assert_ne!(progress["phase"], "queued");
    proc.is_loaded.store(false, Ordering::Relaxed);
    slowed(&app, &uuid, false).await;
    cancel(&app, &uuid).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_ends_under_permanent_pressure_and_can_be_cancelled() {
    let proc = Proc::start();
    let (app, uuid) = begin(proc.folder.path().to_owned(), 2, &[]).await;
    slowed(&app, &uuid, true).await;
    let backup = app.ended(&uuid).await;
    assert_eq!(backup["status"], "completed", "{backup}");

    files::write(&app.directory.join("more.mca"), &files::noise(8_000_000, 6));
    let uuid = app.as_owner().create(json!({})).await.uuid();
    slowed(&app, &uuid, true).await;
    cancel(&app, &uuid).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pressure_does_not_push_a_backup_over_its_time() {
    let proc = Proc::start();
    let settings = [("limits.job_seconds", "4")];
    let (app, uuid) = begin(proc.folder.path().to_owned(), 3, &settings).await;
    slowed(&app, &uuid, true).await;
    // Half of the time has passed.
    slowed(&app, &uuid, false).await;
    app.ended(&uuid).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_not_slowed_down_without_pressure_files_or_if_the_setting_is_0() {
    let empty = files::scratch();
    let proc = Proc::start();
    let off: &[(&str, &str)] = &[("worker.yield_above_percent", "0")];
    for (proc, settings) in [
        (empty.path().to_owned(), &[][..]),
        (proc.folder.path().to_owned(), off),
    ] {
        let (app, uuid) = begin(proc, 2, settings).await;
        let ended = eventually("the backup has ended", async || {
            let backup = app.as_owner().show(&uuid).await.attributes();
            let progress = &backup["progress"];
            if progress.is_null() {
                return Some(backup);
            }
            assert_eq!(progress["slowed"], false, "{backup}");
            None
        })
        .await;
        assert_eq!(ended["status"], "completed", "{ended}");
        app.stop().await;
    }
}

/// Returns how many bytes of a file are in the page cache. `None` if that cannot be found out.
fn cached_bytes(path: &Path) -> Option<u64> {
    let mut command = Command::new("fincore");
    let output = command.args(["-b", "-n", "-o", "RES"]).arg(path).output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    text.trim().parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_on_a_local_disk_does_not_stay_in_the_page_cache() {
    let app = App::start().await;
    files::write(
        &app.directory.join("world.mca"),
        &files::noise(20_000_000, 5),
    );
    let probe = app.beside("probe");
    files::write(&probe, &files::noise(10_000, 5));
    let file = fs_err::File::open(&probe).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(file.file(), 0, None, Advice::DontNeed).unwrap();
    match cached_bytes(&probe) {
        Some(0) => {
            let uuid = app.backup().await;
            assert_eq!(cached_bytes(&app.archive(&uuid)), Some(0), "written");
            let owner = app.as_owner();
            let request = owner.request(Method::POST, &format!("/{uuid}/verify"));
            assert_eq!(send(request).await.status, 202);
            eventually("the verification has passed", async || {
                let backup = owner.show(&uuid).await.attributes();
                (backup["verification"]["status"] == "passed").then_some(())
            })
            .await;
            // The last bytes stay, as no more are read after them.
            let left = cached_bytes(&app.archive(&uuid)).unwrap();
            assert!(left < 8 << 20, "read: {left}");
        }
        Some(_) => skipped("the file system of temporary files is in memory"),
        None => skipped("fincore is not installed"),
    }
    app.stop().await;
}
