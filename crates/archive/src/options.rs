//! What a caller may choose when an archive is made or restored.

use std::path::PathBuf;

/// How an archive is made.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// Compression level: 0 (only stored), 1 (fastest) to 9 (smallest); what is above is taken for 9.
    pub level: u32,
    /// Threads that compress; 0 means one for each core.
    pub threads: usize,
    /// Bytes of the source read in a second at the most; none: as fast as the disk.
    pub read_limit_bytes_per_second: Option<u64>,
    /// Bytes that the archive may have; beyond them it fails with [`Error::TooLarge`](crate::Error::TooLarge).
    pub max_archive_bytes: Option<u64>,
    /// Whether extended attributes are stored.
    pub xattrs: bool,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            level: 6,
            threads: 0,
            read_limit_bytes_per_second: None,
            max_archive_bytes: None,
            xattrs: false,
        }
    }
}

/// What is on record about an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// SHA-256 of the whole archive.
    pub sha256: [u8; 32],
    /// Its size in bytes.
    pub archive_bytes: u64,
}

/// How an archive is restored.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// Whether what is not in the archive is removed; otherwise it stays beside what is restored.
    pub truncate: bool,
    /// What the archive must be; checked before the first byte is unpacked.
    pub expected: Option<Expected>,
    /// Where to unpack before the trees change places; none: beside the destination.
    pub staging_dir: Option<PathBuf>,
    /// Whether files get the owner numbers of the archive; otherwise, when the process
    /// is root, they belong to whom the destination belongs to, and else to the process.
    pub apply_owner: bool,
    /// Whether setuid, setgid and sticky bits are restored.
    pub special_modes: bool,
    /// Threads that unpack; 0 means one for each core.
    pub threads: usize,
}

/// A check right before the restored files replace the old ones.
///
/// An error stops the restore. It comes back in [`Error::Refused`](crate::Error::Refused), where the
/// caller can downcast it.
pub type BeforeSwap<'a> =
    &'a mut dyn FnMut() -> Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// The number of worker threads for a setting: never none, never so many that memory is not bounded.
pub(crate) fn thread_count(setting: usize) -> usize {
    const MOST: usize = 12;
    let wanted = if setting == 0 {
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    } else {
        setting
    };
    wanted.clamp(1, MOST)
}
