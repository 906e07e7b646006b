//! Limits that the system sets for a process.

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// As many open files as any load needs. Many systems start with 1024, and allow far more.
const OPEN_FILES: u64 = 65_536;

/// Raises the limit of open files as far as the system allows.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let (Some(current), maximum) = (limit.current, limit.maximum) else {
        return;
    };
    let wanted = OPEN_FILES.min(maximum.unwrap_or(OPEN_FILES));
    if wanted > current {
        let raised = Rlimit {
            current: Some(wanted),
            maximum,
        };
        // Without it, the process runs with what it has, and says so.
        let _ = setrlimit(Resource::Nofile, raised);
    }
}

/// Returns how many files the process may open at once; `None` means no limit.
pub fn open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Makes a write beyond the limit of a file's size fail, as any other write does. The signal of the
/// system would end the process in the middle of its work.
pub(crate) fn catch_file_size_signal() {
    // A runtime of this thread alone is enough to install the handler, which stays for the life of
    // the process. Without it, the signal ends the process.
    if let Ok(runtime) = Builder::new_current_thread().enable_all().build() {
        let _entered = runtime.enter();
        let _ = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()));
    }
}
