//! Where a server's directory may lie. The command line, the application API and
//! the worker ask here, so that they can't disagree.
//!
//! Everything here goes by names alone. Links are the worker's business: it
//! resolves them and asks again before it touches anything.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::name::DiskName;

/// The longest path of a directory, in bytes: as long as Linux takes.
pub const DIRECTORY_MAX: usize = 4095;

/// Who said where a server's directory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DirectorySetBy {
    /// Somebody on the machine, who can read its files anyway.
    #[default]
    Admin,
    /// The application API: its callers may see nothing outside of the roots.
    Application,
}

impl DirectorySetBy {
    /// Returns the name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Application => "application",
        }
    }

    /// Reads a name of the database.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Admin, Self::Application]
            .into_iter()
            .find(|p| p.as_str() == text)
    }
}

/// Why a directory can't be a server's. The texts follow the directory's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryRefused {
    /// It does not begin with a slash.
    #[error("must be an absolute path")]
    NotAbsolute,
    /// It has `..` in it.
    #[error("must not hold `..`")]
    Dots,
    /// It holds a NUL.
    #[error("must not hold a NUL character")]
    Nul,
    /// It is longer than [`DIRECTORY_MAX`].
    #[error("may not be longer than {DIRECTORY_MAX} bytes")]
    TooLong,
    /// It is `/`.
    #[error("is the root of the file system, which can't be put in place by a restore")]
    Root,
    /// The application API may name none, since there are no roots.
    #[error(
        "can't be chosen here, since no folders for servers are configured: set worker.roots \
         (HOLDFAST__WORKER__ROOTS) for the API and the workers"
    )]
    NoRoots,
    /// It lies in none of the roots, or is one.
    #[error("lies in none of the folders of worker.roots")]
    OutsideRoots,
    /// It lies in, at or around the folder of a disk.
    #[error("shares its place with disk `{disk}`: a backup would hold itself")]
    Disk {
        /// The disk.
        disk: DiskName,
    },
}

/// Reads a directory's path: absolute, without `..`; `.`, doubled slashes and a slash at the end are
/// taken away.
///
/// # Errors
/// [`DirectoryRefused`].
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

/// What the settings say about the places of servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryRules {
    /// Folders that servers must lie in; none means anywhere, but not for the application API.
    pub roots: Vec<PathBuf>,
    /// The folders of disks, which no server may share.
    pub disks: BTreeMap<DiskName, PathBuf>,
}

impl DirectoryRules {
    /// Checks a directory that `placed_by` has named. A root itself is no place for a server: a
    /// restore works beside the directory, which would be outside.
    ///
    /// # Errors
    /// [`DirectoryRefused`].
    pub fn check(
        &self,
        directory: &Path,
        placed_by: DirectorySetBy,
    ) -> Result<(), DirectoryRefused> {
        if directory.parent().is_none() {
            return Err(DirectoryRefused::Root);
        }
        if self.roots.is_empty() {
            match placed_by {
                DirectorySetBy::Admin => {}
                DirectorySetBy::Application => return Err(DirectoryRefused::NoRoots),
            }
        } else if !self.roots.iter().any(|root| lies_below(directory, root)) {
            return Err(DirectoryRefused::OutsideRoots);
        }
        for (disk, folder) in &self.disks {
            if folder.starts_with(directory) || directory.starts_with(folder) {
                return Err(DirectoryRefused::Disk { disk: disk.clone() });
            }
        }
        Ok(())
    }

    /// Says whether a directory that `placed_by` has named may lie anywhere.
    pub fn is_free(&self, placed_by: DirectorySetBy) -> bool {
        self.roots.is_empty() && placed_by == DirectorySetBy::Admin
    }
}

fn lies_below(directory: &Path, root: &Path) -> bool {
    directory.starts_with(root) && directory != root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_plain_and_without_detours() {
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
    fn a_server_lies_below_a_root_and_never_with_a_disk() {
        let disk = DiskName::parse("local").expect("a name");
        let rules = |roots: &[&str]| DirectoryRules {
            roots: roots.iter().map(PathBuf::from).collect(),
            disks: [(disk.clone(), PathBuf::from("/srv/backups"))].into(),
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
