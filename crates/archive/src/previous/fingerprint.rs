//! Fingerprints of entries: a file has the same as its entry if it has not changed since.

use rustix::fs::{FileType, Stat};

use crate::list::ListedEntry;
use crate::tar_format::EntryKind;

/// Identifies an entry and all that says whether it has changed: path, kind, size, times, inode,
/// mode and owner.
pub(super) type Fingerprint = [u8; 16];

struct Identified<'a> {
    path: &'a [u8],
    kind: EntryKind,
    link: &'a [u8],
    size: u64,
    mode: u32,
    owner: (u64, u64),
    inode: u64,
    mtime: (i64, u32),
    ctime: (i64, u32),
}

/// Returns the fingerprint of an entry of an archive.
pub(super) fn of_entry(entry: &ListedEntry) -> Fingerprint {
    let is_hard_link = entry.kind == EntryKind::HardLink;
    fingerprint(&Identified {
        path: &entry.path,
        kind: entry.kind,
        // A symlink with another target is another inode.
        link: if is_hard_link { &entry.link } else { b"" },
        size: entry.size,
        mode: entry.mode,
        owner: (entry.uid, entry.gid),
        inode: entry.inode,
        mtime: entry.mtime,
        ctime: entry.ctime,
    })
}

/// Returns the fingerprint of a file or symlink. `link` is the file that it is another name of.
pub(super) fn of_stat(path: &[u8], stat: &Stat, link: Option<&[u8]>) -> Option<Fingerprint> {
    let nanoseconds = |part| u32::try_from(part).unwrap_or(0);
    let permissions = stat.st_mode & 0o7777;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let (kind, size, mode) = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if link.is_some() => (EntryKind::HardLink, 0, permissions),
        FileType::RegularFile => (EntryKind::File, size, permissions),
        FileType::Symlink => (EntryKind::Symlink, 0, 0o777),
        _ => return None,
    };
    Some(fingerprint(&Identified {
        path,
        kind,
        link: link.unwrap_or_default(),
        size,
        mode,
        owner: (u64::from(stat.st_uid), u64::from(stat.st_gid)),
        inode: stat.st_ino,
        mtime: (stat.st_mtime, nanoseconds(stat.st_mtime_nsec)),
        ctime: (stat.st_ctime, nanoseconds(stat.st_ctime_nsec)),
    }))
}

fn fingerprint(entry: &Identified<'_>) -> Fingerprint {
    let mut hash = blake3::Hasher::new();
    let numbers = [
        entry.path.len() as u64,
        entry.link.len() as u64,
        entry.kind as u64,
        entry.size,
        u64::from(entry.mode),
        entry.owner.0,
        entry.owner.1,
        entry.inode,
        entry.mtime.0.cast_unsigned(),
        u64::from(entry.mtime.1),
        entry.ctime.0.cast_unsigned(),
        u64::from(entry.ctime.1),
    ];
    let mut bytes = [0; 12 * 8];
    for (part, number) in bytes.chunks_exact_mut(8).zip(numbers) {
        part.copy_from_slice(&number.to_le_bytes());
    }
    hash.update(&bytes).update(entry.path).update(entry.link);
    let mut fingerprint = Fingerprint::default();
    hash.finalize_xof().fill(&mut fingerprint);
    fingerprint
}
