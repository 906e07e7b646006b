//! The data folder: what a service keeps on its own machine.
//!
//! ```text
//! DATA/holdfast.lock   held by the `up` that runs on it
//! DATA/signing.key     signs download links, when no setting does
//! DATA/postgres/       the private cluster, when no database is set
//! DATA/backups/        the disk `local`, when its root is not set
//! ```

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;

use crate::failure::Failure;

/// Holds a data folder for this process, until it is dropped.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

/// Makes the data folder if it is not there, and returns its absolute path without links.
///
/// # Errors
/// When it can't be made.
pub fn prepare(data: &Path) -> Result<PathBuf, Failure> {
    fs::create_dir_all(data).map_err(|error| {
        Failure::of(
            format!("the data folder `{}` can't be made", data.display()),
            &error,
        )
    })?;
    Ok(fs::canonicalize(data)?)
}

impl DataLock {
    /// Holds `data`, so that no second service runs on it.
    ///
    /// # Errors
    /// When another process holds it, which the text names, or it can't be written to.
    pub fn take(data: &Path) -> Result<Self, Failure> {
        let path = data.join("holdfast.lock");
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut file = file
            .map_err(|error| {
                Failure::of(
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
                return Err(Failure::new(format!(
                    "process {} already runs on `{}`: stop it, or choose another folder with --data",
                    holder.trim(),
                    data.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(Failure::of(path.display(), &error)),
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { _file: file })
    }
}

/// Reads the key that signs download links, or makes it: 64 hexadecimal digits, for its owner's eyes.
///
/// # Errors
/// When it can't be read or made.
pub fn signing_key(data: &Path) -> Result<Vec<u8>, Failure> {
    let path = data.join("signing.key");
    match fs::read_to_string(&path) {
        Ok(text) if text.trim().len() >= 32 => return Ok(text.trim().as_bytes().to_vec()),
        Ok(_) => {
            return Err(Failure::new(format!(
                "`{}` is too short to be a signing key: delete it, and a new one is made",
                path.display()
            )));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let mut random = [0_u8; 32];
    rand::fill(&mut random);
    let text = hex::encode(random);
    // Whole under its own name first; of two processes that start at once, the
    // second takes the key of the first.
    let new = data.join(format!("signing.key.{}", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let linked = fs::hard_link(&new, &path);
    fs::remove_file(&new)?;
    match linked {
        Ok(()) => Ok(text.into_bytes()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => signing_key(data),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_once_and_the_holder_is_named() {
        let data = tempfile::tempdir().unwrap();
        let held = DataLock::take(data.path()).unwrap();
        let refused = DataLock::take(data.path()).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("process {} already runs", std::process::id())),
            "{refused}"
        );
        drop(held);
        DataLock::take(data.path()).unwrap();
    }

    #[test]
    fn a_signing_key_is_made_once_and_kept_from_others() {
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
