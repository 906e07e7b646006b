//! The folder of a cluster: creates it, and makes it accessible to the user that Postgres runs as.
//!
//! It contains `data` (the cluster itself), the socket, `owner.lock` and `postgres.log`.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::Error;
use crate::error::context;
use crate::user::{ClusterUser, is_home};

/// The prefix of the name of a cluster that is being created. The ID of the process follows.
pub(crate) const UNFINISHED_PREFIX: &str = "data.new-";

/// Creates `directory`, private to `user`, and its missing parents.
///
/// Creates nothing if the user has no access to the existing parents or to the `binaries`.
///
/// # Errors
/// [`Error::NotACluster`], [`Error::Inaccessible`], or an error of the operating system.
pub(crate) fn prepare(directory: &Path, binaries: &Path, user: &ClusterUser) -> Result<(), Error> {
    check_is_cluster(directory)?;
    let parents: Vec<PathBuf> = directory.ancestors().skip(1).map(Path::to_owned).collect();
    let (existing, missing): (Vec<_>, Vec<_>) =
        parents.into_iter().rev().partition(|path| path.exists());
    make_accessible(&existing, user)?;
    let binaries_path: Vec<_> = binaries.ancestors().map(Path::to_owned).collect();
    check_access(&binaries_path.into_iter().rev().collect::<Vec<_>>(), user)?;
    for folder in missing {
        create_private(&folder)?;
        let mode = if user.differs() { 0o711 } else { 0o700 };
        set_mode(&folder, mode)?;
    }
    if !directory.exists() {
        create_private(directory)?;
    }
    let changed = set_mode(directory, 0o700).and_then(|()| user.chown(directory));
    let metadata = fs_err::metadata(directory)?;
    let (uid, mode) = (metadata.uid(), metadata.permissions().mode() & 0o7777);
    // Some file systems refuse a change, others ignore it.
    if mode == 0o700 && uid == user.uid() {
        return changed;
    }
    Err(Error::NoModes {
        directory: directory.into(),
    })
}

/// Makes the names in a folder durable, if its file system supports that.
///
/// # Errors
/// An error of the operating system.
pub(crate) fn sync(folder: &Path) -> Result<(), Error> {
    match rustix::fs::fsync(fs_err::File::open(folder)?) {
        Ok(())
        | Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::BADF | Errno::ISDIR) => {
            Ok(())
        }
        Err(error) => Err(context(
            &error.into(),
            format_args!("cannot sync folder {}", folder.display()),
        )
        .into()),
    }
}

/// Removes unfinished clusters of processes that were killed. The caller must hold the owner lock.
///
/// # Errors
/// An error of the operating system.
pub(crate) fn clear_unfinished(directory: &Path) -> Result<(), Error> {
    for entry in fs_err::read_dir(directory)? {
        let entry = entry?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(UNFINISHED_PREFIX.as_bytes())
        {
            fs_err::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Repairs the owner and mode of a cluster that root copied or unpacked.
///
/// # Errors
/// An error of the operating system.
pub(crate) fn repair_owner(directory: &Path, data: &Path, user: &ClusterUser) -> Result<(), Error> {
    let metadata = fs_err::metadata(data)?;
    if user.differs() && metadata.uid() == 0 {
        user.chown_tree(directory)?;
    }
    // Postgres refuses a folder with permissions for others.
    if !matches!(metadata.permissions().mode() & 0o7777, 0o700 | 0o750) {
        set_mode(data, 0o700)?;
    }
    Ok(())
}

/// Returns the major version that created the cluster in `data`, if there is one.
pub(crate) fn major_of(data: &Path) -> Option<u32> {
    let text = fs_err::read_to_string(data.join("PG_VERSION")).ok()?;
    text.trim().parse().ok()
}

/// Checks that a folder is empty or contains a cluster. The owner and mode of a folder with other
/// files must not be changed.
fn check_is_cluster(directory: &Path) -> Result<(), Error> {
    if !directory.exists()
        || directory.join("owner.lock").exists()
        || directory.join("data").exists()
    {
        return Ok(());
    }
    match fs_err::read_dir(directory)?.next() {
        Some(_) => Err(Error::NotACluster {
            directory: directory.into(),
        }),
        None => Ok(()),
    }
}

/// Checks that the user has access to the folders from `/` on. Gives access to the last one, the
/// data folder, if it lacks it.
fn make_accessible(folders: &[PathBuf], user: &ClusterUser) -> Result<(), Error> {
    let Some(closed) = user.first_inaccessible(folders)? else {
        return Ok(());
    };
    let metadata = fs_err::metadata(&closed)?;
    let is_own = metadata.uid() == rustix::process::geteuid().as_raw();
    if folders.last() == Some(&closed) && user.differs() && is_own && !is_home(&closed) {
        set_mode(&closed, metadata.permissions().mode() & 0o7777 | 0o001)?;
    }
    check_access(folders, user)
}

fn check_access(folders: &[PathBuf], user: &ClusterUser) -> Result<(), Error> {
    match user.first_inaccessible(folders)? {
        Some(folder) => Err(Error::Inaccessible {
            folder,
            user: user.name.clone(),
        }),
        None => Ok(()),
    }
}

/// Creates a folder that is never open to other users, whatever the umask.
fn create_private(folder: &Path) -> Result<(), Error> {
    let created = std::fs::DirBuilder::new().mode(0o700).create(folder);
    Ok(created.map_err(|error| {
        context(
            &error,
            format_args!("cannot create folder {}", folder.display()),
        )
    })?)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Error> {
    Ok(fs_err::set_permissions(
        path,
        std::fs::Permissions::from_mode(mode),
    )?)
}
