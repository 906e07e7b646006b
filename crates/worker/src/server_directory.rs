//! Resolves the links in the path of a server's directory, and checks the result against the
//! settings.
//!
//! The API checks the path only by name, since it may run on another machine. Every read or write
//! in a server's directory must use a path from this module.

use std::io;
use std::path::{Path, PathBuf};

use holdfast_domain::error_chain::chain;
use holdfast_domain::server_directory::DirectoryRefused;
use holdfast_domain::{DirectoryRules, DirectorySetBy, Server};

use crate::context::Context;
use crate::outcome::{FailureReason, JobError};

/// Why a server's directory can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    /// The settings do not allow it.
    #[error("the server's directory `{}` {refused}", directory.display())]
    Refused {
        /// The path with its links resolved.
        directory: PathBuf,
        /// The rule that it breaks.
        refused: DirectoryRefused,
    },
    /// Its links can't be resolved.
    #[error("the server's directory `{}` can't be resolved", directory.display())]
    Unresolved {
        /// The path as registered.
        directory: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// Returns the directory to work with. If the settings restrict directories, the result has no
/// links and is in an allowed place. Otherwise the path is returned as registered.
pub(crate) fn resolve(
    rules: &DirectoryRules,
    directory: &Path,
    set_by: DirectorySetBy,
) -> Result<PathBuf, DirectoryError> {
    if rules.allows_any_root(set_by) {
        return Ok(directory.to_owned());
    }
    let real = real_path(directory).map_err(|source| DirectoryError::Unresolved {
        directory: directory.to_owned(),
        source,
    })?;
    // A folder from the settings that does not exist can only be compared by name.
    let without_links =
        |folder: &PathBuf| fs_err::canonicalize(folder).unwrap_or_else(|_| folder.clone());
    let real_rules = DirectoryRules {
        roots: rules.roots.iter().map(without_links).collect(),
        disks: rules
            .disks
            .iter()
            .map(|(name, folder)| (name.clone(), without_links(folder)))
            .collect(),
        wings_data: rules.wings_data.as_ref().map(without_links),
    };
    match real_rules.check(&real, set_by) {
        Ok(()) => Ok(real),
        Err(refused) => Err(DirectoryError::Refused {
            directory: real,
            refused,
        }),
    }
}

/// Resolves links. The directory itself may be missing: a restore creates it, and a backup reports
/// it.
fn real_path(directory: &Path) -> io::Result<PathBuf> {
    match fs_err::canonicalize(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if fs_err::symlink_metadata(directory).is_ok() {
                // A dangling link: its target has not been checked.
                return Err(error);
            }
            let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else {
                return Err(error);
            };
            match fs_err::canonicalize(parent) {
                Ok(parent) => Ok(parent.join(name)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(directory.to_owned()),
                Err(error) => Err(error),
            }
        }
        other => other,
    }
}

/// Resolves the directory of a job's server on a blocking thread.
pub(crate) async fn resolve_for_job(
    context: &Context,
    server: &Server,
) -> Result<PathBuf, JobError> {
    let rules = context.options.directory_rules.clone();
    let (directory, set_by) = (server.directory.clone(), server.directory_set_by);
    tokio::task::spawn_blocking(move || resolve(&rules, &directory, set_by))
        .await
        .map_err(|error| JobError::panicked(&error))?
        .map_err(|error| {
            let detail = chain(&error);
            match error {
                DirectoryError::Refused { .. } => JobError::permanent(
                    "The server's directory is outside the folders that its node allows. \
                     Nothing was read or changed.",
                    detail,
                )
                .with_reason(FailureReason::DirectoryNotAllowed),
                DirectoryError::Unresolved { .. } => {
                    JobError::retryable("The server's directory could not be resolved.", detail)
                        .with_reason(FailureReason::SourceUnreadable)
                }
            }
        })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_resolved_before_roots_are_checked() {
        let folder = tempfile::tempdir().expect("a folder");
        let base = fs_err::canonicalize(folder.path()).expect("a path");
        for name in ["roots/inside", "outside"] {
            fs_err::create_dir_all(base.join(name)).expect("a folder");
        }
        symlink("../outside", base.join("roots/out")).expect("a link");
        symlink("inside", base.join("roots/in")).expect("a link");
        symlink("/nowhere/at/all", base.join("roots/dangling")).expect("a link");
        symlink("roots", base.join("alias")).expect("a link");
        let rules = |root: &str| DirectoryRules {
            roots: vec![base.join(root)],
            ..DirectoryRules::default()
        };
        for (root, directory, expected) in [
            ("roots", "roots/inside", Some("roots/inside")),
            ("roots", "roots/in", Some("roots/inside")),
            ("alias", "alias/inside", Some("roots/inside")),
            ("roots", "roots/missing", Some("roots/missing")),
            ("roots", "roots/out", None),
            ("roots", "roots/out/missing", None),
            ("roots", "roots/dangling", None),
            ("roots", "outside", None),
            ("roots", "alias", None),
        ] {
            for set_by in [DirectorySetBy::Admin, DirectorySetBy::Application] {
                let found = resolve(&rules(root), &base.join(directory), set_by).ok();
                assert_eq!(found, expected.map(|name| base.join(name)), "{directory}");
            }
        }
    }

    #[test]
    fn without_roots_only_an_administrator_may_choose_a_directory() {
        let rules = DirectoryRules::default();
        let etc = Path::new("/etc");
        assert!(resolve(&rules, etc, DirectorySetBy::Admin).is_ok());
        assert!(resolve(&rules, etc, DirectorySetBy::Application).is_err());
    }
}
