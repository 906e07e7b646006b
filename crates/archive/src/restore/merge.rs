//! Keeps files that are not in the archive (`truncate: false`): hard-links them into the staged
//! tree.
//!
//! The restore then needs the same single swap as a full one, and changes nothing of the server
//! before it. A file that both trees have comes from the archive, and so do the attributes of
//! folders. An entry of another kind than the archive's is kept under a new name.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, Stat};
use rustix::io::Errno;

use super::children::{OwnEntries, own_entries};
use super::copy::Copier;
use super::layout::RestoreLayout;
use super::staging::{Staging, names_in};
use super::ways::{find_way, kind_of, open_staged, staged_parent};
use crate::directory::{FolderStack, Identity, open_folder};
use crate::error::lossy;
use crate::summary::Notes;
use crate::{Control, Error};

/// What is added to the name of an entry that the archive displaces.
const DISPLACED: &str = ".before-restore";
/// How often an entry that changes meanwhile is looked at.
const LOOKS_MAX: u32 = 10;
/// The longest name, in bytes.
const MAX_NAME: usize = 255;

/// A folder of the server, whose entries are linked into the same folder of the staged tree.
struct FolderPair {
    names: Vec<Vec<u8>>,
    /// The attributes of the staged folder, which are set again at the end.
    staged: Stat,
}

/// Links all entries of the destination that the staged tree does not have into it.
pub(super) fn keep_others(
    layout: &RestoreLayout,
    staging: &Staging,
    control: &Control,
    notes: &mut Notes,
) -> Result<(), Error> {
    let fail = |error| Error::io("read", &layout.destination, error);
    let present = open_folder(layout.target.as_fd(), b".").map_err(fail)?;
    let staged = rustix::io::dup(&staging.tree).map_err(fail)?;
    keep(layout, staging, &[], (present, staged), control, notes)
}

/// The same as [`keep_others`], for a folder that both trees have at this path. Does nothing if one
/// of them does not.
pub(super) fn keep_others_below(
    layout: &RestoreLayout,
    staging: &Staging,
    path: &[Vec<u8>],
    control: &Control,
    notes: &mut Notes,
) -> Result<(), Error> {
    let fail = |error| Error::io("read", &layout.destination, error);
    let Some(name) = path.last() else {
        return Ok(());
    };
    let way = find_way(layout, path)?;
    let to = staged_parent(&staging.tree, path).map_err(fail)?;
    let staged = kind_of(to.as_fd(), name).map_err(fail)?;
    if way.present != Some(FileType::Directory) || staged != way.present {
        return Ok(());
    }
    let present = open_folder(way.folder.as_fd(), name).map_err(fail)?;
    let staged = open_staged(to.as_fd(), name).map_err(fail)?;
    keep(layout, staging, path, (present, staged), control, notes)
}

/// Merges two folders at this path.
fn keep(
    layout: &RestoreLayout,
    staging: &Staging,
    path: &[Vec<u8>],
    (present, staged): (OwnedFd, OwnedFd),
    control: &Control,
    notes: &mut Notes,
) -> Result<(), Error> {
    let own = own_entries(layout, staging.folder.handle.as_fd())?;
    let mut merge = Merge {
        control,
        notes,
        own: &own,
        copier: Copier::new(&staging.tree, control),
        path: path.to_vec(),
    };
    merge.run(present, staged).map_err(|error| match error {
        Errno::CANCELED => Error::Cancelled,
        error => {
            let below = lossy(&merge.path.join(&b'/'));
            Error::io("keep", &layout.destination.join(below), error)
        }
    })
}

struct Merge<'a> {
    control: &'a Control,
    notes: &'a mut Notes,
    own: &'a OwnEntries,
    copier: Copier<'a>,
    /// The names from the root of the staged tree to the current entry.
    path: Vec<Vec<u8>>,
}

