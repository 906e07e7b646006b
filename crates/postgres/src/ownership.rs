//! The owner of a cluster: the process that holds its lock.
//!
//! The kernel releases the lock when that process ends, for any reason. So if the lock is free, a
//! postmaster in the folder belongs to a killed service.

use std::fs::TryLockError;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err::os::unix::fs::OpenOptionsExt as _;

use crate::address::Address;
use crate::user::ClusterUser;
use crate::{Error, postmaster};

/// The number of attempts to lock. The lock can be held for a moment by [`running`], or by a
/// program that a killed owner was just starting.
const ATTEMPTS: u32 = 40;
const RETRY_DELAY: Duration = Duration::from_millis(25);

/// The lock of a cluster, held until it is dropped.
#[derive(Debug)]
pub(crate) struct OwnerLock {
    _lock: fs_err::File,
}

impl OwnerLock {
    /// Locks the cluster in `directory`, and writes the ID of this process to the lock file.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process holds the lock.
    pub(crate) async fn acquire(directory: &Path, user: &ClusterUser) -> Result<Self, Error> {
        let path = lock_path(directory);
        let mut lock = fs_err::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(no_follow())
            .open(&path)?;
        user.chown(&path)?;
        for attempt in 1.. {
            match lock.file().try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempt < ATTEMPTS => {
                    tokio::time::sleep(RETRY_DELAY).await;
                }
                Err(TryLockError::WouldBlock) => {
                    let (directory, pid) = (directory.into(), holder_pid(&mut lock)?);
                    return Err(Error::InUse { directory, pid });
                }
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
        lock.set_len(0)?;
        lock.write_all(std::process::id().to_string().as_bytes())?;
        Ok(Self { _lock: lock })
    }
}

/// Returns the address of the cluster in `directory` if another process runs it, otherwise `None`.
///
/// The postmaster of a killed service does not count.
///
/// # Errors
/// [`Error::NotReady`] while the cluster is being started or stopped; an I/O error, with the path,
/// when this user has no access to the folder.
pub fn running(directory: &Path) -> Result<Option<Address>, Error> {
    let directory = std::path::absolute(directory)?;
    let path = lock_path(&directory);
    let opened = fs_err::OpenOptions::new()
        .read(true)
        .custom_flags(no_follow())
        .open(path);
    let mut lock = match opened {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match lock.file().try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error.into()),
        Err(TryLockError::WouldBlock) if postmaster::is_ready(&directory.join("data")) => {
            Address::new(&directory).map(Some)
        }
        Err(TryLockError::WouldBlock) => {
            let pid = holder_pid(&mut lock)?;
            Err(Error::NotReady { directory, pid })
        }
    }
}

fn lock_path(directory: &Path) -> PathBuf {
    directory.join("owner.lock")
}

/// The lock file must not be a link: root opens it in a folder of another user.
fn no_follow() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default()
}

fn holder_pid(lock: &mut fs_err::File) -> Result<String, Error> {
    let mut pid = String::new();
    lock.rewind()?;
    lock.take(20).read_to_string(&mut pid)?;
    Ok(pid)
}
