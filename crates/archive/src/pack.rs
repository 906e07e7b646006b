//! Packs entries into the blocks of a tar stream.
//!
//! A file always takes exactly the bytes that its header states, even if it changes while it is
//! read: a file that shrinks is filled with zeros, a file that grows is cut, and both are noted.
//! The end of a block depends only on the bytes before it, so the same tree gives the same bytes.

mod attributes;
mod contents;
mod old_entries;
mod outside_links;
mod source_reader;

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io::Errno;

use crate::acl::Acls;
use crate::compress::BLOCK_BYTES;
use crate::directory::Identity;
use crate::index::{EntryRecords, IndexTotals, SourceFile};
use crate::lease::{self, LeaseWait};
use crate::pace::Pace;
use crate::pipeline::{ArchiveEnd, Block, BlockSink};
use crate::summary::Notes;
use crate::tar_format::{
    EntryKind, TAR_BLOCK, TarEntry, Time, encode_header, encode_sparse_map, padding,
};
use crate::throttle::Throttle;
use crate::walk::{WalkEntry, entry_problem};
use crate::{Control, CreateOptions, Error};

use attributes::AttributeReader;
pub(crate) use outside_links::OutsideLinks;
use source_reader::SourceReader;

/// A block with at least this many bytes ends early if the next entry does not fit into it.
const EARLY_END_BYTES: usize = BLOCK_BYTES / 8;

/// Totals and notes of the packed entries.
#[derive(Default)]
pub(crate) struct PackedTotals {
    pub(crate) source_bytes: u64,
    /// Bytes of files that were read.
    pub(crate) read_bytes: u64,
    pub(crate) files: u64,
    pub(crate) entries: u64,
    /// How many of these come from the previous archive.
    pub(crate) unread_entries: u64,
    pub(crate) notes: Notes,
}

/// Packs entries.
pub(crate) struct Packer<'a> {
    control: &'a Control,
    sink: &'a mut BlockSink,
    attributes: AttributeReader,
    links: OutsideLinks,
    /// The files that the archive is written to.
    own_files: Vec<Identity>,
    leases: LeaseWait,
    throttle: Throttle,
    pace: Pace,
    block: Block,
    records: EntryRecords,
    /// Files with several hard links, by identity: the path of the first one, and how many others
    /// have not been visited yet.
    linked: HashMap<Identity, (Vec<u8>, u64)>,
    header: Vec<u8>,
    totals: PackedTotals,
    /// Bytes that the entries take on a disk, in whole pages.
    disk_bytes: u64,
    /// See [`CreatedWith`](crate::index::CreatedWith).
    unsettled_since: i64,
    /// Whether every file could be read to its end, with its attributes.
    is_complete: bool,
}

impl<'a> Packer<'a> {
    pub(crate) fn new(
        options: &CreateOptions,
        links: OutsideLinks,
        unsettled_since: i64,
        control: &'a Control,
        sink: &'a mut BlockSink,
    ) -> Self {
        Self {
            control,
            sink,
            attributes: AttributeReader::new(options.xattrs),
            links,
            own_files: options.own_files.iter().map(Identity::from).collect(),
            leases: LeaseWait::new(lease::WAIT),
            throttle: Throttle::new(options.read_limit_bytes_per_second),
            pace: Pace::new(),
            block: Block::default(),
            records: EntryRecords::default(),
            linked: HashMap::new(),
            header: Vec::new(),
            totals: PackedTotals::default(),
            disk_bytes: 0,
            unsettled_since,
            is_complete: true,
        }
    }

    /// Says which files with several hard links are in the archive already.
    pub(crate) fn set_linked(&mut self, linked: HashMap<Identity, (Vec<u8>, u64)>) {
        self.linked = linked;
    }

    /// Ends the tar stream.
    pub(crate) fn finish(mut self) -> Result<(PackedTotals, ArchiveEnd), Error> {
        if let Some(reason) = self.links.summary() {
            self.add_note(b".", reason);
        }
        self.put(&[0; 2 * TAR_BLOCK])?;
        self.end_block()?;
        let totals = IndexTotals {
            entries: self.totals.entries,
            files: self.totals.files,
            source_bytes: self.totals.source_bytes,
            disk_bytes: self.disk_bytes,
            ..IndexTotals::default()
        };
        let end = ArchiveEnd {
            totals,
            is_complete: self.is_complete,
        };
        Ok((self.totals, end))
    }

