//! Sets the permissions of files that an earlier version, another umask or a copy has left on a
//! disk.
//!
//! Everything is opened relative to its folder, and no link is followed. Only files and folders
//! with names of Holdfast that belong to this process's user are changed. A user who can write to
//! the disk must not make the service change other files.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use holdfast_domain::ServerId;

use super::LocalDisk;
use super::permissions::{EntryKind, FilePermissions, open_folder};
use super::probe::is_probe_name;
use super::root::MARKER;
use crate::error::Error;

/// The result of a repair.
#[derive(Debug, Default)]
struct RepairCounts {
    /// The number of files and folders that were changed.
    changed: u64,
    /// The number of those that should have been, but could not be.
    refused: u64,
    /// The first of these, with the reason.
    first_refused: Option<(String, String)>,
}

impl RepairCounts {
    fn refuse(&mut self, name: &str, reason: String) {
        self.refused += 1;
        self.first_refused
            .get_or_insert_with(|| (name.to_owned(), reason));
    }

    fn add(&mut self, other: Self) {
        self.changed += other.changed;
        self.refused += other.refused;
        self.first_refused = self.first_refused.take().or(other.first_refused);
    }
}

impl LocalDisk {
    /// Sets the permissions of all files and folders of the disk, and logs how many were changed.
    /// Returns this number.
    ///
    /// It can be stopped or killed at any time, and repeated.
    pub(crate) async fn repair_permissions(
        self: &Arc<Self>,
        is_stopped: impl Fn() -> bool,
    ) -> Result<u64, Error> {
        let root = self.root.display();
        let mut counts = self
            .run_blocking(root, |disk| {
                disk.check_mounted()?;
                disk.repair_root()
            })
            .await?;
        let mut result = Ok(());
        for server in self.servers().await? {
            if is_stopped() {
                break;
            }
            let path = self.root.join(server.to_string());
            let repair = move |disk: &Self| disk.repair_server(server);
            match self.run_blocking(path.display(), repair).await {
                Ok(repaired) => counts.add(repaired),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.log_repair(&counts);
        result.map(|()| counts.changed)
    }

    /// Sets the permissions of the root and of the marker. The root alone closes the whole disk, so
    /// that archives are protected before the service has looked at each of them.
    pub(super) fn close_root(&self) -> io::Result<()> {
        let counts = self.repair_root()?;
        self.log_repair(&counts);
        Ok(())
    }

    fn repair_root(&self) -> io::Result<RepairCounts> {
        let mut counts = RepairCounts::default();
        let root = match open_folder(&self.root, OFlags::empty()) {
            Ok(root) => root,
            // What follows reports it, with the name of the file that it needs.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(counts),
            Err(error) => return Err(error),
        };
        let permissions = self.permissions();
        let found = rustix::fs::fstat(&root)?;
        if !permissions.are_set(EntryKind::Root, &found) {
            let shared = match holds_others(&found, root.as_fd())? {
                true => Err("it also contains other files".to_owned()),
                false => check_owner(&found),
            };
            let repaired = shared.and_then(|()| {
                let set = permissions.set(EntryKind::Root, root.as_fd());
                set.map_err(|error| error.to_string())
            });
            match repaired {
                Ok(()) => counts.changed += 1,
                Err(reason) => counts.refuse(".", reason),
            }
        }
        repair_file(root.as_fd(), MARKER, permissions, &mut counts)?;
        Ok(counts)
    }

    fn repair_server(&self, server: ServerId) -> io::Result<RepairCounts> {
        let mut counts = RepairCounts::default();
        let root = open_folder(&self.root, OFlags::empty())?;
        let name = server.to_string();
        let permissions = self.permissions();
        let Some(folder) = repair_folder(root.as_fd(), &name, permissions, &mut counts)? else {
            return Ok(counts);
        };
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_str().unwrap_or_default();
            if Self::key_of(server, name).is_some() {
                repair_file(folder.as_fd(), name, permissions, &mut counts)?;
            }
        }
        if let Some((first, _)) = &mut counts.first_refused {
            *first = format!("{server}/{first}");
        }
        Ok(counts)
    }

    fn log_repair(&self, counts: &RepairCounts) {
        if counts.changed > 0 {
            tracing::warn!(
                disk = %self.name,
                changed = counts.changed,
                "set the permissions of files and folders of a disk, which other users of this \
                 machine may have been able to read"
            );
        }
        if let Some((first, reason)) = &counts.first_refused {
            let path = self.root.join(first);
            self.warn_of_permissions(&path.display().to_string(), reason, counts.refused);
        }
    }
}

/// Returns whether the root of a disk contains anything but the disk, or is a folder that all users
/// share, such as `/tmp`. Its mode then concerns others, too.
fn holds_others(found: &Stat, root: BorrowedFd<'_>) -> io::Result<bool> {
    if found.st_mode & 0o1000 != 0 {
        return Ok(true);
    }
    for entry in Dir::read_from(root)? {
        let entry = entry?;
        let name = entry.file_name().to_str().unwrap_or_default();
        let is_own = matches!(name, "." | ".." | "lost+found" | MARKER)
            || is_probe_name(name)
            || ServerId::parse(name).is_some();
        if !is_own {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Checks that a file or folder belongs to this process's user.
fn check_owner(found: &Stat) -> Result<(), String> {
    let (owner, own) = (found.st_uid, rustix::process::geteuid().as_raw());
    match owner == own {
        true => Ok(()),
        false => Err(format!(
            "it belongs to user {owner}, and this process runs as user {own}"
        )),
    }
}

/// Repairs a folder and opens it; `None` if it does not exist or is no folder.
fn repair_folder(
    parent: BorrowedFd<'_>,
    name: &str,
    permissions: FilePermissions,
    counts: &mut RepairCounts,
) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Ok(folder) => folder,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        Err(error @ (Errno::ACCESS | Errno::PERM)) => {
            counts.refuse(name, error.to_string());
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let found = rustix::fs::fstat(&folder)?;
    if !permissions.are_set(EntryKind::Folder, &found) {
        repair(
            EntryKind::Folder,
            folder.as_fd(),
            &found,
            name,
            permissions,
            counts,
        );
    }
    Ok(Some(folder))
}

/// Repairs a regular file. Anything else is left as it is.
fn repair_file(
    folder: BorrowedFd<'_>,
    name: &str,
    permissions: FilePermissions,
    counts: &mut RepairCounts,
) -> io::Result<()> {
    let is_right = |found: &Stat| {
        FileType::from_raw_mode(found.st_mode) != FileType::RegularFile
            || permissions.are_set(EntryKind::File, found)
    };
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if is_right(&found) => return Ok(()),
        Ok(_) => {}
        // It was deleted after the folder was read.
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Ok(file) => file,
        // Something else has its name now.
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(()),
        Err(error @ (Errno::ACCESS | Errno::PERM)) => {
            counts.refuse(name, error.to_string());
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let found = rustix::fs::fstat(&file)?;
    if is_right(&found) {
        return Ok(());
    }
    // The other name may be that of a file which does not belong to the disk.
    match found.st_nlink {
        1 => repair(
            EntryKind::File,
            file.as_fd(),
            &found,
            name,
            permissions,
            counts,
        ),
        links => counts.refuse(name, format!("it has {links} names (hard links)")),
    }
    Ok(())
}

fn repair(
    kind: EntryKind,
    handle: BorrowedFd<'_>,
    found: &Stat,
    name: &str,
    permissions: FilePermissions,
    counts: &mut RepairCounts,
) {
    let repaired = check_owner(found).and_then(|()| {
        let set = permissions.set(kind, handle);
        set.map_err(|error| error.to_string())
    });
    match repaired {
        Ok(()) => counts.changed += 1,
        Err(reason) => counts.refuse(name, reason),
    }
}
