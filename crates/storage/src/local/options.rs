//! The options of a local disk.

use std::path::{Path, PathBuf};

/// Where a local disk is, and who may read its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalOptions {
    /// The folder.
    pub root: PathBuf,
    /// The ID of a group whose members may read the files, such as that of a reverse proxy. `None`:
    /// only the user of the service may read them, unless an operator shares the folder with its
    /// group (by the setgid bit, closed to others).
    pub group: Option<u32>,
}

/// A folder whose files only the user of the service may read.
impl<P: AsRef<Path> + ?Sized> From<&P> for LocalOptions {
    fn from(root: &P) -> Self {
        Self {
            root: root.as_ref().to_owned(),
            group: None,
        }
    }
}
