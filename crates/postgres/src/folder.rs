//! The folder of a cluster and the way to it: made, owned, passable for whoever Postgres runs as.
//!
//! `DIRECTORY` holds `data` (the cluster proper), the socket, `owner.lock` and `postgres.log`.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::account::{Account, is_home};

/// Half-made clusters are called this, with the number of the process that makes them behind it.
pub(crate) const UNFINISHED: &str = "data.new-";

/// Makes `directory` and the folders above it as far as they are missing, private to `account`.
/// Nothing is made when the account could not pass through to it, or to the `binaries`.
///
/// # Errors
/// [`Error::NotACluster`], [`Error::Impassable`], or what the operating system says.
pub(crate) fn prepare(directory: &Path, binaries: &Path, account: &Account) -> Result<(), Error> {
    refuse_others(directory)?;
    let parents: Vec<PathBuf> = directory.ancestors().skip(1).map(Path::to_owned).collect();
    let (there, missing): (Vec<_>, Vec<_>) =
        parents.into_iter().rev().partition(|path| path.exists());
    open_the_way(&there, account)?;
    let way_to_binaries: Vec<_> = binaries.ancestors().map(Path::to_owned).collect();
    pass(
        &way_to_binaries.into_iter().rev().collect::<Vec<_>>(),
        account,
    )?;
    for folder in missing {
        fs_err::create_dir(&folder)?;
        let mode = if account.differs() { 0o711 } else { 0o700 };
        set_mode(&folder, mode)?;
    }
    if !directory.exists() {
        fs_err::create_dir(directory)?;
    }
    set_mode(directory, 0o700)?;
    account.own(directory)
}

/// Removes what a process that was killed while making a cluster left behind. The caller holds the
/// cluster.
///
/// # Errors
/// What the operating system says.
pub(crate) fn clear_unfinished(directory: &Path) -> Result<(), Error> {
    for entry in fs_err::read_dir(directory)? {
        let entry = entry?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(UNFINISHED.as_bytes())
        {
            fs_err::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Gives a cluster that root copied or unpacked back to the account, with the log and all else in
/// its folder, and closes it to others.
///
/// # Errors
/// What the operating system says.
pub(crate) fn adopt(directory: &Path, data: &Path, account: &Account) -> Result<(), Error> {
    let metadata = fs_err::metadata(data)?;
    if account.differs() && metadata.uid() == 0 {
        account.own_tree(directory)?;
    }
    // Postgres refuses a folder that others may write to or list.
    if !matches!(metadata.permissions().mode() & 0o7777, 0o700 | 0o750) {
        set_mode(data, 0o700)?;
    }
    Ok(())
}

/// Reads which major version made the cluster in `data`, if there is one.
pub(crate) fn major_of(data: &Path) -> Option<u32> {
    let text = fs_err::read_to_string(data.join("PG_VERSION")).ok()?;
    text.trim().parse().ok()
}

/// A folder of something else must not be closed and given to another user.
fn refuse_others(directory: &Path) -> Result<(), Error> {
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

/// Lets the account through the folders from `/` on; only the last one, `DATA`, is ours to open.
fn open_the_way(folders: &[PathBuf], account: &Account) -> Result<(), Error> {
    let Some(closed) = account.first_closed(folders)? else {
        return Ok(());
    };
    let metadata = fs_err::metadata(&closed)?;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if folders.last() == Some(&closed) && account.differs() && ours && !is_home(&closed) {
        set_mode(&closed, metadata.permissions().mode() & 0o7777 | 0o001)?;
    }
    pass(folders, account)
}

fn pass(folders: &[PathBuf], account: &Account) -> Result<(), Error> {
    match account.first_closed(folders)? {
        Some(folder) => Err(Error::Impassable {
            folder,
            account: account.name.clone(),
        }),
        None => Ok(()),
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Error> {
    Ok(fs_err::set_permissions(
        path,
        std::fs::Permissions::from_mode(mode),
    )?)
}
