//! Opens files of a server on which another process has a lease (`fcntl` with `F_SETLEASE`).
//!
//! Opening such a file asks the holder to give the lease up, and the kernel takes it away after
//! `/proc/sys/fs/lease-break-time` (45 s). Samba gives it up at once. A server's owner can hold
//! leases on any number of files, so the time that is spent on all of them is bounded.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::Control;

/// How long all files of one operation are waited for: longer than the kernel leaves one lease.
pub(crate) const WAIT: Duration = Duration::from_secs(60);
/// How often it is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// Opens files to read, and waits for leases.
pub(crate) struct LeaseWait {
    /// The rest of the time.
    left: Duration,
}

impl LeaseWait {
    /// Waits for at most this time in all.
    pub(crate) fn new(left: Duration) -> Self {
        Self { left }
    }

    /// Opens a file to read; never a symlink. Does not wait for anything but a lease.
    ///
    /// # Errors
    ///
    /// [`Errno::AGAIN`] if another process still has a lease on it, or if the operation is
    /// cancelled meanwhile.
    pub(crate) fn open(
        &mut self,
        folder: BorrowedFd<'_>,
        name: &[u8],
        control: Option<&Control>,
    ) -> Result<OwnedFd, Errno> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let open = || retry_on_intr(|| rustix::fs::openat(folder, name, flags, Mode::empty()));
        loop {
            let opened = open();
            let is_cancelled = control.is_some_and(Control::is_cancelled);
            if !matches!(opened, Err(Errno::AGAIN)) || self.left.is_zero() || is_cancelled {
                return opened;
            }
            let begun = Instant::now();
            std::thread::sleep(PAUSE.min(self.left));
            self.left = self.left.saturating_sub(begun.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn other_errors_are_not_waited_for() {
        let folder = rustix::fs::open("/proc", OFlags::DIRECTORY, Mode::empty());
        let Ok(folder) = folder else { return };
        let mut leases = LeaseWait::new(WAIT);
        for (name, error) in [("missing", Errno::NOENT), ("self", Errno::LOOP)] {
            let opened = leases.open(folder.as_fd(), name.as_bytes(), None);
            assert_eq!(opened.err(), Some(error), "{name}");
        }
        assert_eq!(leases.left, WAIT);
    }
}
