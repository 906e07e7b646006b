//! The files and folders of a restore that does not replace everything.

use std::fmt;

/// The most paths of a restore.
pub const RESTORE_PATHS_MAX: usize = 100;
/// The most bytes of all paths of a restore.
pub const RESTORE_PATHS_BYTES_MAX: usize = 16 << 10;
/// The longest name of a file or folder, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Paths below a server's directory: at least one, each relative and without `..`, none inside of
/// another.
///
/// ```
/// use holdfast_domain::RestorePaths;
///
/// let paths = ["world/region", "server.properties"].map(str::to_owned);
/// assert_eq!(RestorePaths::parse(paths.to_vec())?.as_slice(), paths);
/// assert!(RestorePaths::parse(vec!["../other".to_owned()]).is_err());
/// # Ok::<(), holdfast_domain::restore_paths::PathsRefused>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestorePaths(Vec<String>);

/// Paths that are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct PathsRefused {
    /// The index of the refused path; `None` if the list as a whole is refused.
    pub path: Option<usize>,
    /// What is wrong with it.
    pub reason: PathFault,
}

/// What is wrong with a path, or with a list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathFault {
    /// There is no path.
    None,
    /// There are more than [`RESTORE_PATHS_MAX`] paths.
    TooMany,
    /// All paths together are longer than [`RESTORE_PATHS_BYTES_MAX`].
    TooLong,
    /// It is empty, begins or ends with a slash, or has two in a row.
    EmptyName,
    /// One of its names is `.` or `..`.
    Dots,
    /// One of its names is longer than file systems allow.
    NameTooLong,
    /// It contains a NUL character.
    Nul,
    /// It is the same as another path, or inside of one.
    InsideOther,
}

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "there must be at least one path"),
            Self::TooMany => write!(f, "there are more than {RESTORE_PATHS_MAX} paths"),
            Self::TooLong => write!(
                f,
                "the paths are longer than {RESTORE_PATHS_BYTES_MAX} bytes in all"
            ),
            Self::EmptyName => write!(
                f,
                "it must be relative, such as `world/region`, without a slash at its end"
            ),
            Self::Dots => write!(f, "it must not contain `.` or `..`"),
            Self::NameTooLong => {
                write!(f, "one of its names is longer than {NAME_BYTES_MAX} bytes")
            }
            Self::Nul => write!(f, "it holds a NUL character"),
            Self::InsideOther => write!(f, "it is the same as another path, or inside of one"),
        }
    }
}

impl RestorePaths {
    /// Checks paths.
    ///
    /// # Errors
    /// [`PathsRefused`] with the first fault.
    pub fn parse(paths: Vec<String>) -> Result<Self, PathsRefused> {
        let of_list = |reason| PathsRefused { path: None, reason };
        if paths.is_empty() {
            return Err(of_list(PathFault::None));
        }
        if paths.len() > RESTORE_PATHS_MAX {
            return Err(of_list(PathFault::TooMany));
        }
        if paths.iter().map(String::len).sum::<usize>() > RESTORE_PATHS_BYTES_MAX {
            return Err(of_list(PathFault::TooLong));
        }
        for (number, path) in paths.iter().enumerate() {
            let others = paths
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != number);
            let fault = fault_of(path).or_else(|| {
                let mut others = others.map(|(_, other)| other);
                others
                    .any(|other| is_inside(path, other))
                    .then_some(PathFault::InsideOther)
            });
            if let Some(reason) = fault {
                let path = Some(number);
                return Err(PathsRefused { path, reason });
            }
        }
        Ok(Self(paths))
    }

    /// Returns the paths, in the order in which they were given.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// Returns the paths as bytes, as the archive engine takes them.
    pub fn to_bytes(&self) -> Vec<Vec<u8>> {
        self.0.iter().map(|path| path.as_bytes().to_vec()).collect()
    }
}

fn fault_of(path: &str) -> Option<PathFault> {
    if path.contains('\0') {
        return Some(PathFault::Nul);
    }
    path.split('/').find_map(|name| match name {
        "" => Some(PathFault::EmptyName),
        "." | ".." => Some(PathFault::Dots),
        name => (name.len() > NAME_BYTES_MAX).then_some(PathFault::NameTooLong),
    })
}

/// Returns whether a path is the other one, or below it.
fn is_inside(path: &str, other: &str) -> bool {
    path.strip_prefix(other)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(paths: &[&str]) -> Result<RestorePaths, (Option<usize>, PathFault)> {
        RestorePaths::parse(paths.iter().map(|&path| path.to_owned()).collect())
            .map_err(|refused| (refused.path, refused.reason))
    }

    #[test]
    fn paths_are_relative_and_none_is_inside_of_another() {
        for paths in [
            &["world"][..],
            &["world", "world2", "worl", "world-old/region"],
            &["a/b", "a/c", "...", "a b/ä"],
        ] {
            let parsed = parse(paths).expect("valid paths");
            assert_eq!(parsed.as_slice(), paths);
        }
        let long_name = "x".repeat(256);
        for (paths, at, fault) in [
            (&[][..], None, PathFault::None),
            (&[""], Some(0), PathFault::EmptyName),
            (&["a", "/etc"], Some(1), PathFault::EmptyName),
            (&["a/"], Some(0), PathFault::EmptyName),
            (&["a//b"], Some(0), PathFault::EmptyName),
            (&["."], Some(0), PathFault::Dots),
            (&["a/../b"], Some(0), PathFault::Dots),
            (&["a/./b"], Some(0), PathFault::Dots),
            (&["a\0"], Some(0), PathFault::Nul),
            (&[long_name.as_str()], Some(0), PathFault::NameTooLong),
            (&["a", "a"], Some(0), PathFault::InsideOther),
            (&["a", "b/c", "b"], Some(1), PathFault::InsideOther),
        ] {
            assert_eq!(parse(paths), Err((at, fault)), "{paths:?}");
        }
    }

    #[test]
    fn the_number_and_the_length_of_paths_are_bounded() {
        let names: Vec<String> = (0..=RESTORE_PATHS_MAX).map(|n| n.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(parse(&names[1..]).is_ok());
        assert_eq!(parse(&names), Err((None, PathFault::TooMany)));
        let long = ["x".repeat(250).as_str(); 66].join("/");
        assert_eq!(parse(&[&long]), Err((None, PathFault::TooLong)));
    }
}
