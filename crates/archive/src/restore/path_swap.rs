//! Puts single restored files and folders into place, and takes them back.
//!
//! Each is one rename: an exchange with what is there, or a move to a free name. A missing folder
//! above it is moved with it. A marker in the staging folder names them all. While it exists,
//! recovery moves everything back that was moved. Where the file system has no exchange, the old
//! file or folder is moved out before the new one is moved in.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::attributes::{adopt_project, stop_inheritance};
use super::children::own_entries;
use super::layout::RestoreLayout;
use super::markers::{MOVING_PATHS, OLD, remove_marker};
use super::staging::{Staging, TREE};
use super::ways::{find_way, kind_of, path_of, staged_parent};
use crate::directory::{check_changeable, open_folder, sync_folder};
use crate::error::lossy;
use crate::selection::PathParts;
use crate::{BeforeSwap, Error};

/// The marker while it is written.
const NEW_MARKER: &[u8] = b"moving-paths.new";
/// How often an entry is moved while the server's owner creates and removes its name.
const MOVES_MAX: u32 = 1000;

/// A file or folder that is moved with one rename.
struct Unit {
    /// Its place, in the directory and in the staged tree.
    parts: PathParts,
    /// The inode of the new entry.
    inode: u64,
}

/// Puts the requested paths of the staged tree into place. After an error, the old ones are.
///
/// `before_swap` runs right before the first existing file is changed.
pub(super) fn swap_paths(
    layout: &RestoreLayout,
    staging: &Staging,
    paths: &[PathParts],
    truncate: bool,
    before_swap: BeforeSwap<'_>,
) -> Result<(), Error> {
    let fail = |error| Error::io("put the restored files into", &layout.destination, error);
    before_swap().map_err(Error::Refused)?;
    layout.check_in_place()?;
    check_changeable(&layout.destination)?;
    let units = units(layout, staging, paths, truncate)?;
    let folder = staging.folder.handle.as_fd();
    write_marker(folder, &units).map_err(fail)?;
    let moved = units.iter().enumerate().try_for_each(|(number, unit)| {
        move_in(layout, staging, unit, number).map_err(|error| move_error(layout, unit, error))
    });
    if let Err(error) = moved {
        undo(layout, folder, &staging.tree, &units).map_err(fail)?;
        return Err(error);
    }
    // The swap is done, and the staging folder can be removed.
    remove_marker(folder, MOVING_PATHS).map_err(fail)
}

/// Takes back what an interrupted swap of paths has moved. Returns false if there was none.
pub(super) fn recover_paths(
    layout: &RestoreLayout,
    staging: BorrowedFd<'_>,
) -> Result<bool, Errno> {
    let Some(units) = read_marker(staging)? else {
        return Ok(false);
    };
    let tree = open_folder(staging, TREE)?;
    undo(layout, staging, &tree, &units)?;
    Ok(true)
}

/// Returns what is moved for the requested paths: each one, or the topmost folder that is missing.
fn units(
    layout: &RestoreLayout,
    staging: &Staging,
    paths: &[PathParts],
    truncate: bool,
) -> Result<Vec<Unit>, Error> {
    let own = own_entries(layout, staging.folder.handle.as_fd())?;
    let mut units: Vec<Unit> = Vec::new();
    for path in paths {
        if own.contain(layout.target.as_fd(), &path[0]) {
            return Err(Error::hostile(&path.join(&b'/'), "Holdfast uses its name"));
        }
        let way = find_way(layout, path)?;
        let parts = &path[..=way.depth];
        if units.last().is_some_and(|unit| unit.parts == parts) {
            continue;
        }
        let stat = staged_parent(&staging.tree, parts).and_then(|parent| {
            let name = path[way.depth].as_slice();
            rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)
        });
        let stat = stat.map_err(|error| Error::io("read", &path_of(layout, parts), error))?;
        let staged = FileType::from_raw_mode(stat.st_mode);
        if !truncate && way.present.is_some_and(|present| present != staged) {
            return Err(Error::InTheWay {
                path: lossy(&path.join(&b'/')),
                reason: "the backup has something of another kind there; replace it with \
                         truncate, or rename it",
            });
        }
        units.push(Unit {
            parts: parts.to_vec(),
            inode: stat.st_ino,
        });
    }
    Ok(units)
}

