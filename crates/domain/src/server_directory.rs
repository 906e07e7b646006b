//! Rules for the location of a server's directory, shared by the command line, the application API
//! and the worker.
//!
//! These rules compare paths only. The worker resolves symbolic links and checks the real path
//! again before it uses a directory.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::name::DiskName;

/// The maximum length of a directory's path, in bytes. Linux accepts no longer one.
pub const DIRECTORY_MAX: usize = 4095;

/// Who set a server's directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DirectorySetBy {
    /// An administrator on the machine, who can read its files anyway.
    #[default]
    Admin,
    /// A caller of the application API, who may not access files outside the roots.
    Application,
}

impl DirectorySetBy {
    /// Returns the value stored in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Application => "application",
        }
    }

    /// Parses a value of the database.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Admin, Self::Application]
            .into_iter()
            .find(|p| p.as_str() == text)
    }
}

/// Why a directory is refused. Each message continues a sentence that begins with the path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryRefused {
    /// The path does not begin with a slash.
    #[error("must be an absolute path")]
    NotAbsolute,
    /// The path contains `..`.
    #[error("must not contain `..`")]
    Dots,
    /// The path contains a NUL character.
    #[error("must not contain a NUL character")]
    Nul,
    /// The path is longer than [`DIRECTORY_MAX`].
    #[error("may not be longer than {DIRECTORY_MAX} bytes")]
    TooLong,
    /// The path is `/`.
    #[error("is the root of the file system, which a restore can't replace")]
    Root,
    /// The application API may not set directories, because no roots are configured.
    #[error(
        "can't be set through this API, because no root folders are configured: set worker.roots \
         (HOLDFAST__WORKER__ROOTS) for the API and the workers"
    )]
    NoRoots,
    /// The directory is not below a root.
    #[error("is not below a folder of worker.roots")]
    OutsideRoots,
    /// The directory is inside a disk's folder, contains it, or is the same.
    #[error("overlaps the folder of disk `{disk}`: a backup would contain itself")]
    Disk {
        /// The disk.
        disk: DiskName,
    },
}

/// Parses a directory's path: absolute, without `..`. Removes `.`, repeated slashes and a slash at
/// the end.
///
/// ```
/// use holdfast_domain::server_directory::{DirectoryRefused, parse};
///
/// assert_eq!(parse("//srv/./minecraft//")?.to_str(), Some("/srv/minecraft"));
/// assert_eq!(parse("/srv/../etc"), Err(DirectoryRefused::Dots));
/// # Ok::<(), DirectoryRefused>(())
/// ```
///
/// # Errors
/// [`DirectoryRefused`] with the reason.
pub fn parse(text: &str) -> Result<PathBuf, DirectoryRefused> {
    if text.contains('\0') {
        return Err(DirectoryRefused::Nul);
    }
    if text.len() > DIRECTORY_MAX {
        return Err(DirectoryRefused::TooLong);
    }
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(DirectoryRefused::NotAbsolute);
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(DirectoryRefused::Dots);
    }
    let path: PathBuf = path.components().collect();
    if path.parent().is_none() {
        return Err(DirectoryRefused::Root);
    }
    Ok(path)
}

/// The configured rules for servers' directories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryRules {
    /// Folders that servers must be below. If empty, administrators may use any directory, and the
    /// application API none.
    pub roots: Vec<PathBuf>,
    /// The folders of local disks, which no server's directory may overlap.
    pub disks: BTreeMap<DiskName, PathBuf>,
    /// The folder of Wings' servers. The directories in it need not be below a root.
    pub wings_data: Option<PathBuf>,
}

impl DirectoryRules {
    /// Checks a directory that `set_by` has set. A root itself is refused: a restore needs space
    /// beside the directory, which would be outside the root.
    ///
    /// # Errors
    /// [`DirectoryRefused`] with the reason.
    pub fn check(&self, directory: &Path, set_by: DirectorySetBy) -> Result<(), DirectoryRefused> {
        if directory.parent().is_none() {
            return Err(DirectoryRefused::Root);
        }
        let is_of_wings = match set_by {
            DirectorySetBy::Admin => {
                self.wings_data.is_some() && self.wings_data.as_deref() == directory.parent()
            }
            DirectorySetBy::Application => false,
        };
        if is_of_wings {
            // Wings has chosen the directory.
        } else if self.roots.is_empty() {
            match set_by {
                DirectorySetBy::Admin => {}
                DirectorySetBy::Application => return Err(DirectoryRefused::NoRoots),
            }
        } else if !self.roots.iter().any(|root| is_below(directory, root)) {
            return Err(DirectoryRefused::OutsideRoots);
        }
        for (disk, folder) in &self.disks {
            if folder.starts_with(directory) || directory.starts_with(folder) {
                return Err(DirectoryRefused::Disk { disk: disk.clone() });
            }
        }
        Ok(())
    }

