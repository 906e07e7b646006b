//! Packs entries of the previous archive: whole blocks, or the bytes of single entries.

use super::{BLOCK_BYTES, EARLY_END_BYTES, Packer};
use crate::Error;
use crate::list::ListedEntry;
use crate::pipeline::TakenBlock;
use crate::tar_format::EntryKind;

impl Packer<'_> {
    /// Appends the record of an entry that begins at `offset` of the block that is taken over next.
    pub(crate) fn add_old_record(&mut self, entry: &ListedEntry, offset: usize, out: &mut Vec<u8>) {
        self.records.add_listed(entry, offset, out);
        self.count_old(entry);
    }

    /// Takes over blocks, with the records of their entries.
    pub(crate) fn put_old_blocks(&mut self, old: Vec<TakenBlock>) -> Result<(), Error> {
        self.control.check()?;
        self.pace.rest(self.control);
        self.sink.take(old)?;
        self.pace.begin();
        Ok(())
    }

    /// Begins an entry whose `whole` bytes, with its header, come next.
    pub(crate) fn begin_old_entry(&mut self, entry: &ListedEntry, whole: u64) -> Result<(), Error> {
        self.make_room(whole)?;
        let offset = self.block.raw.len();
        self.records
            .add_listed(entry, offset, &mut self.block.records);
        self.count_old(entry);
        Ok(())
    }

    /// Appends bytes of the previous archive's tar stream.
    pub(crate) fn put_old_bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.control.check()?;
        self.put(bytes)
    }

    /// Ends the block before an entry of `whole` bytes that would not fit into it.
    pub(super) fn make_room(&mut self, whole: u64) -> Result<(), Error> {
        let begun = self.block.raw.len();
        let is_too_long = begun as u64 + whole > BLOCK_BYTES as u64;
        if begun == BLOCK_BYTES || (begun >= EARLY_END_BYTES && is_too_long) {
            self.end_block()?;
        }
        Ok(())
    }

    fn count_old(&mut self, entry: &ListedEntry) {
        self.count_entry(entry.kind, entry.stored);
        self.totals.unread_entries += 1;
        match entry.kind {
            EntryKind::File => {
                self.totals.files += 1;
                self.totals.source_bytes = self.totals.source_bytes.saturating_add(entry.size);
                self.control.add_file();
                self.control.add_bytes(entry.size);
            }
            EntryKind::HardLink => {
                self.totals.files += 1;
                self.control.add_file();
            }
            EntryKind::Symlink => {
                if let Some(reason) = self.links.note(&entry.path, &entry.link) {
                    self.add_note(&entry.path, reason);
                }
            }
            EntryKind::Directory => {}
        }
    }
}
