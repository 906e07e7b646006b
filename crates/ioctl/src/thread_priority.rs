//! Priorities of the calling thread. Threads that it starts later inherit them.

use rustix::io::Errno;

/// How the kernel orders a thread's reads and writes among those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoClass {
    /// After those of most other programs.
    BestEffort,
    /// Only while no other program uses the device.
    Idle,
}

impl IoClass {
    /// Returns the class and the level within it, as `linux/ioprio.h` encodes them.
    fn encoded(self) -> libc::c_int {
        const CLASS_SHIFT: u32 = 13;
        const LOWEST_LEVEL: libc::c_int = 7;
        match self {
            Self::BestEffort => (2 << CLASS_SHIFT) | LOWEST_LEVEL,
            Self::Idle => 3 << CLASS_SHIFT,
        }
    }
}

/// Sets the I/O class of the calling thread (`ioprio_set`). Schedulers such as BFQ and mq-deadline
/// respect it; others ignore it.
///
/// # Errors
/// [`Errno::NOSYS`] or [`Errno::PERM`] if the kernel or a filter of system calls refuses.
#[expect(unsafe_code, reason = "no crate wraps this system call")]
pub fn set_io_class(class: IoClass) -> Result<(), Errno> {
    const WHO_PROCESS: libc::c_int = 1;
    const CALLING_THREAD: libc::c_int = 0;
    // SAFETY: The arguments are three integers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            WHO_PROCESS,
            CALLING_THREAD,
            class.encoded(),
        )
    };
    checked(result)
}

/// Gives the calling thread the policy `SCHED_BATCH`: when it wakes up, it does not interrupt
/// another thread. Its nice value stays.
///
/// # Errors
/// [`Errno::PERM`] if a filter of system calls refuses.
#[expect(unsafe_code, reason = "no crate wraps this system call")]
pub fn set_batch_scheduling() -> Result<(), Errno> {
    const CALLING_THREAD: libc::pid_t = 0;
    let no_priority: libc::c_int = 0;
    // SAFETY: `struct sched_param` of this system call is one integer, and the kernel only reads
    // it. The wrapper of musl does not make the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            CALLING_THREAD,
            libc::SCHED_BATCH,
            std::ptr::from_ref(&no_priority),
        )
    };
    checked(result)
}

/// Turns the result of a system call into an error, if it is one.
fn checked(result: libc::c_long) -> Result<(), Errno> {
    if result == -1 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gets_the_policy_and_passes_it_on() {
        let policy = std::thread::spawn(|| {
            set_batch_scheduling().expect("SCHED_BATCH");
            set_io_class(IoClass::Idle).expect("the idle class");
            let inherited = std::thread::spawn(|| fs_err::read_to_string("/proc/thread-self/stat"));
            inherited.join().expect("a thread")
        });
        let stat = policy.join().expect("a thread").expect("its state");
        let fields = stat.rsplit_once(") ").expect("a name").1;
        let policy = fields.split(' ').nth(38).expect("the policy");
        assert_eq!(policy, libc::SCHED_BATCH.to_string());
    }

    #[test]
    fn classes_are_encoded_as_the_kernel_expects() {
        assert_eq!(IoClass::Idle.encoded(), 0x6000);
        assert_eq!(IoClass::BestEffort.encoded(), 0x4007);
    }
}