    /// Writes the header of an entry. The caller must write its `stored` bytes next.
    fn put_entry(&mut self, entry: &TarEntry, stat: &Stat) -> Result<(), Error> {
        self.header.clear();
        encode_header(entry, &mut self.header);
        let whole = self.header.len() as u64 + entry.stored;
        self.make_room(whole)?;
        let is_settled = stat.st_mtime.max(stat.st_ctime) < self.unsettled_since;
        let source = is_settled.then(|| SourceFile {
            device: stat.st_dev,
            inode: stat.st_ino,
            ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        });
        let offset = self.block.raw.len();
        self.records.add(
            entry,
            offset,
            &source.unwrap_or_default(),
            &mut self.block.records,
        );
        let header = std::mem::take(&mut self.header);
        self.put(&header)?;
        self.header = header;
        self.count_entry(entry.kind, entry.stored);
        Ok(())
    }

    fn count_entry(&mut self, kind: EntryKind, stored: u64) {
        const PAGE: u64 = 4096;
        self.totals.entries += 1;
        self.disk_bytes += match kind {
            EntryKind::File => stored.next_multiple_of(PAGE),
            EntryKind::Directory => PAGE,
            EntryKind::Symlink | EntryKind::HardLink => 0,
        };
    }

    /// Appends bytes to the stream.
    fn put(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            if self.block.raw.len() == BLOCK_BYTES {
                self.end_block()?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.block.raw.len()));
            if self.block.raw.capacity() == 0 {
                self.block.raw.reserve_exact(BLOCK_BYTES);
            }
            self.block.raw.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Appends zeros: the rest of a file that has shrunk, or padding.
    fn put_zeros(&mut self, mut count: u64) -> Result<(), Error> {
        const ZEROS: [u8; 16 << 10] = [0; 16 << 10];
        while count > 0 {
            let now = ZEROS
                .len()
                .min(usize::try_from(count).unwrap_or(usize::MAX));
            self.put(&ZEROS[..now])?;
            count -= now as u64;
        }
        Ok(())
    }

    /// Ends the current block and sends it.
    pub(crate) fn end_block(&mut self) -> Result<(), Error> {
        if self.block.raw.is_empty() {
            return Ok(());
        }
        self.pace.rest(self.control);
        self.block = self.sink.send(std::mem::take(&mut self.block))?;
        self.pace.begin();
        Ok(())
    }

    /// Returns an entry with the attributes of `stat`, without contents.
    fn new_entry(path: &[u8], kind: EntryKind, stat: &Stat) -> TarEntry {
        TarEntry {
            path: path.to_vec(),
            kind,
            link: Vec::new(),
            mode: stat.st_mode & 0o7777,
            uid: u64::from(stat.st_uid),
            gid: u64::from(stat.st_gid),
            mtime: time(stat.st_mtime, stat.st_mtime_nsec),
            size: 0,
            stored: 0,
            segments: None,
            acls: Acls::default(),
            xattrs: Vec::new(),
        }
    }
}

