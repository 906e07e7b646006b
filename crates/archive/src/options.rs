//! Options for creating and restoring archives.

use std::path::PathBuf;
use std::str::FromStr;

/// Options for [`create`](crate::create()).
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// Compression level: 0 (stored), 1 (fastest) to 9 (smallest). A higher value means 9.
    pub level: u32,
    /// Compression threads; 0 means one per core.
    pub threads: usize,
    /// The most bytes of the source read per second; `None` means no limit.
    pub read_limit_bytes_per_second: Option<u64>,
    /// The largest archive in bytes. A larger one fails with
    /// [`Error::TooLarge`](crate::Error::TooLarge).
    pub max_archive_bytes: Option<u64>,
    /// Whether extended attributes of users (`user.*`) are stored. Access control lists always are.
    pub xattrs: bool,
    /// Files to leave out, by device and inode: those that the archive is written to.
    pub own_files: Vec<(u64, u64)>,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            level: 1,
            threads: 0,
            read_limit_bytes_per_second: None,
            max_archive_bytes: None,
            xattrs: false,
            own_files: Vec::new(),
        }
    }
}

/// The recorded hash and size of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// SHA-256 of the whole archive.
    pub sha256: [u8; 32],
    /// Its size in bytes.
    pub archive_bytes: u64,
}

/// How [`restore`](crate::restore()) puts the restored files into place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SwapMethod {
    /// Exchanges the directory, unless something depends on the directory itself: a project (whose
    /// quota it counts for), or a process or a container that has it open, as far as `/proc` tells.
    #[default]
    Auto,
    /// Exchanges the directory in one step, wherever the file system allows it. Otherwise its
    /// children.
    Exchange,
    /// Keeps the directory itself, and exchanges its children one by one.
    Children,
}

impl FromStr for SwapMethod {
    type Err = UnknownSwapMethod;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "auto" => Ok(Self::Auto),
            "exchange" => Ok(Self::Exchange),
            "children" => Ok(Self::Children),
            _ => Err(UnknownSwapMethod(name.to_owned())),
        }
    }
}

/// A name that no [`SwapMethod`] has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be auto, exchange or children, not `{0}`")]
pub struct UnknownSwapMethod(String);

/// Options for [`restore`](crate::restore()).
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// Whether files that are not in the archive are removed.
    pub truncate: bool,
    /// The files and folders to restore, below the root of the archive; all if there are none. What
    /// is elsewhere in the destination is not touched.
    pub paths: Vec<Vec<u8>>,
    /// The recorded hash and size, checked before anything is unpacked.
    pub expected: Option<Expected>,
    /// Where to unpack before the swap; `None` means beside the destination.
    pub staging_dir: Option<PathBuf>,
    /// How the restored files are put into place.
    pub swap: SwapMethod,
    /// Whether files get the owners that the archive states. Otherwise they belong to the owner of
    /// the destination if the process is root, or else to the user of the process.
    pub apply_owner: bool,
    /// Whether setuid and setgid bits of files are restored. Those of folders that give nobody a
    /// right, setgid and sticky, always are.
    pub special_modes: bool,
    /// Threads for unpacking; 0 means one per core.
    pub threads: usize,
}

/// A check right before the restored files replace the old ones.
///
/// An error stops the restore. It comes back in [`Error::Refused`](crate::Error::Refused), where
/// the caller can downcast it.
pub type BeforeSwap<'a> =
    &'a mut dyn FnMut() -> Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Returns the number of threads for a setting: at least one, and few enough to bound the memory.
pub(crate) fn thread_count(setting: usize) -> usize {
    const MAX_THREADS: usize = 12;
    let wanted = if setting == 0 {
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    } else {
        setting
    };
    wanted.clamp(1, MAX_THREADS)
}
