//! Where a server's directory truly is: links resolved, and the rules of the settings asked once more.
//!
//! The API goes by names, since it may run on another machine. Nothing may be
//! read from or written to a server's directory before it was asked for here.

use std::io;
use std::path::{Path, PathBuf};

use holdfast_domain::server_directory::DirectoryRefused;
use holdfast_domain::{DirectoryRules, DirectorySetBy, Server};

use crate::context::Context;
use crate::outcome::{NotDone, Reason};

/// Why a server's directory is left alone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Misplaced {
    /// The settings don't allow it.
    #[error("the server's directory `{}` {refused}", directory.display())]
    Refused {
        /// Without links.
        directory: PathBuf,
        /// Why not.
        refused: DirectoryRefused,
    },
    /// It can't be found out.
    #[error("the server's directory `{}` can't be resolved", directory.display())]
    Unresolved {
        /// As it was registered.
        directory: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

/// Returns the directory to work with. Where the settings say something about places it is free of
/// links and lies where it may; elsewhere it is as it was registered.
pub(crate) fn resolve(
    rules: &DirectoryRules,
    directory: &Path,
    placed_by: DirectorySetBy,
) -> Result<PathBuf, Misplaced> {
    if rules.allows_any_root(placed_by) {
        return Ok(directory.to_owned());
    }
    let real = real_path(directory).map_err(|source| Misplaced::Unresolved {
        directory: directory.to_owned(),
        source,
    })?;
    // A folder of the settings that is not there can't be compared by more than its name.
    let without_links =
        |folder: &PathBuf| fs_err::canonicalize(folder).unwrap_or_else(|_| folder.clone());
    let real_rules = DirectoryRules {
        roots: rules.roots.iter().map(without_links).collect(),
        disks: rules
            .disks
            .iter()
            .map(|(name, folder)| (name.clone(), without_links(folder)))
            .collect(),
    };
    match real_rules.check(&real, placed_by) {
        Ok(()) => Ok(real),
        Err(refused) => Err(Misplaced::Refused {
            directory: real,
            refused,
        }),
    }
}

/// Resolves links. The directory itself need not be there: a restore may make it, and a backup says
/// in its own words that it is missing.
fn real_path(directory: &Path) -> io::Result<PathBuf> {
    match fs_err::canonicalize(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if fs_err::symlink_metadata(directory).is_ok() {
                // A link to nowhere: where it would lead, nobody has checked.
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

/// Does so for a job, off the runtime.
pub(crate) async fn of_server(context: &Context, server: &Server) -> Result<PathBuf, NotDone> {
    let rules = context.options.places.clone();
    let (directory, placed_by) = (server.directory.clone(), server.directory_set_by);
    tokio::task::spawn_blocking(move || resolve(&rules, &directory, placed_by))
        .await
        .map_err(|error| NotDone::panicked(&error))?
        .map_err(|misplaced| {
            let detail = holdfast_domain::error_chain::chain(&misplaced);
            match misplaced {
                Misplaced::Refused { .. } => NotDone::terminal(
                    "The server's directory does not lie where its node allows servers to be. \
                     Nothing was read or changed.",
                    detail,
                )
                .because(Reason::Misplaced),
                Misplaced::Unresolved { .. } => {
                    NotDone::retry("The server's directory could not be found out.", detail)
                        .because(Reason::SourceUnreadable)
                }
            }
        })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_resolved_before_roots_are_asked() {
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
            for placed_by in [DirectorySetBy::Admin, DirectorySetBy::Application] {
                let found = resolve(&rules(root), &base.join(directory), placed_by).ok();
                assert_eq!(found, expected.map(|name| base.join(name)), "{directory}");
            }
        }
    }

    #[test]
    fn without_roots_only_somebody_on_the_machine_places_servers() {
        let rules = DirectoryRules::default();
        let etc = Path::new("/etc");
        assert!(resolve(&rules, etc, DirectorySetBy::Admin).is_ok());
        assert!(resolve(&rules, etc, DirectorySetBy::Application).is_err());
    }
}
