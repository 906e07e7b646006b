//! The folders that a restore makes beside the directory, or inside it.
//!
//! They belong to the user of the process, and no other user can enter them. That matters inside
//! the server's directory, whose owner can rename them and put something else in their place. So a
//! folder is used through the handle that was opened when it was made, and a folder that this user
//! did not make is never taken for one.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::attributes::stop_inheritance;
use super::layout::{Place, RestoreLayout};
use super::remove::{Remains, remove_contents};
use crate::Error;
use crate::directory::{Identity, open_folder};

/// The name of the staged tree in the staging folder; after an exchange, it is the old tree.
pub(super) const TREE: &[u8] = b"tree";

/// How many names are tried where another folder or file may have the first one.
pub(super) const NAMES_MAX: u32 = 1000;

/// An open folder that this user has made.
pub(super) struct OwnFolder {
    /// Its name in the folder that holds it.
    pub(super) name: Vec<u8>,
    pub(super) handle: OwnedFd,
}

/// A new staging folder. It holds the new tree while that is unpacked.
pub(super) struct Staging {
    pub(super) folder: OwnFolder,
    pub(super) tree: OwnedFd,
}

impl Staging {
    /// Creates the staging folder with an empty tree.
    pub(super) fn create(layout: &RestoreLayout) -> Result<Self, Error> {
        let folder = OwnFolder::create(layout, &layout.staging_name)?;
        let fail = |error: Errno| Error::io("create", &folder.path(layout), error);
        rustix::fs::mkdirat(&folder.handle, TREE, Mode::RWXU).map_err(fail)?;
        let tree = open_folder(folder.handle.as_fd(), TREE).map_err(fail)?;
        Ok(Self { folder, tree })
    }
}

impl OwnFolder {
    /// Creates a folder with this name; inside the directory, with a free name that begins with it.
    pub(super) fn create(layout: &RestoreLayout, base: &[u8]) -> Result<Self, Error> {
        let mut number = 1;
        loop {
            let name = numbered(base, number);
            match make_own_folder(layout, &name) {
                Ok(handle) => return Ok(Self { name, handle }),
                // A file of the server has the name, or its owner has put another folder there.
                Err(Errno::EXIST | Errno::STALE)
                    if layout.place == Place::Inside && number < NAMES_MAX =>
                {
                    number += 1;
                }
                Err(error) => {
                    return Err(Error::io("create", &layout.path_of_staged(&name), error));
                }
            }
        }
    }

    /// Opens the folders of this user with this name; inside the directory, all whose names begin
    /// with it.
    pub(super) fn find(layout: &RestoreLayout, base: &[u8]) -> Result<Vec<Self>, Error> {
        let fail = |error| Error::io("read", &layout.path_of_staged(base), error);
        let names = match layout.place {
            Place::Beside => vec![base.to_vec()],
            Place::Inside => {
                let mut names = names_in(&layout.staging_parent).map_err(fail)?;
                names.retain(|name| is_numbered(base, name));
                names
            }
        };
        let mut found = Vec::new();
        for name in names {
            let handle = match open_folder(layout.staging_parent.as_fd(), &name) {
                Ok(handle) => handle,
                Err(Errno::NOENT) => continue,
                // Inside, it is a file of the server.
                Err(_) if layout.place == Place::Inside => continue,
                Err(error) => return Err(Error::io("open", &layout.path_of_staged(&name), error)),
            };
            let stat = rustix::fs::fstat(&handle).map_err(fail)?;
            if is_ours(layout, &stat) {
                found.push(Self { name, handle });
            }
        }
        Ok(found)
    }

    pub(super) fn path(&self, layout: &RestoreLayout) -> PathBuf {
        layout.path_of_staged(&self.name)
    }

    /// Removes everything in it, and the folder itself if nothing stays.
    pub(super) fn remove(&self, layout: &RestoreLayout) -> Result<Remains, Error> {
        let fail = |error: Errno| Error::io("remove", &self.path(layout), error);
        let handle = rustix::io::dup(&self.handle).map_err(fail)?;
        let remains = remove_contents(handle);
        if remains.is_empty() && self.is_in_place(layout) {
            let name = self.name.as_slice();
            match rustix::fs::unlinkat(&layout.staging_parent, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(fail(error)),
            }
        }
        Ok(remains)
    }

