//! The data folder: the files of a service on its own machine.
//!
//! ```text
//! DATA/holdfast.lock   the lock of a running `holdfast up`
//! DATA/signing.key     the key that signs download links, unless a setting has it
//! DATA/postgres/       the private cluster, unless database.url is set
//! DATA/backups/        the disk `local`, unless its root is set
//! ```

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;

use crate::error::CommandError;

/// The exclusive lock of a data folder, held until it is dropped.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

/// Creates the data folder if it is missing, and returns its absolute path without links.
///
/// # Errors
/// When it cannot be created.
pub fn prepare(data: &Path) -> Result<PathBuf, CommandError> {
    fs::create_dir_all(data).map_err(|error| {
        CommandError::with_cause(
            format!("the data folder `{}` can't be created", data.display()),
            &error,
        )
    })?;
    Ok(fs::canonicalize(data)?)
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
            .open(&path);
        let mut file = file
            .map_err(|error| {
                CommandError::with_cause(
                    format!("the data folder `{}` can't be written to", data.display()),
                    &error,
                )
            })?
            .into_file();
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
    match fs::read_to_string(&path) {
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
    let new = data.join(format!("signing.key.{}", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
        use std::os::unix::fs::PermissionsExt;
        let data = tempfile::tempdir().unwrap();
        let key = signing_key(data.path()).unwrap();
        assert_eq!(key.len(), 64);
        assert_eq!(signing_key(data.path()).unwrap(), key);
        let mode = fs::metadata(data.path().join("signing.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(data.path().join("signing.key"), "short").unwrap();
        assert!(
            signing_key(data.path())
                .unwrap_err()
                .to_string()
                .contains("too short")
        );
    }
}
