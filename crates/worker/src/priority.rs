//! The priority of the threads that read, hash and compress: a nice value, the policy `SCHED_BATCH`
//! and an I/O class. None of them needs a privilege.

use std::io;
use std::sync::Once;

use rustix::process::{getpriority_process, setpriority_process};

use holdfast_ioctl::IoClass;

/// The priority of the threads that read, hash and compress for a backup or a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// Their nice value, 0 to 19; 0 means that of the process.
    pub nice: u8,
    /// Their I/O class; `None` means that of the process.
    pub io_class: Option<IoClass>,
}

impl Priority {
    /// Runs `work` on a thread with this priority, and waits for it. The threads that `work` starts
    /// inherit the priority. Blocks the thread.
    ///
    /// It is a thread of its own because only root may raise a priority again.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub(crate) fn run<T: Send>(self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("backup".to_owned());
            let thread = thread.spawn_scoped(scope, || {
                self.apply();
                work()
            })?;
            let ended = thread.join();
            Ok(ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    /// Gives the calling thread this priority. A system that refuses is logged once.
    fn apply(self) {
        static REFUSED: Once = Once::new();
        let nice = i32::from(self.nice);
        let mut problem = None;
        if nice > 0 {
            // Only root may set a lower value than the thread has.
            let is_lower = getpriority_process(None).is_ok_and(|now| now >= nice);
            if !is_lower && let Err(error) = setpriority_process(None, nice) {
                problem = Some(("the nice value", error));
            }
            if let Err(error) = holdfast_ioctl::set_batch_scheduling() {
                problem = Some(("the scheduling policy", error));
            }
        }
        if let Some(class) = self.io_class
            && let Err(error) = holdfast_ioctl::set_io_class(class)
        {
            problem = Some(("the I/O class", error));
        }
        if let Some((what, error)) = problem {
            REFUSED.call_once(|| {
                tracing::warn!(
                    %error,
                    "the system does not let backups run at a lower priority: {what} is refused"
                );
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the nice value, the policy and the name of the calling thread.
    fn state() -> (String, String, String) {
        let stat = fs_err::read_to_string("/proc/thread-self/stat").unwrap();
        let (name, fields) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = fields.split(' ').collect();
        let name = name.split_once('(').unwrap().1;
        (
            fields[16].to_owned(),
            fields[38].to_owned(),
            name.to_owned(),
        )
    }

    #[test]
    fn work_and_the_threads_that_it_starts_have_the_priority_and_the_caller_keeps_its_own() {
        const SCHED_BATCH: &str = "3";
        let before = state();
        let priority = Priority {
            nice: 19,
            io_class: Some(IoClass::Idle),
        };
        let inner = priority.run(|| (state(), std::thread::spawn(state).join().unwrap()));
        let (own, started) = inner.unwrap();
        let expected = ("19".to_owned(), SCHED_BATCH.to_owned(), "backup".to_owned());
        assert_eq!(own, expected);
        assert_eq!(started, expected);
        assert_eq!(state(), before);
    }

    #[test]
    fn a_nice_value_of_0_changes_nothing() {
        let before = state();
        let priority = Priority {
            nice: 0,
            io_class: None,
        };
        let inside = priority.run(state).unwrap();
        assert_eq!((inside.0, inside.1), (before.0, before.1));
    }
}
