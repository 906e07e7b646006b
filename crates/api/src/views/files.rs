//! The objects of the files in a backup.

use chrono::DateTime;
use percent_encoding::percent_encode;

use holdfast_archive::{EntryKind, ListedEntry};

use super::date;
use super::objects::{FileAttributes, FileList, FileObject, ListMeta, Pagination};
use crate::page::QUERY_VALUE;

/// Returns a page of the entries of a folder.
pub(crate) fn file_list(entries: &[ListedEntry], pagination: Pagination) -> FileList {
    FileList {
        object: "list",
        data: entries.iter().map(file).collect(),
        meta: ListMeta { pagination },
    }
}

fn file(entry: &ListedEntry) -> FileObject {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let name = entry.path.rsplit(|&byte| byte == b'/').next();
    let (kind, letter) = match entry.kind {
        EntryKind::File => ("file", '-'),
        EntryKind::Directory => ("directory", 'd'),
        EntryKind::Symlink => ("symlink", 'l'),
        EntryKind::HardLink => ("hard_link", '-'),
    };
    let is_link = matches!(entry.kind, EntryKind::Symlink | EntryKind::HardLink);
    let modified = DateTime::from_timestamp(entry.mtime.0, entry.mtime.1);
    FileObject {
        object: "file_object",
        attributes: FileAttributes {
            name: text(name.unwrap_or_default()),
            path: text(&entry.path),
            encoded_path: percent_encode(&entry.path, &QUERY_VALUE).to_string(),
            kind,
            mode: mode_text(letter, entry.mode),
            mode_bits: format!("{:o}", entry.mode & 0o7777),
            size: match entry.kind {
                EntryKind::File => entry.size,
                _ => 0,
            },
            is_file: matches!(entry.kind, EntryKind::File | EntryKind::HardLink),
            is_symlink: entry.kind == EntryKind::Symlink,
            target: is_link.then(|| text(&entry.link)),
            modified_at: modified.map(date),
        },
    }
}

/// Formats a type and permissions like `ls -l`, without setuid, setgid and sticky bits.
fn mode_text(kind: char, mode: u32) -> String {
    let mut text = String::from(kind);
    for (at, letter) in "rwxrwxrwx".chars().enumerate() {
        let is_set = mode & (0o400 >> at) != 0;
        text.push(if is_set { letter } else { '-' });
    }
    text
}
