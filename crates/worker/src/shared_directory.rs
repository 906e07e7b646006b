//! Refuses a job whose server shares its files with another server of the node.
//!
//! The database compares only paths. A symbolic link or a bind mount can lead two paths to one
//! folder, and a restore of one server would then replace the files of the other. So the worker
//! compares device and inode before each job.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_db::servers;
use holdfast_domain::ServerId;

use crate::context::Context;
use crate::outcome::{FailureReason, JobError};

/// How many servers one query reads.
const SERVERS_PER_PAGE: u32 = 500;

/// Identifies a folder on this machine.
type Identity = (u64, u64);

/// How long a job waits for the comparison. A directory on a file system that hangs must not stop
/// the jobs of other servers.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Refuses `directory` if it is also the directory of another server, or one lies in the other.
pub(crate) async fn refuse_shared(
    context: &Context,
    server: ServerId,
    directory: &Path,
) -> Result<(), JobError> {
    match tokio::time::timeout(TIMEOUT, find_shared(context, server, directory)).await {
        Ok(Ok(None)) => Ok(()),
        Ok(Ok(Some((other, directory)))) => {
            let detail = format!(
                "server {other} has the same directory, or one lies in the other: `{}`",
                directory.display()
            );
            Err(JobError::permanent(
                "The server's directory is also used by another server. Nothing was read or \
                 changed.",
                detail,
            )
            .with_reason(FailureReason::DirectoryNotAllowed))
        }
        Ok(Err(error)) => Err(error),
        Err(_) => {
            tracing::warn!(
                %server,
                "the directories of the node's servers could not be compared in time",
            );
            Ok(())
        }
    }
}

async fn find_shared(
    context: &Context,
    server: ServerId,
    directory: &Path,
) -> Result<Option<(ServerId, PathBuf)>, JobError> {
    let directory = directory.to_owned();
    let own = blocking(context, move || Places::default().find(&directory)).await?;
    let own = own.map_err(|error| {
        let sentence = "The server's directory could not be resolved.";
        JobError::retryable(sentence, error.to_string())
            .with_reason(FailureReason::SourceUnreadable)
    })?;
    let mut after: Option<PathBuf> = None;
    loop {
        let node = &context.options.node;
        let page = servers::on_node(&context.database, node, after.as_deref(), SERVERS_PER_PAGE);
        let page = page.await.map_err(|error| JobError::database(&error))?;
        let Some((_, last, _)) = page.last() else {
            return Ok(None);
        };
        after = Some(last.clone());
        let others = page
            .into_iter()
            .filter(|(other, ..)| *other != server)
            .map(|(other, directory, _)| (other, directory))
            .collect();
        let own = own.clone();
        let found = blocking(context, move || sharing(&own, others)).await?;
        if found.is_some() {
            return Ok(found);
        }
    }
}

/// Runs `work` on a blocking thread, if few others run.
async fn blocking<T: Send + 'static>(
    context: &Context,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JobError> {
    let permit = Arc::clone(&context.directory_checks.0)
        .acquire_owned()
        .await;
    let permit = permit.map_err(|error| {
        JobError::retryable("An unexpected error was encountered.", error.to_string())
    })?;
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    done.await.map_err(|error| JobError::panicked(&error))
}

/// Returns the first server whose directory is `own`, contains it or lies in it.
fn sharing(own: &Place, others: Vec<(ServerId, PathBuf)>) -> Option<(ServerId, PathBuf)> {
    let mut places = Places::default();
    others.into_iter().find(|(_, other)| {
        // A directory that cannot be read has no files that a restore could replace.
        places.find(other).is_ok_and(|other| own.overlaps(&other))
    })
}

/// A folder, by what identifies it and the folders around it.
#[derive(Clone, Debug, Default)]
struct Place {
    /// `None` if it does not exist.
    folder: Option<Identity>,
    around: HashSet<Identity>,
}

impl Place {
    fn overlaps(&self, other: &Self) -> bool {
        let contains = |place: &Self, folder: Option<Identity>| {
            folder.is_some_and(|folder| {
                place.folder == Some(folder) || place.around.contains(&folder)
            })
        };
        contains(self, other.folder) || contains(other, self.folder)
    }
}

/// Finds places. Folders of many servers have the same parents, which are read once.
#[derive(Default)]
struct Places {
    known: HashMap<PathBuf, Identity>,
}

impl Places {
    fn find(&mut self, folder: &Path) -> io::Result<Place> {
        let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let mut place = Place::default();
        let real = match fs_err::canonicalize(folder) {
            Ok(real) => {
                place.folder = Some(self.identity(&real)?);
                real.parent().map(Path::to_owned)
            }
            Err(error) if is_missing(&error) => match folder.parent().map(fs_err::canonicalize) {
                Some(Ok(parent)) => Some(parent),
                // No part of it exists, so it is part of nothing.
                Some(Err(error)) if is_missing(&error) => None,
                Some(Err(error)) => return Err(error),
                None => None,
            },
            Err(error) => return Err(error),
        };
        for path in real.iter().flat_map(|real| real.ancestors()) {
            let identity = self.identity(path)?;
            place.around.insert(identity);
        }
        Ok(place)
    }

    fn identity(&mut self, path: &Path) -> io::Result<Identity> {
        if let Some(&known) = self.known.get(path) {
            return Ok(known);
        }
        let metadata = fs_err::metadata(path)?;
        let identity = (metadata.dev(), metadata.ino());
        self.known.insert(path.to_owned(), identity);
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_is_shared_if_links_lead_to_it_around_it_or_into_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["real/inside", "other", "mounted"] {
            fs_err::create_dir_all(path(name)).expect("a folder");
        }
        symlink("real", path("alias")).expect("a link");
        symlink("real/inside", path("deep")).expect("a link");
        symlink("nowhere", path("dangling")).expect("a link");
        let shares = |own: &str, other: &str| {
            let own = Places::default().find(&path(own)).expect("a place");
            let server = ServerId(uuid::Uuid::nil());
            sharing(&own, vec![(server, path(other))]).is_some()
        };
        for (own, other, expected) in [
            ("real", "alias", true),
            ("alias", "real", true),
            ("real", "deep", true),
            ("deep", "alias", true),
            ("alias/missing", "real", true),
            ("real", "alias/missing", true),
            ("real", "other", false),
            ("real", "missing", false),
            ("missing", "missing2", false),
            ("missing/deeper", "real", false),
            ("real", "dangling", false),
        ] {
            assert_eq!(shares(own, other), expected, "{own} and {other}");
        }
    }
}
