//! Measures how much other programs have to wait because this machine is busy.
//!
//! The kernel reports the share of time in which some thread waits for a processor, for a disk or
//! for memory, but not whose thread. A backup alone on an idle machine makes its own threads wait.
//! So only a part of the share counts: a third of it, for example, if other programs use a third of
//! the used processor time.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The length of time that is measured.
const WINDOW: Duration = Duration::from_secs(1);
/// If other programs use less than this share of all processors, the machine counts as idle.
const IDLE_SHARE: f64 = 0.05;

/// Measures the pressure on this machine.
#[derive(Debug)]
pub(super) struct Pressure {
    proc: PathBuf,
    /// The readings of the last second, oldest first, and one before them.
    readings: VecDeque<Reading>,
}

/// The counters of the kernel at one time.
#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Instant,
    /// How long some thread has waited: for a processor, for a disk, for memory.
    waited: [Duration; 3],
    /// The processors' time in ticks: all, used, used by this process.
    all: u64,
    used: u64,
    own: u64,
}

impl Pressure {
    /// Begins to measure. `proc` is `/proc`, except in tests.
    ///
    /// # Errors
    /// If the kernel does not report the pressure.
    pub(super) fn new(proc: &Path) -> io::Result<Self> {
        Ok(Self {
            proc: proc.to_owned(),
            readings: VecDeque::from([read(proc)?]),
        })
    }

    /// Returns the pressure of the last second, in percent.
    ///
    /// # Errors
    /// If the counters cannot be read.
    pub(super) fn measure(&mut self) -> io::Result<f64> {
        let now = read(&self.proc)?;
        let is_old = |reading: &Reading| now.at - reading.at >= WINDOW;
        while self.readings.get(1).is_some_and(is_old) {
            self.readings.pop_front();
        }
        let percent = self
            .readings
            .front()
            .map_or(0.0, |then| between(then, &now));
        self.readings.push_back(now);
        Ok(percent)
    }
}

/// Returns the pressure between two readings, in percent.
#[expect(clippy::cast_precision_loss, reason = "ticks of seconds are small")]
fn between(then: &Reading, now: &Reading) -> f64 {
    let elapsed = (now.at - then.at).as_secs_f64();
    let ticks = |now: u64, then: u64| now.saturating_sub(then) as f64;
    let all = ticks(now.all, then.all);
    let used = ticks(now.used, then.used);
    let others = (used - ticks(now.own, then.own)).max(0.0);
    if elapsed <= 0.0 || used <= 0.0 || others < all * IDLE_SHARE {
        return 0.0;
    }
    let waited = then.waited.iter().zip(&now.waited);
    let waited = waited.map(|(then, now)| now.saturating_sub(*then).as_secs_f64());
    let share = waited.fold(0.0, f64::max) / elapsed;
    100.0 * share.min(1.0) * others / used
}

fn read(proc: &Path) -> io::Result<Reading> {
    let text = |name: &str| fs_err::read_to_string(proc.join(name));
    let waited = |name: &str| waited(&text(name)?).ok_or_else(|| unreadable(proc, name));
    let waited = [
        waited("pressure/cpu")?,
        waited("pressure/io")?,
        waited("pressure/memory")?,
    ];
    let (all, used) = processors(&text("stat")?).ok_or_else(|| unreadable(proc, "stat"))?;
    let own = process(&text("self/stat")?).ok_or_else(|| unreadable(proc, "self/stat"))?;
    Ok(Reading {
        at: Instant::now(),
        waited,
        all,
        used,
        own,
    })
}

fn unreadable(proc: &Path, name: &str) -> io::Error {
    let path = proc.join(name);
    io::Error::other(format!("`{}` has an unknown format", path.display()))
}

/// Parses the `total` of the line `some` of a file in `/proc/pressure`.
fn waited(text: &str) -> Option<Duration> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let total = some
        .split(' ')
        .find_map(|field| field.strip_prefix("total="))?;
    total.parse().ok().map(Duration::from_micros)
}

/// Parses the first line of `/proc/stat`: the time of all processors, and what of it was used.
fn processors(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let fields = line.split_whitespace().map(str::parse);
    let fields: Vec<u64> = fields.collect::<Result<_, _>>().ok()?;
    // Time of guests, the last two, is part of the first two.
    let [user, nice, system, idle, iowait, irq, softirq, ..] = fields[..] else {
        return None;
    };
    let used = user + nice + system + irq + softirq;
    Some((used + idle + iowait, used))
}

/// Parses the time that a process has used, in user mode and in the kernel, of its file `stat`.
fn process(text: &str) -> Option<u64> {
    // The name of the program can contain anything.
    let (_, fields) = text.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11).map(str::parse);
    let user: u64 = fields.next()?.ok()?;
    let system: u64 = fields.next()?.ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_parsed() {
        let text = "some avg10=2.37 avg60=5.50 avg300=12.08 total=1500000\n\
                    full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(waited(text), Some(Duration::from_millis(1500)));
        assert_eq!(waited("full total=1"), None);
        let text = "cpu  100 20 30 400 50 6 7 8 90 1\ncpu0 1 2 3\n";
        assert_eq!(processors(text), Some((613, 163)));
        assert_eq!(processors("cpu  1 2"), None);
        let text = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 40 2 0 0 20 0 1 0 9";
        assert_eq!(process(text), Some(42));
    }

    #[test]
    fn this_machine_is_measured_if_its_kernel_reports_the_pressure() {
        match Pressure::new(Path::new("/proc")) {
            Ok(mut pressure) => {
                let percent = pressure.measure().unwrap();
                assert!((0.0..=100.0).contains(&percent), "{percent}");
            }
            Err(error) => eprintln!("skipped: {error}"),
        }
    }

    #[test]
    fn waiting_counts_as_far_as_other_programs_use_the_processors() {
        let at = Instant::now();
        let then = Reading {
            at,
            waited: [Duration::ZERO; 3],
            all: 0,
            used: 0,
            own: 0,
        };
        // Two processors for a second.
        let after = |waited_ms: [u64; 3], used: u64, own: u64| {
            let now = Reading {
                at: at + Duration::from_secs(1),
                waited: waited_ms.map(Duration::from_millis),
                all: 200,
                used,
                own,
            };
            between(&then, &now)
        };
        for (found, expected) in [
            // A backup alone makes its own threads wait.
            (after([900, 0, 0], 200, 195), 0.0),
            (after([0, 1000, 0], 30, 25), 0.0),
            // Other programs use half of what is used, or everything.
            (after([800, 100, 0], 200, 100), 40.0),
            (after([0, 600, 0], 80, 40), 30.0),
            (after([0, 0, 300], 100, 0), 30.0),
            // Counters that are read one after the other may disagree.
            (after([1100, 0, 0], 100, 0), 100.0),
            (after([900, 0, 0], 100, 120), 0.0),
            (after([0, 0, 0], 200, 0), 0.0),
        ] {
            assert!((found - expected).abs() < 0.01, "{found} is not {expected}");
        }
    }
}