impl Merge<'_> {
    fn run(&mut self, present: OwnedFd, staged: OwnedFd) -> Result<(), Errno> {
        let mut pairs = vec![folder_pair(present.as_fd(), staged.as_fd())?];
        if self.path.is_empty() {
            let own = self.own;
            pairs[0]
                .names
                .retain(|name| !own.contain(present.as_fd(), name));
        }
        let mut from = FolderStack::new(present)?;
        let mut to = FolderStack::new(staged)?;
        while let Some(current) = pairs.last_mut() {
            if self.control.is_cancelled() {
                return Err(Errno::CANCELED);
            }
            let Some(name) = current.names.pop() else {
                let Some(done) = pairs.pop() else { break };
                self.copier
                    .set_attributes(to.current()?.as_fd(), &done.staged)?;
                if pairs.is_empty() {
                    break;
                }
                self.path.pop();
                from.pop()?;
                to.pop()?;
                continue;
            };
            self.path.push(name);
            let kept = self.keep_entry(from.current()?.as_fd(), to.current()?.as_fd())?;
            if let Some((below_from, below_to)) = kept {
                let next = folder_pair(below_from.as_fd(), below_to.as_fd())?;
                let identity = Identity::from(&rustix::fs::fstat(&below_from)?);
                from.push(below_from, identity);
                to.push(below_to, Identity::from(&next.staged));
                pairs.push(next);
            } else {
                self.path.pop();
            }
        }
        Ok(())
    }

    /// Keeps the entry at the current path. Returns a folder, which the caller must merge. Looks
    /// again if the server's owner removes or replaces the entry meanwhile.
    fn keep_entry(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
    ) -> Result<Option<(OwnedFd, OwnedFd)>, Errno> {
        let name = self.path.last().cloned().unwrap_or_default();
        let mut looks = 0;
        loop {
            looks += 1;
            match self.try_to_keep(from, to, &name) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::STALE)
                    if looks < LOOKS_MAX =>
                {
                    if let Some(last) = self.path.last_mut() {
                        last.clone_from(&name);
                    }
                }
                other => return other,
            }
        }
    }

    fn try_to_keep(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &[u8],
    ) -> Result<Option<(OwnedFd, OwnedFd)>, Errno> {
        let present = match kind_of(from, name)? {
            Some(present) => present,
            // The server's owner has removed it meanwhile.
            None => return Ok(None),
        };
        let mut new_name = name.to_vec();
        match kind_of(to, name)? {
            Some(FileType::Directory) if present == FileType::Directory => {
                let Some(below_from) = self.open_kept(from, name)? else {
                    return Ok(None);
                };
                return Ok(Some((below_from, open_staged(to, name)?)));
            }
            Some(staged) if staged == present => return Ok(None),
            Some(staged) => {
                if present == FileType::Directory && names_in(open_folder(from, name)?)?.is_empty()
                {
                    return Ok(None);
                }
                new_name = displaced_name(from, to, name)?;
                if let Some(last) = self.path.last_mut() {
                    last.clone_from(&new_name);
                }
                let reason = format!(
                    "this {} was `{}`, and the backup has a {} of that name",
                    kind_name(present),
                    lossy(name),
                    kind_name(staged)
                );
                self.notes.add(&self.path.join(&b'/'), reason);
            }
            None => {}
        }
        if present != FileType::Directory {
            let path = &self.path;
            self.copier
                .link_or_copy((from, name), (to, &new_name), path, self.notes)?;
            return Ok(None);
        }
        let Some(below_from) = self.open_kept(from, name)? else {
            return Ok(None);
        };
        rustix::fs::mkdirat(to, new_name.as_slice(), Mode::RWXU)?;
        let below_to = open_folder(to, &new_name)?;
        self.copier.copy_attributes(
            below_from.as_fd(),
            below_to.as_fd(),
            &self.path,
            self.notes,
        )?;
        Ok(Some((below_from, below_to)))
    }

    /// Opens a folder whose entries are kept; `None` if it is the staging folder, which the
    /// server's owner can move to any place. Its tree would otherwise be linked into itself.
    fn open_kept(&self, from: BorrowedFd<'_>, name: &[u8]) -> Result<Option<OwnedFd>, Errno> {
        let folder = open_folder(from, name)?;
        let stat = rustix::fs::fstat(&folder)?;
        Ok((!self.own.is_staging(&stat)).then_some(folder))
    }
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "folder",
        FileType::RegularFile => "file",
        FileType::Symlink => "link",
        _ => "special file",
    }
}

/// Returns a name that neither the server nor the archive uses: `NAME.before-restore`,
/// `NAME.before-restore.2` and so on.
fn displaced_name(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut number = 1_u32;
    loop {
        let end = match number {
            1 => DISPLACED.to_owned(),
            _ => format!("{DISPLACED}.{number}"),
        };
        // A character is never cut in half.
        let mut length = name.len().min(MAX_NAME - end.len());
        while length < name.len() && length > 0 && name[length] & 0xc0 == 0x80 {
            length -= 1;
        }
        let new_name = [&name[..length], end.as_bytes()].concat();
        if kind_of(from, &new_name)?.is_none() && kind_of(to, &new_name)?.is_none() {
            return Ok(new_name);
        }
        number = number.checked_add(1).ok_or(Errno::EXIST)?;
    }
}

/// Lists a folder of the server, and makes the staged folder writable.
fn folder_pair(present: BorrowedFd<'_>, staged: BorrowedFd<'_>) -> Result<FolderPair, Errno> {
    let stat = rustix::fs::fstat(staged)?;
    if stat.st_mode & 0o700 != 0o700 {
        rustix::fs::fchmod(staged, Mode::RWXU)?;
    }
    Ok(FolderPair {
        names: names_in(present)?,
        staged: stat,
    })
}