    /// Returns whether the name still leads to this folder.
    pub(super) fn is_in_place(&self, layout: &RestoreLayout) -> bool {
        let name = self.name.as_slice();
        let there = rustix::fs::statat(&layout.staging_parent, name, AtFlags::SYMLINK_NOFOLLOW);
        let opened = rustix::fs::fstat(&self.handle);
        there.is_ok_and(|there| {
            opened.is_ok_and(|opened| Identity::from(&there) == Identity::from(&opened))
        })
    }
}

/// Creates and opens a folder that other users cannot enter.
fn make_own_folder(layout: &RestoreLayout, name: &[u8]) -> Result<OwnedFd, Errno> {
    rustix::fs::mkdirat(&layout.staging_parent, name, Mode::RWXU)?;
    let handle = match open_folder(layout.staging_parent.as_fd(), name) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(Errno::STALE),
        other => other?,
    };
    let stat = rustix::fs::fstat(&handle)?;
    if layout.place == Place::Inside && (!is_ours(layout, &stat) || !names_in(&handle)?.is_empty())
    {
        return Err(Errno::STALE);
    }
    // The directory's default ACL would give other users access.
    for attribute in ["system.posix_acl_default", "system.posix_acl_access"] {
        let _ = rustix::fs::fremovexattr(&handle, attribute);
    }
    if stat.st_mode & 0o7000 != 0 {
        // A folder in one with the setgid bit has it, too, and passes it on.
        rustix::fs::fchmod(&handle, Mode::RWXU)?;
    }
    stop_inheritance(handle.as_fd())?;
    Ok(handle)
}

/// Returns the names in a folder.
pub(super) fn names_in(folder: impl AsFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    let mut listing = Dir::read_from(folder)?;
    while let Some(entry) = listing.read() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Returns the name for a number: `NAME`, `NAME.2`, `NAME.3`.
pub(super) fn numbered(base: &[u8], number: u32) -> Vec<u8> {
    match number {
        1 => base.to_vec(),
        _ => [base, format!(".{number}").as_bytes()].concat(),
    }
}

pub(super) fn is_numbered(base: &[u8], name: &[u8]) -> bool {
    name.strip_prefix(base)
        .is_some_and(|rest| match rest.split_first() {
            None => true,
            Some((b'.', number)) => !number.is_empty() && number.iter().all(u8::is_ascii_digit),
            Some(_) => false,
        })
}

/// Returns whether this user has made a folder.
///
/// Beside the directory, only a user who controls the directory too could make one.
fn is_ours(layout: &RestoreLayout, stat: &Stat) -> bool {
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return false;
    }
    if layout.place == Place::Beside {
        return true;
    }
    let own = rustix::process::geteuid().as_raw();
    let is_closed = stat.st_uid == own && stat.st_mode & 0o077 == 0;
    // Network file systems may show another owner or mode than was set.
    is_closed
        || (!keeps_attributes(layout, own)
            && attributes_of_new_folder(layout) == Some(attributes(stat)))
}

/// Returns whether the file system keeps owner and mode. A file without a name tells that, because
/// nobody can put another one in its place.
pub(super) fn keeps_attributes(layout: &RestoreLayout, own: u32) -> bool {
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&layout.staging_parent, ".", flags, Mode::RUSR | Mode::WUSR);
    let stat = file.and_then(|file| rustix::fs::fstat(&file));
    stat.is_ok_and(|stat| attributes(&stat) == (own, 0o600))
}

/// Returns the owner and the mode that the file system gives to a new folder.
fn attributes_of_new_folder(layout: &RestoreLayout) -> Option<(u32, u32)> {
    let name = [layout.staging_name.as_slice(), b"-probe"].concat();
    let (parent, name) = (&layout.staging_parent, name.as_slice());
    rustix::fs::mkdirat(parent, name, Mode::RWXU).ok()?;
    let made = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
    let removed = rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR);
    removed.and(made).ok().map(|stat| attributes(&stat))
}

/// Returns owner and permissions.
fn attributes(stat: &Stat) -> (u32, u32) {
    (stat.st_uid, stat.st_mode & 0o777)
}