/// Moves a new entry into place, and what was there into the staging folder.
fn move_in(
    layout: &RestoreLayout,
    staging: &Staging,
    unit: &Unit,
    number: usize,
) -> Result<(), Errno> {
    let (from, name) = (staged_parent(&staging.tree, &unit.parts)?, unit.name());
    let to = open_parent(layout, unit)?;
    // It takes an old entry of any project.
    stop_inheritance(from.as_fd())?;
    let by_steps = || -> Result<(), Errno> {
        let old = old_folder(staging.folder.handle.as_fd())?;
        match rustix::fs::renameat(&to, name, &old, number.to_string()) {
            Ok(()) => sync_folder(&old)?,
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
        rustix::fs::renameat(&from, name, &to, name)
    };
    let mut moved = exchange_or_move(from.as_fd(), to.as_fd(), name);
    if moved == Err(Errno::XDEV) && adopt_project(from.as_fd(), name, to.as_fd())? {
        moved = exchange_or_move(from.as_fd(), to.as_fd(), name);
    }
    match moved {
        Err(Errno::INVAL | Errno::NOSYS) => by_steps()?,
        other => other?,
    }
    sync_folder(&to)?;
    sync_folder(&from)
}

/// Moves an entry to its name in another folder, or exchanges the two entries of this name.
fn exchange_or_move(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    for _ in 0..MOVES_MAX {
        match rustix::fs::renameat_with(from, name, to, name, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            other => return other,
        }
        match rustix::fs::renameat_with(from, name, to, name, RenameFlags::EXCHANGE) {
            // The server's owner has removed it meanwhile.
            Err(Errno::NOENT) => {}
            other => return other,
        }
    }
    Err(Errno::BUSY)
}

/// Moves everything back that was moved, and removes the marker. If it is interrupted, recovery
/// continues.
fn undo(
    layout: &RestoreLayout,
    staging: BorrowedFd<'_>,
    tree: &OwnedFd,
    units: &[Unit],
) -> Result<(), Errno> {
    for (number, unit) in units.iter().enumerate().rev() {
        undo_unit(layout, staging, tree, unit, number)?;
    }
    remove_marker(staging, MOVING_PATHS)
}

fn undo_unit(
    layout: &RestoreLayout,
    staging: BorrowedFd<'_>,
    tree: &OwnedFd,
    unit: &Unit,
    number: usize,
) -> Result<(), Errno> {
    let (number, name) = (number.to_string(), unit.name());
    let old = match open_folder(staging, OLD) {
        Ok(old) => kind_of(old.as_fd(), number.as_bytes())?.map(|_| old),
        Err(Errno::NOENT) => None,
        Err(error) => return Err(error),
    };
    let to = match open_parent(layout, unit) {
        // The server's owner has removed the folder, and the new entry with it.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if old.is_none() => return Ok(()),
        other => other?,
    };
    let from = staged_parent(tree, &unit.parts)?;
    let is_new = match rustix::fs::statat(&to, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Some(stat.st_ino == unit.inode),
        Err(Errno::NOENT) => None,
        Err(error) => return Err(error),
    };
    match (old, is_new) {
        (None, Some(true)) => {
            let mut moved = exchange_or_move(to.as_fd(), from.as_fd(), name);
            if moved == Err(Errno::XDEV) && adopt_project(from.as_fd(), name, to.as_fd())? {
                moved = exchange_or_move(to.as_fd(), from.as_fd(), name);
            }
            match moved {
                Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::renameat(&to, name, &from, name)?,
                other => other?,
            }
        }
        // The old entry is in place, or there was none.
        (None, Some(false) | None) => return Ok(()),
        // The server's owner has put another entry there.
        (Some(_), Some(false)) => return Ok(()),
        (Some(old), Some(true)) => {
            rustix::fs::renameat(&to, name, &from, name)?;
            rustix::fs::renameat(&old, number, &to, name)?;
        }
        (Some(old), None) => rustix::fs::renameat(&old, number, &to, name)?,
    }
    sync_folder(&to)
}

impl Unit {
    fn name(&self) -> &[u8] {
        self.parts.last().map(Vec::as_slice).unwrap_or_default()
    }
}

/// Opens the folder of the server's directory that holds an entry. Follows no link.
fn open_parent(layout: &RestoreLayout, unit: &Unit) -> Result<OwnedFd, Errno> {
    let mut folder = open_folder(layout.target.as_fd(), b".")?;
    for part in &unit.parts[..unit.parts.len().saturating_sub(1)] {
        folder = open_folder(folder.as_fd(), part)?;
    }
    Ok(folder)
}

/// Opens the folder of the entries that were moved out. Creates it if it is missing.
fn old_folder(staging: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    match rustix::fs::mkdirat(staging, OLD, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => open_folder(staging, OLD),
        Err(error) => Err(error),
    }
}

fn move_error(layout: &RestoreLayout, unit: &Unit, error: Errno) -> Error {
    let path = path_of(layout, &unit.parts);
    let reason = match error {
        Errno::PERM => "it is immutable or append-only, or not this user's",
        Errno::XDEV => {
            "it is on another file system or subvolume, or in a lower layer of overlayfs"
        }
        Errno::BUSY => "a file system is mounted there",
        Errno::LOOP | Errno::NOTDIR => "the folder that holds it was replaced meanwhile",
        _ => return Error::io("put back", &path, error),
    };
    Error::Immovable { path, reason }
}

/// Writes the marker, durably.
fn write_marker(staging: BorrowedFd<'_>, units: &[Unit]) -> Result<(), Errno> {
    let mut text = Vec::new();
    for unit in units {
        text.extend_from_slice(unit.inode.to_string().as_bytes());
        text.push(b' ');
        text.extend_from_slice(&unit.parts.join(&b'/'));
        text.push(0);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(staging, NEW_MARKER, flags, Mode::RUSR | Mode::WUSR)?;
    let mut rest = text.as_slice();
    while !rest.is_empty() {
        match rustix::io::write(&file, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    rustix::fs::fsync(&file)?;
    rustix::fs::renameat(staging, NEW_MARKER, staging, MOVING_PATHS)?;
    sync_folder(staging)
}

/// Reads the marker; `None` if there is none.
fn read_marker(staging: BorrowedFd<'_>) -> Result<Option<Vec<Unit>>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(staging, MOVING_PATHS, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    let mut text = Vec::new();
    let mut part = [0; 4096];
    loop {
        match rustix::io::read(&file, &mut part) {
            Ok(0) => break,
            Ok(read) => text.extend_from_slice(&part[..read]),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    let lines = text
        .split(|&byte| byte == 0)
        .filter(|line| !line.is_empty());
    let units: Option<Vec<Unit>> = lines.map(parse_unit).collect();
    units.map(Some).ok_or(Errno::BADMSG)
}

fn parse_unit(line: &[u8]) -> Option<Unit> {
    let space = line.iter().position(|&byte| byte == b' ')?;
    let inode = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
    let parts: PathParts = line[space + 1..]
        .split(|&byte| byte == b'/')
        .map(<[u8]>::to_vec)
        .collect();
    let is_name = |part: &Vec<u8>| !matches!(part.as_slice(), b"" | b"." | b"..");
    parts.iter().all(is_name).then_some(Unit { parts, inode })
}
