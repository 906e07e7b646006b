//! The weight of this process's session against the other sessions of the machine.
//!
//! The kernel calls the threads of a session an autogroup. Any process may lower the weight of its
//! own. A process in a control group with a weight, as with systemd and in containers, competes by
//! that weight instead, and what is written here has no effect.

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

/// Describes this process. See `proc_pid_stat(5)`.
const STATUS: &str = "/proc/self/stat";
/// Where a process reads and changes the weight of its session.
const AUTOGROUP: &str = "/proc/self/autogroup";
/// How long the kernel refuses another change, except for root.
const CHANGE_PAUSE: Duration = Duration::from_millis(110);
/// How often a change is tried. Other processes make such changes, too.
const CHANGE_ATTEMPTS: u32 = 5;

/// Lowers the weight of the session while backups or verifications run, and no restore does.
#[derive(Clone, Debug)]
pub struct SessionWeight(Option<Arc<Mutex<State>>>);

#[derive(Debug, Default)]
struct State {
    /// The nice values of the jobs that run in the background.
    background: Vec<u8>,
    /// How many restores run.
    urgent: usize,
    /// The nice value that was written last.
    written: u8,
}

impl State {
    fn wanted(&self) -> u8 {
        match self.urgent {
            0 => self.background.iter().copied().max().unwrap_or(0),
            _ => 0,
        }
    }
}

impl Default for SessionWeight {
    /// Returns the weight of this process's session. It is left alone unless this process leads the
    /// session: other programs may belong to it.
    fn default() -> Self {
        let is_leader = fs_err::read_to_string(STATUS).is_ok_and(|text| leads_session(&text));
        let weight = is_leader.then(|| Arc::new(Mutex::default()));
        if !is_leader {
            tracing::debug!("this process shares its session; backups do not lower its weight");
        }
        Self(weight)
    }
}

/// Returns whether a process leads its session, by the text of its `stat`: the process ID, the name
/// in parentheses, the state, and the IDs of the parent, the process group and the session.
///
/// `rustix::process::getsid` does not serve here. The ID of a session whose leader is outside of
/// this process's PID namespace is 0, which rustix's type of an ID excludes.
fn leads_session(stat: &str) -> bool {
    let own = stat.split(' ').next();
    // The name may contain spaces and parentheses.
    let session = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.split(' ').nth(3));
    own.is_some() && own == session
}

/// What a job asks of the weight, until it is dropped.
pub(crate) struct WeightUse {
    state: Option<Arc<Mutex<State>>>,
    /// The nice value of a job in the background; `None` for a restore.
    nice: Option<u8>,
}

impl SessionWeight {
    pub(crate) fn begin_background(&self, nice: u8) -> WeightUse {
        self.begin(Some(nice))
    }

    pub(crate) fn begin_restore(&self) -> WeightUse {
        self.begin(None)
    }

    fn begin(&self, nice: Option<u8>) -> WeightUse {
        if let Some(state) = &self.0 {
            let mut locked = lock(state);
            match nice {
                Some(nice) => locked.background.push(nice),
                None => locked.urgent += 1,
            }
            drop(locked);
            apply_soon(state);
        }
        WeightUse {
            state: self.0.clone(),
            nice,
        }
    }
}

impl Drop for WeightUse {
    fn drop(&mut self) {
        let Some(state) = &self.state else {
            return;
        };
        let mut locked = lock(state);
        match self.nice {
            Some(nice) => {
                if let Some(at) = locked.background.iter().position(|&other| other == nice) {
                    locked.background.swap_remove(at);
                }
            }
            None => locked.urgent -= 1,
        }
        drop(locked);
        apply_soon(state);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes the weight that is wanted on a thread that may block.
fn apply_soon(state: &Arc<Mutex<State>>) {
    if let Ok(runtime) = Handle::try_current() {
        let state = Arc::clone(state);
        runtime.spawn_blocking(move || apply(&state));
    }
}

fn apply(state: &Mutex<State>) {
    static REFUSED: Once = Once::new();
    for attempt in 1..=CHANGE_ATTEMPTS {
        let mut state = lock(state);
        let wanted = state.wanted();
        if wanted == state.written {
            return;
        }
        match write(wanted) {
            Ok(()) => {
                state.written = wanted;
                return;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                let reason = "the system does not let backups lower the weight of their session";
                REFUSED.call_once(|| tracing::debug!(%error, "{reason}"));
                return;
            }
        }
        drop(state);
        if attempt < CHANGE_ATTEMPTS {
            std::thread::sleep(CHANGE_PAUSE);
        }
    }
}

fn write(nice: u8) -> io::Result<()> {
    let mut file = fs_err::File::options().write(true).open(AUTOGROUP)?;
    file.write_all(nice.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_led_by_the_process_whose_id_it_has() {
        assert!(leads_session("17 (holdfast) S 1 17 17 0 -1 4194560"));
        assert!(leads_session("17 (a) b (c) S 1 17 17 0 -1 4194560"));
        assert!(!leads_session("17 (holdfast) S 1 17 9 0 -1 4194560"));
        assert!(!leads_session("17 (holdfast) S 0 0 0 0 -1 4194560"));
        assert!(!leads_session("17 (17) S 1 2 3 4 -1 4194560"));
        for incomplete in ["", "17", "17 (holdfast)", "17 (holdfast) S 1 17"] {
            assert!(!leads_session(incomplete), "{incomplete}");
        }
    }

    #[test]
    fn the_weight_is_low_only_while_backups_run_and_no_restore_does() {
        let weight = SessionWeight(Some(Arc::default()));
        let wanted = || lock(weight.0.as_ref().unwrap()).wanted();
        assert_eq!(wanted(), 0);
        let backup = weight.begin_background(10);
        let verification = weight.begin_background(10);
        assert_eq!(wanted(), 10);
        let restore = weight.begin_restore();
        assert_eq!(wanted(), 0);
        drop(backup);
        drop(restore);
        assert_eq!(wanted(), 10);
        drop(verification);
        assert_eq!(wanted(), 0);
    }
}
