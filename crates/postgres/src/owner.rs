//! Who owns a cluster: a lock that its process holds for as long as it lives.
//!
//! The kernel frees the lock however that process ends, so a lock that is free means that whatever
//! still runs in the folder is left over from a killed service.

use std::fs::TryLockError;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err::os::unix::fs::OpenOptionsExt as _;

use crate::account::Account;
use crate::address::Address;
use crate::{Error, postmaster};

/// How long a lock is tried for: somebody may be looking whether it is held, or its owner was killed
/// in the moment of starting another program, which lets go when it begins.
const ATTEMPTS: u32 = 40;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(25);

/// Holds a cluster for this process.
#[derive(Debug)]
pub(crate) struct Owner {
    _lock: fs_err::File,
}

impl Owner {
    /// Takes the cluster in `directory` for this process and writes its number down.
    ///
    /// # Errors
    /// [`Error::InUse`] when a live process holds it.
    pub(crate) async fn take(directory: &Path, account: &Account) -> Result<Self, Error> {
        let path = lock_path(directory);
        let mut lock = fs_err::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(no_follow())
            .open(&path)?;
        account.own(&path)?;
        for attempt in 1.. {
            match lock.file().try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempt < ATTEMPTS => {
                    tokio::time::sleep(BETWEEN_ATTEMPTS).await;
                }
                Err(TryLockError::WouldBlock) => {
                    let (directory, pid) = (directory.into(), holder(&mut lock)?);
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

/// Finds the cluster that a live process runs in `directory` now, for programs beside that process.
///
/// It answers `None` when nobody runs one, also when a killed service left a postmaster behind.
///
/// # Errors
/// [`Error::NotReady`] while the cluster is being started or stopped; an I/O error, with the path,
/// when this user may not look into the folder.
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
            Address::of(&directory).map(Some)
        }
        Err(TryLockError::WouldBlock) => {
            let pid = holder(&mut lock)?;
            Err(Error::NotReady { directory, pid })
        }
    }
}

fn lock_path(directory: &Path) -> PathBuf {
    directory.join("owner.lock")
}

/// A lock file is never a link: root opens it in a folder that is another user's.
fn no_follow() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default()
}

fn holder(lock: &mut fs_err::File) -> Result<String, Error> {
    let mut pid = String::new();
    lock.rewind()?;
    lock.take(20).read_to_string(&mut pid)?;
    Ok(pid)
}
