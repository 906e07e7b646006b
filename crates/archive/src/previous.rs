//! The previous archive of a directory, whose blocks a new one takes over.

mod fingerprint;
mod front;

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;

use rustix::fs::Stat;

use crate::blocks::{check_packed, check_packed_at, read_packed};
use crate::index::{BlockLocation, CONTENT_BYTES, CreatedWith, IndexReader, Record, StoredRecords};
use crate::read_at::ReadAt;
use crate::tar_format::{EntryKind, TAR_BLOCK};
use crate::{CreateOptions, Error, Expected};

use fingerprint::Fingerprint;

/// The most entries of a previous archive. Each takes 36 bytes of memory.
const ENTRIES_MAX: usize = 500_000;
/// The most blocks of a previous archive. Each takes about 150 bytes of memory.
const BLOCKS_MAX: usize = 100_000;
/// Blocks of fewer bytes are packed anew together with others.
pub(crate) const MOVED_BYTES_MIN: u64 = 64 << 10;

/// A block of the previous archive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OldBlock {
    pub(crate) location: BlockLocation,
    /// The offset of its first byte in the tar stream.
    pub(crate) start: u64,
}

#[derive(Debug, Clone, Copy)]
struct OldEntry {
    block: u32,
    /// The offset of its header in that block.
    offset: u32,
    is_unchanged: bool,
}

/// The previous archive of a directory, and its index.
#[derive(Debug)]
pub struct Previous {
    archive: Box<dyn ReadAt>,
    index: File,
    blocks: Vec<OldBlock>,
    entries: Vec<OldEntry>,
    /// The fingerprints of the entries, sorted.
    fingerprints: Vec<(Fingerprint, u32)>,
    /// The blocks with at least [`MOVED_BYTES_MIN`] bytes, by the hash of their contents.
    contents: HashMap<[u8; CONTENT_BYTES], u32>,
    /// The offset in the tar stream at which the entries end.
    end: u64,
    /// What the index says of the archive.
    about: Expected,
    /// Whether no file counts as unchanged.
    pub(crate) is_reread: bool,
}

/// Blocks that belong together, since entries reach from one into the next.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    pub(crate) blocks: Range<usize>,
    /// The entries that begin in them.
    pub(crate) entries: Range<usize>,
    /// How many of these are unchanged.
    pub(crate) unchanged: usize,
    /// Whether the blocks hold nothing but these entries.
    is_closed: bool,
}

impl Unit {
    /// Returns whether it is an unchanged file with blocks of its own: one for its header, and
    /// those of its contents.
    pub(crate) fn is_large_file(&self) -> bool {
        self.is_whole() && self.entries.len() == 1 && self.blocks.len() > 1
    }

    /// Returns whether the blocks can be taken over as they are.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_closed && self.unchanged == self.entries.len() && !self.entries.is_empty()
    }
}

impl Previous {
    /// Opens the previous archive of a directory for a new one with `options`.
    ///
    /// # Errors
    ///
    /// [`Error::PreviousUnsuitable`] if it was created otherwise or is too large,
    /// [`Error::PreviousUnusable`] if it or its index is damaged.
    pub fn open(
        archive: impl ReadAt + 'static,
        index: File,
        options: &CreateOptions,
    ) -> Result<Self, Error> {
        Self::load(Box::new(archive), index, options).map_err(|error| match error {
            Error::PreviousUnusable { .. } | Error::PreviousUnsuitable { .. } => error,
            other => unusable(other.to_string()),
        })
    }

    /// Checks that the index is that of the archive with this hash and size.
    ///
    /// # Errors
    ///
    /// [`Error::PreviousUnusable`] if it is that of another archive.
    pub fn check(&self, expected: &Expected) -> Result<(), Error> {
        if self.about == *expected {
            Ok(())
        } else {
            Err(unusable("its index is that of another archive"))
        }
    }

