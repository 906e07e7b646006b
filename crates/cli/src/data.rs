//! The data folder: the files of a service on its own machine.
//!
//! ```text
//! DATA/holdfast.lock   the lock of a running `holdfast up`
//! DATA/signing.key     the key that signs download links, unless a setting has it
//! DATA/postgres/       the private cluster, unless database.url is set
//! DATA/backups/        the disk `local`, unless its root is set
//! ```
//!
//! Only the service's user can read these files, whatever the umask. The folder itself can be
//! passed through, since the private cluster may belong to another user, but not listed.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use rustix::fs::{Mode, OFlags};

use crate::error::CommandError;

/// The mode of a data folder.
const DATA_MODE: u32 = 0o711;
/// The mode of the files in it.
const FILE_MODE: u32 = 0o600;

/// The exclusive lock of a data folder, held until it is dropped.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

/// Creates the data folder if it is missing, and returns its absolute path without links. An
/// existing folder with nothing but files of Holdfast is closed to listing.
///
/// # Errors
/// When it cannot be created.
pub fn prepare(data: &Path) -> Result<PathBuf, CommandError> {
    let is_new = holdfast_storage::create_folder(data, DATA_MODE).map_err(|error| {
        CommandError::with_cause(
            format!("the data folder `{}` can't be created", data.display()),
            &error,
        )
    })?;
    let data = fs::canonicalize(data)?;
    if !is_new {
        close_to_listing(&data);
    }
    Ok(data)
}

/// Closes a data folder that an earlier version created. What its files contain is protected by
/// their own modes, so a folder that is shared with other files may stay as it is.
fn close_to_listing(data: &Path) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(folder) = rustix::fs::open(data, flags, Mode::empty()) else {
        return;
    };
    let Ok(found) = rustix::fs::fstat(&folder) else {
        return;
    };
    // A mode that is closed to others was chosen by an operator.
    let is_open = found.st_mode & 0o006 != 0;
    let is_shared = found.st_mode & 0o1000 != 0;
    if !is_open || is_shared || !is_own(found.st_uid) || !holds_only_own_files(data) {
        return;
    }
    let folder_name = data.display();
    match rustix::fs::fchmod(&folder, Mode::from_raw_mode(DATA_MODE)) {
        Ok(()) => {
            tracing::info!(folder = %folder_name, "other users can't list the data folder now")
        }
        Err(error) => {
            tracing::warn!(folder = %folder_name, %error, "other users can list the data folder");
        }
    }
}

fn is_own(uid: u32) -> bool {
    uid == rustix::process::geteuid().as_raw()
}

fn holds_only_own_files(data: &Path) -> bool {
    let Ok(mut entries) = fs::read_dir(data) else {
        return false;
    };
    entries.all(|entry| {
        let name = entry.map(|entry| entry.file_name());
        name.is_ok_and(|name| {
            let name = name.to_string_lossy();
            matches!(
                &*name,
                "holdfast.lock" | "postgres" | "postgres-dist" | "backups" | "lost+found"
            ) || name.starts_with("signing.key")
        })
    })
}

/// Closes a file of the data folder to other users. Returns whether it was open to them.
fn close_file(file: &fs::File) -> Result<bool, CommandError> {
    let found = file.metadata()?;
    let is_open = found.mode() & 0o077 != 0;
    if !is_open || !found.is_file() || !is_own(found.uid()) {
        return Ok(false);
    }
    // A file system without modes refuses, and every file on it looks like this.
    match file.set_permissions(std::fs::Permissions::from_mode(FILE_MODE)) {
        Ok(()) => Ok(true),
        Err(error) => {
            tracing::warn!(%error, "other users may be able to read a file of the data folder");
            Ok(false)
        }
    }
}

/// The flag that makes opening a link fail.
fn no_follow() -> i32 {
    i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default()
}

impl DataLock {
    /// Locks `data`, so that no second service uses it.
    ///
    /// # Errors
    /// When another process, which the text names, holds the lock, or the folder is not writable.
    pub fn acquire(data: &Path) -> Result<Self, CommandError> {
        let path = data.join("holdfast.lock");
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            // It is emptied below. In a folder that others can write to, it may be a link.
            .custom_flags(no_follow())
            .open(&path);
        let file = file.map_err(|error| {
            CommandError::with_cause(
                format!("the data folder `{}` can't be written to", data.display()),
                &error,
            )
        })?;
        // A user who can open the file can hold the lock.
        close_file(&file)?;
        let mut file = file.into_file();
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder)?;
                return Err(CommandError::new(format!(
                    "process {} already uses the data folder `{}`: stop it, or choose another \
                     folder with --data",
                    holder.trim(),
                    data.display()
                )));
            }
            Err(TryLockError::Error(error)) => {
                let what = format!(
                    "`{}` can't be locked; if its file system has no locks, choose another \
                     folder with --data",
                    path.display()
                );
                return Err(CommandError::with_cause(what, &error));
            }
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { _file: file })
    }
}

