//! The attacker's side: what runs as another user.
//!
//! It is the test program itself, started again with [`PLAN`] in its environment. Its input says
//! what it may touch; it confirms each line on its output, and at the end says what it did.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, RwLock};
use std::time::Duration;

use serde_json::{Value, json};

use super::audit::server_files;
use super::dice::Dice;
use super::files::Vandal;
use super::flood::Flood;
use super::staging::StagingThief;

/// The variable with the attacker's instructions, as JSON.
pub(super) const PLAN: &str = "HOLDFAST_ATTACK_PLAN";
/// The name of the test that is the attacker.
pub(super) const TEST: &str = "attacker::program::each_attack_leaves_a_trace";
/// What its lines begin with. The test harness prints others.
pub(super) const SAYS: &str = "attacker: ";
/// What the names of its files begin with, so that they are told from the server's.
pub(super) const OWN_PREFIXES: [&str; 2] = ["evil", "stolen"];

/// What the attacker may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing: it waits.
    Frozen,
    /// The directory, except the files of the server itself.
    Spare,
    /// Also the files of the server itself.
    Wild,
}

impl Mode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Spare => "spare",
            Self::Wild => "wild",
        }
    }

    fn parse(name: &str) -> Self {
        let all = [Self::Frozen, Self::Spare, Self::Wild];
        *all.iter().find(|mode| mode.name() == name).unwrap()
    }
}

/// What the attacker knows.
pub(super) struct Plan {
    pub(super) seed: u64,
    /// The server directory, which belongs to the attacker.
    pub(super) directory: PathBuf,
    /// Where its links lead to.
    pub(super) targets: Vec<PathBuf>,
    /// `ADDRESS:PORT` of the API; empty for none.
    pub(super) api: String,
    pub(super) token: String,
    pub(super) server: String,
}

impl Plan {
    pub(super) fn to_json(&self) -> String {
        json!({
            "seed": self.seed,
            "directory": self.directory,
            "targets": self.targets,
            "api": self.api,
            "token": self.token,
            "server": self.server,
        })
        .to_string()
    }

    fn read(text: &str) -> Self {
        let plan: Value = serde_json::from_str(text).unwrap();
        let text = |name: &str| plan[name].as_str().unwrap().to_owned();
        let targets = plan["targets"].as_array().unwrap().iter();
        Self {
            seed: plan["seed"].as_u64().unwrap(),
            directory: text("directory").into(),
            targets: targets.map(|one| one.as_str().unwrap().into()).collect(),
            api: text("api"),
            token: text("token"),
            server: text("server"),
        }
    }
}

/// How often each attack succeeded and was refused, and what should not have been possible.
#[derive(Default)]
pub(super) struct Record {
    counts: Mutex<BTreeMap<String, u64>>,
    breaches: Mutex<Vec<String>>,
}

impl Record {
    pub(super) fn count(&self, attack: &str, succeeded: bool) {
        let outcome = if succeeded { "" } else { " (refused)" };
        let mut counts = self.counts.lock().unwrap();
        *counts.entry(format!("{attack}{outcome}")).or_default() += 1;
    }

    /// Records that the attacker got what it must never get.
    pub(super) fn breach(&self, what: String) {
        self.breaches.lock().unwrap().push(what);
    }

    fn to_json(&self) -> Value {
        json!({
            "counts": *self.counts.lock().unwrap(),
            "breaches": *self.breaches.lock().unwrap(),
        })
    }
}

/// One kind of attacks, which runs in its own thread.
pub(super) trait Attacks {
    /// Makes one attack. It must be short, since a change of the mode waits for it.
    fn attack(&mut self, mode: Mode, record: &Record);
}

fn run(plan: &Plan) {
    let mode = RwLock::new(Mode::Frozen);
    let (record, ended) = (Record::default(), std::sync::atomic::AtomicBool::new(false));
    let dice = |stream: &str| Dice::new(plan.seed, stream);
    std::thread::scope(|scope| {
        let mut attacks: Vec<Box<dyn Attacks + Send>> = vec![
            Box::new(StagingThief::new(plan, dice("staging"))),
            Box::new(Vandal::new(plan, dice("files"))),
            Box::new(Vandal::new(plan, dice("more files"))),
        ];
        if !plan.api.is_empty() {
            attacks.push(Box::new(Flood::new(plan, dice("flood"))));
        }
        let (mode, record, ended) = (&mode, &record, &ended);
        for mut attack in attacks {
            scope.spawn(move || {
                while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                    let now = mode.read().unwrap();
                    if *now == Mode::Frozen {
                        drop(now);
                        std::thread::sleep(Duration::from_millis(1));
                        continue;
                    }
                    attack.attack(*now, record);
                    drop(now);
                    // A change of the mode comes before the next attack.
                    std::thread::sleep(Duration::from_micros(50));
                }
            });
        }
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            *mode.write().unwrap() = Mode::parse(&line);
            say(&line);
        }
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    say(&record.to_json().to_string());
}

#[expect(clippy::print_stdout, reason = "the test that started it reads this")]
fn say(text: &str) {
    println!("{SAYS}{text}");
}

/// With [`PLAN`] in the environment, this is the attacker. Otherwise, it tests that the attacks do
/// what their names say, so that the attacker is never harmless without notice.
#[test]
fn each_attack_leaves_a_trace() {
    if let Ok(plan) = std::env::var(PLAN) {
        return run(&Plan::read(&plan));
    }
    let folder = crate::support::files::scratch();
    let directory = folder.path().join("server");
    crate::support::files::make_server(&directory);
    let plan = Plan {
        seed: 1,
        directory: directory.clone(),
        targets: vec![folder.path().join("outside")],
        api: String::new(),
        token: String::new(),
        server: String::new(),
    };
    let plan = Plan::read(&plan.to_json());
    let record = Record::default();
    let mut vandal = Vandal::new(&plan, Dice::new(plan.seed, "files"));
    let before = server_files(&directory);
    for _ in 0..200 {
        vandal.attack(Mode::Spare, &record);
    }
    let spared = server_files(&directory);
    assert_eq!(spared, before, "an attack touched what it must spare");
    let mut most = 0;
    for _ in 0..200 {
        vandal.attack(Mode::Wild, &record);
        most = most.max(own_names(&directory));
    }
    assert!(most > 5, "the attacks left no files");
    let counts = record.counts.lock().unwrap().clone();
    for attack in super::files::ATTACKS {
        let made = counts.keys().any(|name| name.starts_with(attack));
        assert!(made, "{attack} was not tried: {counts:?}");
    }
    assert_eq!(*record.breaches.lock().unwrap(), [""; 0]);
}

fn own_names(directory: &Path) -> usize {
    let entries = fs_err::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        .count()
}