    fn load(archive: Box<dyn ReadAt>, index: File, options: &CreateOptions) -> Result<Self, Error> {
        let reader = IndexReader::open(&index)?;
        let Some(created_with) = reader.created_with else {
            return Err(unsuitable("an older version of Holdfast has created it"));
        };
        if !created_with.is_same_format(&CreatedWith::of(options, 0)) {
            return Err(unsuitable("it was created with other options"));
        }
        if !created_with.is_complete {
            return Err(unsuitable("some of its files could not be read completely"));
        }
        let length = archive.size();
        let length = length.map_err(|error| unusable(error.to_string()))?;
        if length != reader.totals.archive_bytes {
            return Err(unusable("it has another size than its index states"));
        }
        let mut previous = Self {
            blocks: Vec::new(),
            entries: Vec::new(),
            fingerprints: Vec::new(),
            contents: HashMap::new(),
            end: reader.totals.tar_bytes.saturating_sub(2 * TAR_BLOCK as u64),
            about: Expected {
                sha256: reader.archive_sha256,
                archive_bytes: length,
            },
            is_reread: false,
            archive,
            index: index
                .try_clone()
                .map_err(|error| unusable(error.to_string()))?,
        };
        let mut records = reader.records();
        while let Some(record) = records.next()? {
            previous.add(record)?;
        }
        let raw = previous
            .blocks
            .last()
            .map_or(0, |last| last.start + last.location.raw);
        if raw != reader.totals.tar_bytes {
            return Err(unusable(
                "its index states another size than its blocks have",
            ));
        }
        let last = previous.entries.len().checked_sub(1);
        if last.is_some_and(|last| previous.range(last).is_empty()) {
            return Err(unusable("its index has entries at impossible places"));
        }
        previous.fingerprints.sort_unstable();
        Ok(previous)
    }

    fn add(&mut self, record: Record) -> Result<(), Error> {
        let number = |length| u32::try_from(length).map_err(|_| unsuitable("it is too large"));
        match record {
            Record::Block(location) => {
                let reuse = location.reuse;
                let reuse = reuse.ok_or_else(|| unusable("its index lacks hashes"))?;
                if self.blocks.len() == BLOCKS_MAX {
                    return Err(unsuitable("it is too large"));
                }
                let start = self.blocks.last();
                let start = start.map_or(0, |last| last.start + last.location.raw);
                if location.raw >= MOVED_BYTES_MIN {
                    self.contents
                        .insert(reuse.content, number(self.blocks.len())?);
                }
                self.blocks.push(OldBlock { location, start });
            }
            Record::Entry(entry, offset) => {
                let block = self.blocks.len().checked_sub(1);
                let block = block.ok_or_else(|| unusable("its index starts with an entry"))?;
                if self.entries.len() == ENTRIES_MAX {
                    return Err(unsuitable("it has too many entries"));
                }
                // A directory is always packed again. So is an entry that may have changed since.
                if entry.kind != EntryKind::Directory && entry.inode != 0 {
                    let entry_number = number(self.entries.len())?;
                    self.fingerprints
                        .push((fingerprint::of_entry(&entry), entry_number));
                }
                let is_ordered = self.entries.last().is_none_or(|last| {
                    (last.block as usize, u64::from(last.offset)) < (block, offset)
                });
                if !is_ordered || offset >= self.blocks[block].location.raw {
                    return Err(unusable("its index has entries at impossible places"));
                }
                self.entries.push(OldEntry {
                    block: number(block)?,
                    offset: u32::try_from(offset).map_err(|_| unsuitable("it is too large"))?,
                    is_unchanged: false,
                });
            }
        }
        Ok(())
    }

    /// Marks the entry of a file or symlink as unchanged. `link` is the file that it is another
    /// name of. Returns whether the archive has such an entry.
    pub(crate) fn mark_unchanged(&mut self, path: &[u8], stat: &Stat, link: Option<&[u8]>) -> bool {
        if self.is_reread {
            return false;
        }
        let Some(fingerprint) = fingerprint::of_stat(path, stat, link) else {
            return false;
        };
        let found = self
            .fingerprints
            .binary_search_by_key(&fingerprint, |&(known, _)| known);
        let Ok(at) = found else {
            return false;
        };
        let entry = self.fingerprints[at].1 as usize;
        self.entries[entry].is_unchanged = true;
        true
    }

