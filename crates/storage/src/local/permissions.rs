//! The permissions of a local disk's files: exact modes, whatever the umask, and the disk's group.
//!
//! Only the user of the service may read archives. If the disk has a group, its members may read
//! them too, so that a reverse proxy can send them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::Ordering;

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::fs::{CWD, Gid, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::LocalDisk;
use super::file_system::context;

/// The mode of missing folders above one that Holdfast creates. Users can pass through them, but
/// cannot list them.
const PARENT_MODE: u32 = 0o711;
/// The bits of a mode for the group and for others.
const SHARED_BITS: u32 = 0o077;
/// The bits of a mode for the owner.
const OWNER_BITS: u32 = 0o700;

/// What has permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    /// The root folder of the disk.
    Root,
    /// The folder of a server.
    Folder,
    /// An archive, an index, a manifest, a partial upload, the marker or a probe.
    File,
}

/// Who may read the files of a disk besides the user of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FilePermissions {
    group: Option<u32>,
}

impl FilePermissions {
    /// Returns the permissions of the disk in `root`, with the group of the settings or of the
    /// folder.
    pub(super) fn of(group: Option<u32>, root: &Path) -> Self {
        Self {
            group: group.or_else(|| shared_group(root)),
        }
    }

    pub(super) fn group(self) -> Option<u32> {
        self.group
    }

    fn mode(self, kind: EntryKind) -> u32 {
        match (kind, self.group) {
            (EntryKind::File, None) => 0o600,
            (EntryKind::File, Some(_)) => 0o640,
            (EntryKind::Root | EntryKind::Folder, None) => 0o700,
            (EntryKind::Root | EntryKind::Folder, Some(_)) => 0o750,
        }
    }

    /// Returns whether a file or folder has these permissions.
    pub(super) fn are_set(self, kind: EntryKind, found: &Stat) -> bool {
        // An operator may let members of the group write to the root: workers that run as other
        // users create the folders of servers there.
        let allowed = match (kind, self.group) {
            (EntryKind::Root, Some(_)) => 0o020,
            _ => 0,
        };
        let is_group = self.group.is_none_or(|group| group == found.st_gid);
        is_group && found.st_mode & SHARED_BITS & !allowed == self.mode(kind) & SHARED_BITS
    }

    /// Gives an open file or folder these permissions. If the group is refused, it is closed to all
    /// other users.
    ///
    /// # Errors
    /// If the file system or the kernel refuses, or the file system ignores the change.
    pub(super) fn set(self, kind: EntryKind, handle: BorrowedFd<'_>) -> rustix::io::Result<()> {
        let found = rustix::fs::fstat(handle)?;
        let mut mode = self.mode(kind);
        // A umask may have taken bits from the owner as well.
        if self.are_set(kind, &found) && found.st_mode & OWNER_BITS == mode & OWNER_BITS {
            return Ok(());
        }
        let grouped = match self.group {
            Some(group) if group != found.st_gid => {
                rustix::fs::fchown(handle, None, Some(Gid::from_raw(group)))
            }
            _ => Ok(()),
        };
        if grouped.is_err() {
            mode &= !SHARED_BITS;
        }
        rustix::fs::fchmod(handle, Mode::from_raw_mode(mode))?;
        grouped?;
        match self.are_set(kind, &rustix::fs::fstat(handle)?) {
            true => Ok(()),
            false => Err(Errno::OPNOTSUPP),
        }
    }
}

/// Returns the group of a root folder that an operator has shared with it: a folder with the setgid
/// bit that is open to its group and closed to others. Holdfast never creates one.
fn shared_group(root: &Path) -> Option<u32> {
    let found = fs::metadata(root).ok()?;
    (found.mode() & 0o2057 == 0o2050).then(|| found.gid())
}

impl LocalDisk {
    /// Returns the permissions of the disk's files. The root may have been mounted meanwhile.
    pub(super) fn permissions(&self) -> FilePermissions {
        FilePermissions::of(self.group, &self.root)
    }

    /// Returns the group whose members may read the disk's files.
    pub(crate) fn readers(&self) -> Option<u32> {
        self.permissions().group()
    }

    /// Creates a file that does not exist, with the permissions of the disk.
    pub(super) fn create_file(&self, path: &Path) -> io::Result<File> {
        let mut options = fs::OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let file = file.into_file();
        self.set_permissions(EntryKind::File, &file, path);
        Ok(file)
    }

    /// Creates the folder of a server unless it exists. A link is not followed.
    pub(super) fn create_server_folder(&self, folder: &Path) -> io::Result<()> {
        match rustix::fs::mkdir(folder, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(context(error.into(), "cannot create", folder)),
        }
        let handle = open_folder(folder, OFlags::NOFOLLOW)
            .map_err(|error| context(error, "cannot open folder", folder))?;
        let own = rustix::process::geteuid().as_raw();
        if rustix::fs::fstat(&handle)?.st_uid == own {
            self.set_permissions(EntryKind::Folder, &handle, folder);
        }
        Ok(())
    }

    /// Gives a new file or folder its permissions. Some file systems have none, which must not
    /// make a backup impossible.
    pub(super) fn set_permissions(&self, kind: EntryKind, handle: impl AsFd, path: &Path) {
        if let Err(error) = self.permissions().set(kind, handle.as_fd()) {
            self.warn_of_permissions(&path.display().to_string(), &error.to_string(), 1);
        }
    }