/// Returns the key that signs download links. If it is missing, it creates one of 64 hexadecimal
/// digits that only its owner can read.
///
/// # Errors
/// When the key is too short, or cannot be read or created.
pub fn signing_key(data: &Path) -> Result<Vec<u8>, CommandError> {
    let path = data.join("signing.key");
    match read_key(&path) {
        Ok(text) if text.trim().len() >= 32 => return Ok(text.trim().as_bytes().to_vec()),
        Ok(_) => {
            return Err(CommandError::new(format!(
                "`{}` is too short to be a signing key: delete the file to create a new one",
                path.display()
            )));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let mut random = [0_u8; 32];
    rand::fill(&mut random);
    let text = hex::encode(random);
    // The key is written to a temporary file and then renamed, so that it is never incomplete. If
    // two processes create it at the same time, both use the key that the file has in the end.
    let new = data.join(format!("signing.key.{:016x}", rand::random::<u64>()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(&new)?;
    close_file(&file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    match holdfast_storage::rename_new(&new, &path) {
        Ok(()) => signing_key(data),
        Err(error) => {
            fs::remove_file(&new)?;
            match error.kind() {
                ErrorKind::AlreadyExists => signing_key(data),
                _ => Err(error.into()),
            }
        }
    }
}

/// Reads the signing key, and closes its file to other users. A link to a file elsewhere is read,
/// but that file keeps its mode.
fn read_key(path: &Path) -> std::io::Result<String> {
    let flags = no_follow();
    match fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
    {
        Ok(mut file) => {
            if close_file(&file).is_ok_and(|was_open| was_open) {
                tracing::warn!(
                    path = %path.display(),
                    "other users could read the key that signs download links, and can't any more; \
                     delete the file and restart to replace the key, which ends all links"
                );
            }
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok(text)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Err(error),
        // It is a link, or the same error occurs again.
        Err(_) => fs::read_to_string(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_data_folder_cannot_be_listed_unless_it_contains_other_files_or_an_operator_chose_so() {
        let top = tempfile::tempdir().unwrap();
        let data = top.path().join("data");
        prepare(&data).unwrap();
        assert_eq!(mode(&data), 0o711);
        for name in ["holdfast.lock", "signing.key.0123", "signing.key"] {
            fs::write(data.join(name), "").unwrap();
        }
        for (chosen, expected) in [
            (0o755, 0o711),
            (0o777, 0o711),
            (0o1777, 0o1777),
            (0o750, 0o750),
            (0o700, 0o700),
        ] {
            set_mode(&data, chosen);
            prepare(&data).unwrap();
            assert_eq!(mode(&data), expected, "{chosen:o}");
        }
        fs::write(data.join("other"), "").unwrap();
        set_mode(&data, 0o755);
        prepare(&data).unwrap();
        assert_eq!(mode(&data), 0o755);
    }

    #[test]
    fn nobody_else_can_open_the_lock_and_a_link_in_its_place_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("holdfast.lock");
        fs::write(&path, "").unwrap();
        set_mode(&path, 0o644);
        drop(DataLock::acquire(data.path()).unwrap());
        assert_eq!(mode(&path), 0o600);
        let precious = data.path().join("precious");
        fs::rename(&path, &precious).unwrap();
        fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, &path).unwrap();
        let refused = DataLock::acquire(data.path()).unwrap_err().to_string();
        assert!(refused.contains("can't be written to"), "{refused}");
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    }

    #[test]
    fn a_folder_is_locked_once_and_the_error_names_the_process() {
        let data = tempfile::tempdir().unwrap();
        let lock = DataLock::acquire(data.path()).unwrap();
        let refused = DataLock::acquire(data.path()).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("process {} already uses", std::process::id())),
            "{refused}"
        );
        drop(lock);
        DataLock::acquire(data.path()).unwrap();
    }

    #[test]
    fn a_signing_key_is_created_once_and_only_its_owner_can_read_it() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("signing.key");
        let key = signing_key(data.path()).unwrap();
        assert_eq!(key.len(), 64);
        assert_eq!(signing_key(data.path()).unwrap(), key);
        assert_eq!(mode(&path), 0o600);
        set_mode(&path, 0o644);
        assert_eq!(signing_key(data.path()).unwrap(), key);
        assert_eq!(mode(&path), 0o600);
        // The file of an operator elsewhere keeps its mode.
        let elsewhere = data.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        set_mode(&elsewhere, 0o640);
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert_eq!(signing_key(data.path()).unwrap(), key);
        assert_eq!(mode(&elsewhere), 0o640);
        fs::write(&path, "short").unwrap();
        assert!(
            signing_key(data.path())
                .unwrap_err()
                .to_string()
                .contains("too short")
        );
    }
}