    /// Returns the unit that begins with a block and the first entry in it. `None` at the end of
    /// the entries.
    pub(crate) fn unit(&self, block: usize, entry: usize) -> Option<Unit> {
        let first = self
            .blocks
            .get(block)
            .filter(|first| first.start < self.end)?;
        let mut blocks = block + 1;
        let mut entries = entry;
        let mut closed_at = first.start;
        loop {
            while self
                .entries
                .get(entries)
                .is_some_and(|next| (next.block as usize) < blocks)
            {
                entries += 1;
            }
            let Some(next) = self.blocks.get(blocks).filter(|next| next.start < self.end) else {
                closed_at = closed_at.max(self.end);
                break;
            };
            closed_at = next.start;
            let following = self.entries.get(entries);
            if following.is_some_and(|next| next.block as usize == blocks && next.offset == 0) {
                break;
            }
            blocks += 1;
        }
        let last = self.blocks[blocks - 1];
        let begins = self.entries.get(entry);
        let begins = begins.is_some_and(|first| first.block as usize == block && first.offset == 0);
        let unchanged = self.entries[entry..entries].iter();
        Some(Unit {
            blocks: block..blocks,
            entries: entry..entries,
            unchanged: unchanged.filter(|entry| entry.is_unchanged).count(),
            is_closed: begins && last.start + last.location.raw == closed_at,
        })
    }

    pub(crate) fn block(&self, block: usize) -> &OldBlock {
        &self.blocks[block]
    }

    pub(crate) fn is_unchanged(&self, entry: usize) -> bool {
        self.entries[entry].is_unchanged
    }

    /// Returns the offset of an entry in a block, if it begins there.
    pub(crate) fn offset_in(&self, block: usize, entry: usize) -> Option<usize> {
        let entry = self.entries.get(entry)?;
        (entry.block as usize == block).then_some(entry.offset as usize)
    }

    /// Returns the bytes of a unit in the tar stream.
    pub(crate) fn raw_bytes(&self, unit: &Unit) -> u64 {
        let blocks = self.blocks[unit.blocks.clone()].iter();
        blocks.map(|block| block.location.raw).sum()
    }

    /// Returns the range of the tar stream that an entry takes.
    pub(crate) fn range(&self, entry: usize) -> Range<u64> {
        let start =
            |entry: &OldEntry| self.blocks[entry.block as usize].start + u64::from(entry.offset);
        let end = self.entries.get(entry + 1).map_or(self.end, start);
        start(&self.entries[entry])..end
    }

    /// Returns a reader of the records of the index, from the first one on.
    pub(crate) fn records(&self) -> Result<StoredRecords<'_>, Error> {
        let reader = IndexReader::open(&self.index).map_err(|error| unusable(error.to_string()))?;
        Ok(reader.records())
    }

    pub(crate) fn archive(&self) -> &dyn ReadAt {
        &*self.archive
    }

    /// Reads the compressed bytes of a block, and checks them.
    pub(crate) fn read_block(
        &self,
        location: &BlockLocation,
        into: &mut Vec<u8>,
    ) -> Result<(), Error> {
        read_packed(self.archive(), location, into)
            .and_then(|()| check_packed(location, into))
            .map_err(|error| unusable(error.to_string()))
    }

    /// Reads the compressed bytes of a block only to check them. `part` is a buffer.
    pub(crate) fn check_block(
        &self,
        location: &BlockLocation,
        part: &mut Vec<u8>,
    ) -> Result<(), Error> {
        check_packed_at(self.archive(), location, part).map_err(|error| unusable(error.to_string()))
    }

    /// Returns the block with these contents.
    pub(crate) fn block_with(&self, content: &[u8; CONTENT_BYTES]) -> Option<&BlockLocation> {
        let block = *self.contents.get(content)?;
        Some(&self.blocks[block as usize].location)
    }
}

/// Returns the error for a previous archive that cannot be reused.
pub(crate) fn unusable(reason: impl Into<String>) -> Error {
    Error::PreviousUnusable {
        reason: reason.into(),
    }
}

/// Returns the error for a previous archive that is intact, but of another kind.
pub(crate) fn unsuitable(reason: impl Into<String>) -> Error {
    Error::PreviousUnsuitable {
        reason: reason.into(),
    }
}
