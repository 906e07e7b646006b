//! The threads of the process: the asynchronous runtime, and a check that the system can start
//! them.
//!
//! Where the limit of processes is low, tokio panics or waits for ever instead of returning an
//! error. So the threads are tried first, and a reserve of them never ends.

use std::sync::mpsc;
use std::thread::{Builder, available_parallelism};
use std::time::Duration;

use tokio::runtime::{self, Runtime};

use crate::error::CommandError;

/// How many threads for blocking work exist from the start. If the system later refuses another
/// one, work waits for these instead of hanging. Each job needs two at a time.
const RESERVE: usize = 8;
/// How long a thread for blocking work stays without any.
const KEEP_ALIVE: Duration = Duration::from_hours(24);

/// Returns a runtime for a command that ends soon. It needs few threads.
pub(crate) fn runtime_for_command() -> Result<Runtime, CommandError> {
    const THREADS: usize = 2;
    check(THREADS)?;
    build(&mut runtime::Builder::new_current_thread(), THREADS)
}

/// Returns the runtime of a service, with a thread for each core.
pub(crate) fn runtime_for_service() -> Result<Runtime, CommandError> {
    let cores = available_parallelism().map_or(2, std::num::NonZero::get);
    // The HTTP server has a thread for each core as well, and one that accepts connections.
    check(2 * cores + 1 + RESERVE)?;
    build(&mut runtime::Builder::new_multi_thread(), RESERVE)
}

fn build(builder: &mut runtime::Builder, reserve: usize) -> Result<Runtime, CommandError> {
    let runtime = builder
        .enable_all()
        .thread_keep_alive(KEEP_ALIVE)
        .build()
        .map_err(|error| CommandError::with_cause("cannot start the runtime", &error))?;
    // Each of these tasks keeps its thread busy until the last one has a thread as well.
    let mut ends = Vec::new();
    for _ in 0..reserve {
        let (end, wait) = mpsc::channel::<()>();
        runtime.spawn_blocking(move || wait.recv());
        ends.push(end);
    }
    Ok(runtime)
}

/// Returns whether this process can start one more thread without taking it from its work, which
/// needs some for each core.
pub(crate) fn has_spare() -> bool {
    let cores = available_parallelism().map_or(2, std::num::NonZero::get);
    check(2 * cores + RESERVE).is_ok()
}

/// Checks that this process can start `count` threads.
fn check(count: usize) -> Result<(), CommandError> {
    let mut ends = Vec::new();
    let mut threads = Vec::new();
    let mut refused = None;
    for started in 0..count {
        let (end, wait) = mpsc::channel::<()>();
        match Builder::new().spawn(move || wait.recv()) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                let what = format!(
                    "the system starts only {started} more threads for this user or container, \
                     and this command needs {count}: raise the limit of processes and threads \
                     (`ulimit -u`, TasksMax of systemd, the pids limit of the container) or of \
                     memory (`ulimit -v`)"
                );
                refused = Some(CommandError::with_cause(what, &error));
                break;
            }
        }
        ends.push(end);
    }
    drop(ends);
    for thread in threads {
        // It only waits for its channel to close.
        let _closed = thread.join();
    }
    refused.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_run_blocking_work_on_threads_that_exist_from_the_start() {
        for runtime in [runtime_for_command(), runtime_for_service()] {
            let runtime = runtime.unwrap();
            let done = runtime.block_on(async { tokio::task::spawn_blocking(|| 7).await });
            assert_eq!(done.unwrap(), 7);
        }
    }
}