    /// Logs that permissions are not as intended: once for each process and disk.
    pub(super) fn warn_of_permissions(&self, path: &str, reason: &str, count: u64) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                disk = %self.name,
                path,
                reason,
                count,
                "the permissions of files of a disk could not be set; other users of this machine \
                 may be able to read archives, or the disk's group may not"
            );
        }
    }
}

/// Opens a folder for its entries.
pub(super) fn open_folder(folder: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(folder, flags, Mode::empty())?)
}

/// Creates a folder with exactly this mode, whatever the umask. Its missing parents can be passed
/// through, but not listed. Returns whether the folder did not exist.
///
/// An existing folder keeps its mode. So do new folders on file systems without modes.
///
/// # Errors
/// If a folder can't be created, or the path is not that of a folder.
pub fn create_folder(folder: &Path, mode: u32) -> io::Result<bool> {
    let fail = |error: Errno| context(error.into(), "cannot create", folder);
    let create = || rustix::fs::mkdirat(CWD, folder, Mode::RWXU);
    let created = match (create(), folder.parent()) {
        (Err(Errno::NOENT), Some(parent)) if !parent.as_os_str().is_empty() => {
            create_folder(parent, PARENT_MODE)?;
            create()
        }
        (created, _) => created,
    };
    match created {
        Ok(()) => {}
        // An operator may have put a link to a folder there.
        Err(_) if folder.is_dir() => return Ok(false),
        Err(error) => return Err(fail(error)),
    }
    let handle = open_folder(folder, OFlags::NOFOLLOW)?;
    if let Err(error) = rustix::fs::fchmod(&handle, Mode::from_raw_mode(mode)) {
        tracing::debug!(folder = %folder.display(), %error, "the mode of a new folder is refused");
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(mode: u32, gid: u32) -> Stat {
        let mut found = rustix::fs::fstat(tempfile::tempfile().unwrap()).unwrap();
        found.st_mode = mode;
        found.st_gid = gid;
        found
    }

    #[test]
    fn only_the_owner_and_the_group_of_the_disk_may_have_access() {
        use EntryKind::{File, Folder, Root};
        for (group, kind, mode, gid, expected) in [
            (None, File, 0o600, 7, true),
            (None, File, 0o400, 7, true),
            (None, File, 0o644, 7, false),
            (None, File, 0o640, 7, false),
            (None, File, 0o601, 7, false),
            (None, Folder, 0o700, 7, true),
            (None, Folder, 0o2755, 7, false),
            (None, Root, 0o711, 7, false),
            (Some(7), File, 0o640, 7, true),
            (Some(7), File, 0o640, 8, false),
            (Some(7), File, 0o600, 7, false),
            (Some(7), File, 0o660, 7, false),
            (Some(7), File, 0o644, 7, false),
            (Some(7), Folder, 0o750, 7, true),
            (Some(7), Folder, 0o2750, 7, true),
            (Some(7), Folder, 0o770, 7, false),
            (Some(7), Folder, 0o700, 7, false),
            (Some(7), Root, 0o2770, 7, true),
            (Some(7), Root, 0o750, 7, true),
            (Some(7), Root, 0o2770, 8, false),
            (Some(7), Root, 0o2775, 7, false),
        ] {
            let permissions = FilePermissions { group };
            let are_set = permissions.are_set(kind, &stat(mode, gid));
            assert_eq!(are_set, expected, "{group:?} {kind:?} {mode:o} {gid}");
        }
    }

    #[test]
    fn only_a_folder_that_an_operator_shares_gives_its_group_to_the_disk() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().unwrap();
        let own = fs::metadata(root.path()).unwrap().gid();
        for (mode, expected) in [
            (0o2770, Some(own)),
            (0o2750, Some(own)),
            // As an umask leaves it.
            (0o2755, None),
            (0o755, None),
            (0o770, None),
            (0o2700, None),
        ] {
            fs::set_permissions(root.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            let found = FilePermissions::of(None, root.path());
            assert_eq!(found.group(), expected, "{mode:o}");
            let given = FilePermissions::of(Some(12), root.path());
            assert_eq!(given.group(), Some(12));
        }
        assert_eq!(shared_group(&root.path().join("missing")), None);
    }

    #[test]
    fn a_new_folder_has_its_mode_and_an_existing_one_keeps_it() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("a/b/c");
        let mode = |path: &str| fs::metadata(top.path().join(path)).unwrap().mode() & 0o7777;
        assert!(create_folder(&folder, 0o700).unwrap());
        assert_eq!(
            [mode("a"), mode("a/b"), mode("a/b/c")],
            [0o711, 0o711, 0o700]
        );
        assert!(!create_folder(&folder, 0o755).unwrap());
        assert_eq!(mode("a/b/c"), 0o700);
        fs::write(top.path().join("file"), "").unwrap();
        for path in ["file", "file/below"] {
            let refused = create_folder(&top.path().join(path), 0o700).unwrap_err();
            assert!(refused.to_string().contains("cannot create"), "{refused}");
        }
    }
}
