//! The order of entries in an archive: what changes least and costs most comes first.

use holdfast_archive::{EntryKind, ListedEntry};

use super::tree::{DAY, LARGE};

/// The place of an entry. Entries are compared by it, then by their path.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// A large file, with size × age; the greatest comes first.
    Large(std::cmp::Reverse<i128>),
    /// A small file, a further name of a file, or a link, with its class of age.
    Small(u8),
    /// A folder, or a symlink that can lead out of its folder.
    Last,
}

/// Checks that the entries, as the archive has them, are in the order of a full backup.
pub(crate) fn check(entries: &[ListedEntry], what: &str) {
    let contents = entries
        .iter()
        .filter(|entry| entry.kind != EntryKind::Directory);
    let newest = contents.map(|entry| entry.mtime.0).max().unwrap_or(0);
    let place = |entry: &ListedEntry| {
        let age = i128::from(newest) - i128::from(entry.mtime.0);
        match entry.kind {
            EntryKind::Directory => Place::Last,
            EntryKind::Symlink if entry.link.starts_with(b"/") => Place::Last,
            EntryKind::Symlink if entry.link.windows(2).any(|pair| pair == b"..") => Place::Last,
            EntryKind::File if entry.size >= LARGE => {
                let weight = i128::from(entry.size) * (age + i128::from(DAY));
                Place::Large(std::cmp::Reverse(weight))
            }
            _ => Place::Small(class(age)),
        }
    };
    // The order of a walk: folder by folder, names by their bytes.
    let names = |entry: &ListedEntry| -> Vec<Vec<u8>> {
        let names = entry.path.split(|&byte| byte == b'/');
        names.map(<[u8]>::to_vec).collect()
    };
    for pair in entries.windows(2) {
        let [one, next] = pair else { unreachable!() };
        let (before, after) = ((place(one), names(one)), (place(next), names(next)));
        assert!(before < after, "{what}: {before:?} comes before {after:?}");
    }
}

/// Returns the class of an age, from 0 for the oldest.
fn class(age: i128) -> u8 {
    let day = i128::from(DAY);
    match age {
        age if age > 365 * day => 0,
        age if age > 30 * day => 1,
        age if age > 7 * day => 2,
        age if age > day => 3,
        age if age > 3600 => 4,
        _ => 5,
    }
}
