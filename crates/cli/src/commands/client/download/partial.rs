//! A file that is not whole yet. Only one process writes it at a time.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::fs::OFlags;

use crate::error::CommandError;

/// The size of the pieces in which the file is read.
const PIECE_BYTES: usize = 1 << 20;

/// A partial file beside its target.
#[derive(Debug)]
pub(super) struct PartialFile {
    path: PathBuf,
    file: File,
    length: u64,
}

impl PartialFile {
    /// Opens the partial file of an archive, or creates it. Its name contains the hash of the
    /// archive, so that it is never continued with another one.
    pub(super) fn open(target: &Path, sha256: &[u8; 32], bytes: u64) -> Result<Self, CommandError> {
        let mut name = OsString::from(target);
        name.push(format!(".{}.partial", hex::encode(&sha256[..8])));
        let path = PathBuf::from(name);
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        // In a folder that others can write to, a link could lead to another file.
        options.custom_flags(
            OFlags::NOFOLLOW
                .union(OFlags::NONBLOCK)
                .bits()
                .cast_signed(),
        );
        let file = options.open(&path)?.into_file();
        if !file.metadata()?.is_file() {
            let path = path.display();
            return Err(CommandError::new(format!(
                "`{path}` is not a file: remove it"
            )));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(CommandError::new(format!(
                    "another process writes `{}`",
                    path.display()
                )));
            }
            // Some network file systems have no locks.
            Err(TryLockError::Error(_)) => {}
        }
        let mut length = file.metadata()?.len();
        if length > bytes {
            file.set_len(0)?;
            length = 0;
        }
        Ok(Self { path, file, length })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns how many bytes an earlier download has left.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Reads what an earlier download has left.
    pub(super) fn read(&mut self, each: &mut dyn FnMut(&[u8])) -> Result<(), CommandError> {
        let mut piece = vec![0; PIECE_BYTES];
        self.file.seek(SeekFrom::Start(0))?;
        let mut left = self.length;
        while left > 0 {
            let wanted = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.file.read_exact(&mut piece[..wanted])?;
            each(&piece[..wanted]);
            left -= wanted as u64;
        }
        Ok(())
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        self.file.write_all(bytes).map_err(|error| {
            CommandError::with_cause(format!("cannot write `{}`", self.path.display()), &error)
        })
    }

    /// Removes the file.
    pub(super) fn discard(self) -> Result<(), CommandError> {
        Ok(fs::remove_file(&self.path)?)
    }

    /// Gives the file its name, in place of an older file.
    pub(super) fn finish(self, target: &Path) -> Result<(), CommandError> {
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        let folder = match target.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        fs::File::open(folder)?.sync_all()?;
        Ok(())
    }
}