impl Packer<'_> {
    /// Packs the entry of an open folder.
    pub(crate) fn put_folder(&mut self, path: &[u8], folder: BorrowedFd<'_>) -> Result<(), Error> {
        let stat = match rustix::fs::fstat(folder) {
            Ok(stat) => stat,
            Err(error) => return self.note_unreachable(path, error),
        };
        let mut entry = Self::new_entry(path, EntryKind::Directory, &stat);
        self.read_attributes(folder, &mut entry, &stat)?;
        self.put_entry(&entry, &stat)
    }

    /// Packs the entry of a folder that cannot be opened. The scan has added a note about it.
    pub(crate) fn put_closed_folder(&mut self, found: &WalkEntry<'_>) -> Result<(), Error> {
        match rustix::fs::statat(found.folder, found.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                let entry = Self::new_entry(found.path, EntryKind::Directory, &stat);
                self.put_entry(&entry, &stat)
            }
            Ok(_) => self.note_unreachable(found.path, Errno::NOTDIR),
            Err(error) => self.note_unreachable(found.path, error),
        }
    }

    /// Adds a note about an entry that cannot be opened for a reason of its own.
    pub(crate) fn note_unreachable(&mut self, path: &[u8], error: Errno) -> Result<(), Error> {
        let reason = open_failed(path, error)?;
        self.add_note(path, reason);
        Ok(())
    }

    pub(crate) fn add_note(&mut self, path: &[u8], reason: String) {
        self.totals.notes.add(path, reason);
    }

    pub(crate) fn add_notes(&mut self, notes: Notes) {
        self.totals.notes.append(notes);
    }

    /// Packs a symlink.
    pub(crate) fn put_symlink(&mut self, found: &WalkEntry<'_>) -> Result<(), Error> {
        let stat = rustix::fs::statat(found.folder, found.name, AtFlags::SYMLINK_NOFOLLOW);
        let target = rustix::fs::readlinkat(found.folder, found.name, Vec::new());
        let (stat, target) = match (stat, target) {
            (Ok(stat), Ok(target)) => (stat, target),
            (_, Err(Errno::INVAL)) => {
                self.add_note(
                    found.path,
                    "left out: it was replaced while the backup ran".into(),
                );
                return Ok(());
            }
            (Err(error), _) | (_, Err(error)) => return self.note_unreachable(found.path, error),
        };
        if let Some(reason) = self.links.note(found.path, target.as_bytes()) {
            self.add_note(found.path, reason);
        }
        let mut entry = Self::new_entry(found.path, EntryKind::Symlink, &stat);
        entry.mode = 0o777;
        entry.link = target.into_bytes();
        self.put_entry(&entry, &stat)
    }

    /// Packs a file. A large one gets blocks of its own: one for its header, and those of its
    /// contents, which stay the same as far as the file does.
    pub(crate) fn put_file(&mut self, found: &WalkEntry<'_>, is_large: bool) -> Result<(), Error> {
        let opened = self
            .leases
            .open(found.folder, found.name, Some(self.control))
            .and_then(|file| rustix::fs::fstat(&file).map(|stat| (file, stat)));
        let (file, stat) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.note_unreachable(found.path, error),
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            self.add_note(
                found.path,
                "left out: it was replaced while the backup ran".into(),
            );
            return Ok(());
        }
        if self.own_files.contains(&Identity::from(&stat)) {
            self.add_note(found.path, "left out: it belongs to this archive".into());
            return Ok(());
        }
        if stat.st_nlink > 1 && self.put_hard_link(found, &stat)? {
            return Ok(());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut entry = Self::new_entry(found.path, EntryKind::File, &stat);
        self.read_attributes(file.as_fd(), &mut entry, &stat)?;
        entry.size = size;
        entry.segments = contents::find_segments(file.as_fd(), &stat);
        let map = entry.segments.as_deref().map(encode_sparse_map);
        let data: u64 = entry.segments.as_ref().map_or(size, |segments| {
            segments.iter().map(|segment| segment.length).sum()
        });
        entry.stored = data + map.as_ref().map_or(0, |map| map.len() as u64);
        if is_large {
            self.end_block()?;
        }
        self.put_entry(&entry, &stat)?;
        if is_large {
            self.end_block()?;
        }
        if let (Some(map), Some(segments)) = (&map, &entry.segments) {
            self.put(map)?;
            self.put_segments(SourceReader::new(file.as_fd(), size), found.path, segments)?;
            self.control.add_bytes(size - data);
        } else {
            self.put_plain(SourceReader::new(file.as_fd(), size), found.path, size)?;
        }
        self.put_zeros(padding(entry.stored) as u64)?;
        if is_large {
            self.end_block()?;
        }
        self.note_changes(file.as_fd(), found.path, &stat);
        self.totals.files += 1;
        self.totals.source_bytes = self.totals.source_bytes.saturating_add(size);
        self.control.add_file();
        if stat.st_nlink > 1 {
            self.linked.insert(
                Identity::from(&stat),
                (found.path.to_vec(), stat.st_nlink - 1),
            );
        }
        Ok(())
    }

    /// Writes a hard link if the file is in the archive already. Returns whether it is.
    fn put_hard_link(&mut self, found: &WalkEntry<'_>, stat: &Stat) -> Result<bool, Error> {
        let identity = Identity::from(stat);
        let Some((first, names_left)) = self.linked.get_mut(&identity) else {
            return Ok(false);
        };
        let mut entry = Self::new_entry(found.path, EntryKind::HardLink, stat);
        entry.link.clone_from(first);
        *names_left = names_left.saturating_sub(1);
        if *names_left == 0 {
            self.linked.remove(&identity);
        }
        self.put_entry(&entry, stat)?;
        self.totals.files += 1;
        self.control.add_file();
        Ok(true)
    }
}

/// Converts a time of `stat`.
pub(crate) fn time(seconds: i64, nanoseconds: u64) -> Time {
    Time {
        seconds,
        nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
    }
}

/// Returns the note for an entry that could not be opened for a reason of its own.
fn open_failed(path: &[u8], error: Errno) -> Result<String, Error> {
    Ok(match error {
        Errno::NOENT => "left out: it vanished while the backup ran".into(),
        Errno::LOOP | Errno::NXIO | Errno::NOTDIR => {
            "left out: it was replaced while the backup ran".into()
        }
        Errno::AGAIN => "left out: another process has a lease on it".into(),
        _ => format!("left out: {}", entry_problem("read", path, error)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_stays_leased_is_noted_and_a_lack_of_descriptors_is_an_error() {
        let note = open_failed(b"file", Errno::AGAIN).ok();
        let expected = "left out: another process has a lease on it";
        assert_eq!(note.as_deref(), Some(expected));
        assert!(open_failed(b"file", Errno::MFILE).is_err());
    }
}