    /// Returns whether a directory that `set_by` has set may be below any folder.
    pub fn allows_any_root(&self, set_by: DirectorySetBy) -> bool {
        self.roots.is_empty() && set_by == DirectorySetBy::Admin
    }
}

fn is_below(directory: &Path, root: &Path) -> bool {
    directory.starts_with(root) && directory != root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_normalized() {
        for (text, expected) in [
            ("/srv/a", Ok("/srv/a")),
            ("//srv/./a//", Ok("/srv/a")),
            ("/srv/..a", Ok("/srv/..a")),
            ("srv/a", Err(DirectoryRefused::NotAbsolute)),
            ("", Err(DirectoryRefused::NotAbsolute)),
            ("/srv/../etc", Err(DirectoryRefused::Dots)),
            ("/srv/a/..", Err(DirectoryRefused::Dots)),
            ("/srv/a\0b", Err(DirectoryRefused::Nul)),
            ("/", Err(DirectoryRefused::Root)),
            ("/./", Err(DirectoryRefused::Root)),
        ] {
            let expected = expected.map(PathBuf::from);
            let found = parse(text);
            assert_eq!(found, expected, "{text}");
            if let Ok(path) = found {
                assert!(!path.to_string_lossy().ends_with('/'), "{text}");
            }
        }
        let long = format!("/{}", "a".repeat(DIRECTORY_MAX));
        assert_eq!(parse(&long), Err(DirectoryRefused::TooLong));
    }

    #[test]
    fn a_directory_is_below_a_root_and_does_not_overlap_a_disk() {
        let disk = DiskName::parse("local").expect("a name");
        let rules = |roots: &[&str]| DirectoryRules {
            roots: roots.iter().map(PathBuf::from).collect(),
            disks: [(disk.clone(), PathBuf::from("/srv/backups"))].into(),
            wings_data: Some(PathBuf::from("/var/volumes")),
        };
        let with_disk = || Err(DirectoryRefused::Disk { disk: disk.clone() });
        for (directory, roots, admin, application) in [
            ("/etc", &[][..], Ok(()), Err(DirectoryRefused::NoRoots)),
            ("/srv/a", &["/srv"], Ok(()), Ok(())),
            ("/srv/a", &["/home", "/srv"], Ok(()), Ok(())),
            (
                "/srv",
                &["/srv"],
                Err(DirectoryRefused::OutsideRoots),
                Err(DirectoryRefused::OutsideRoots),
            ),
            (
                "/srvx/a",
                &["/srv"],
                Err(DirectoryRefused::OutsideRoots),
                Err(DirectoryRefused::OutsideRoots),
            ),
            ("/srv/backups", &["/srv"], with_disk(), with_disk()),
            ("/srv/backups/a", &["/srv"], with_disk(), with_disk()),
            ("/srv", &[], with_disk(), Err(DirectoryRefused::NoRoots)),
            (
                "/var/volumes/a",
                &["/srv"],
                Ok(()),
                Err(DirectoryRefused::OutsideRoots),
            ),
            (
                "/var/volumes/a/b",
                &["/srv"],
                Err(DirectoryRefused::OutsideRoots),
                Err(DirectoryRefused::OutsideRoots),
            ),
            (
                "/var/volumes",
                &["/srv"],
                Err(DirectoryRefused::OutsideRoots),
                Err(DirectoryRefused::OutsideRoots),
            ),
        ] {
            let rules = rules(roots);
            let directory = Path::new(directory);
            assert_eq!(rules.check(directory, DirectorySetBy::Admin), admin);
            assert_eq!(
                rules.check(directory, DirectorySetBy::Application),
                application
            );
        }
    }
}
