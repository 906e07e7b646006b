//! Packs a tree after its previous archive.
//!
//! The new archive begins with the blocks of the previous one up to the first that has changed.
//! After them, blocks whose entries are all unchanged are taken over as compressed bytes, in the
//! order of a new archive. Of other blocks, the unchanged entries are packed again. What has
//! changed or is new is read.

use std::cmp::Reverse;
use std::ops::Range;

use crate::Error;
use crate::blocks::Inflater;
use crate::index::{Record, StoredRecords};
use crate::list::ListedEntry;
use crate::pack::Packer;
use crate::pack_plan::PlanPacker;
use crate::pipeline::{Front, OldPlace, TakenBlock};
use crate::previous::{MOVED_BYTES_MIN, Previous, Unit, unusable};

/// How many compressed bytes of the front are checked together. Threads that wait for each other
/// would cost more than the blocks themselves.
const FRONT_WORK: u64 = 4 << 20;
/// How many compressed bytes count as much as a byte of index records, which is kept in memory.
const RECORD_WORK: u64 = 32;

/// The blocks of the previous archive with which the new one begins.
#[derive(Debug, Default)]
pub(crate) struct FrontRange {
    blocks: usize,
    entries: usize,
    /// Whether they are not read here, because the output checks them.
    is_unread: bool,
}

impl FrontRange {
    /// Finds the blocks before the first change. `is_unread` means that the output checks them.
    pub(crate) fn find(previous: &Previous, is_unread: bool) -> Self {
        let mut front = Self {
            is_unread,
            ..Self::default()
        };
        while let Some(unit) = previous.unit(front.blocks, front.entries)
            && unit.is_whole()
        {
            front.blocks = unit.blocks.end;
            front.entries = unit.entries.end;
        }
        front
    }

    /// Returns what the output begins with. `None` if nothing is left of the front.
    pub(crate) fn start(&self, previous: &Previous) -> Result<Option<Front>, Error> {
        let Some(last) = self.blocks.checked_sub(1) else {
            return Ok(None);
        };
        let last = previous.block(last).location;
        if !self.is_unread {
            previous.check_header()?;
        }
        Ok(Some(Front {
            rest: previous.bytes_before(last.offset + last.packed)?,
            crc: previous.front_crc(self.blocks)?,
            last,
        }))
    }
}

/// A large file of the previous archive that comes after the front.
struct LargeUnit {
    weight: u128,
    unit: Unit,
    entry: ListedEntry,
}

/// Packs entries of the previous archive.
pub(crate) struct Reuse<'a> {
    previous: &'a Previous,
    records: StoredRecords<'a>,
    /// The entry that the next record describes.
    next: usize,
    inflater: Inflater,
}

impl<'a> Reuse<'a> {
    pub(crate) fn new(previous: &'a Previous) -> Result<Self, Error> {
        Ok(Self {
            previous,
            records: previous.records()?,
            next: 0,
            inflater: Inflater::new(),
        })
    }

    /// Packs everything: the front, then what is unchanged and what is new in the order of an
    /// archive.
    pub(crate) fn pack(
        mut self,
        front: &FrontRange,
        plan: &mut PlanPacker<'_>,
        packer: &mut Packer<'_>,
    ) -> Result<(), Error> {
        let place = if front.is_unread {
            OldPlace::UnreadFront
        } else {
            OldPlace::Front
        };
        self.take_blocks(0..front.blocks, 0, place, packer)?;
        let mut large = Some(Vec::new());
        let (mut block, mut entry) = (front.blocks, front.entries);
        while let Some(unit) = self.previous.unit(block, entry) {
            (block, entry) = (unit.blocks.end, unit.entries.end);
            if unit.unchanged == 0 {
                continue;
            }
            if let Some(large) = &mut large
                && unit.is_large_file()
            {
                let entry = self.entry(unit.entries.start)?;
                large.push(LargeUnit {
                    weight: plan.weight(entry.size, entry.mtime.0),
                    unit,
                    entry,
                });
                continue;
            }
            self.put_large(large.take(), plan, packer)?;
            if unit.is_whole() && self.previous.raw_bytes(&unit) >= MOVED_BYTES_MIN {
                packer.end_block()?;
                self.take_blocks(unit.blocks, unit.entries.start, OldPlace::Moved, packer)?;
            } else {
                self.put_entries(&unit, packer)?;
            }
        }
        self.put_large(large.take(), plan, packer)?;
        plan.put_rest(packer)
    }

    /// Returns the description of an entry. Entries are asked for in the order of the archive.
    fn entry(&mut self, wanted: usize) -> Result<ListedEntry, Error> {
        loop {
            let record = self.records.next();
            match record.map_err(|error| unusable(error.to_string()))? {
                None => return Err(unusable("its index has changed")),
                Some(Record::Block(_)) => {}
                Some(Record::Entry(entry, _)) => {
                    self.next += 1;
                    if self.next > wanted {
                        return Ok(entry);
                    }
                }
            }
        }
    }

    /// Takes over blocks, and the entries that begin in them.
    fn take_blocks(
        &mut self,
        blocks: Range<usize>,
        mut entry: usize,
        place: OldPlace,
        packer: &mut Packer<'_>,
    ) -> Result<(), Error> {
        let (mut taken, mut work) = (Vec::new(), 0);
        for block in blocks {
            if place == OldPlace::Front {
                self.previous.check_filler(block)?;
            }
            let mut records = Vec::new();
            while let Some(offset) = self.previous.offset_in(block, entry) {
                let listed = self.entry(entry)?;
                packer.add_old_record(&listed, offset, &mut records);
                entry += 1;
            }
            let location = self.previous.block(block).location;
            work += location.packed + RECORD_WORK * records.len() as u64;
            taken.push(TakenBlock {
                location,
                records,
                place,
            });
            if place == OldPlace::Moved || work >= FRONT_WORK {
                work = 0;
                packer.put_old_blocks(std::mem::take(&mut taken))?;
            }
        }
        if taken.is_empty() {
            return Ok(());
        }
        packer.put_old_blocks(taken)
    }

    /// Packs the large files, old and new ones, by their weight.
    fn put_large(
        &self,
        large: Option<Vec<LargeUnit>>,
        plan: &mut PlanPacker<'_>,
        packer: &mut Packer<'_>,
    ) -> Result<(), Error> {
        let Some(mut large) = large else {
            return Ok(());
        };
        large.sort_by_key(|large| Reverse(large.weight));
        for LargeUnit {
            weight,
            unit,
            entry,
        } in large
        {
            plan.put_large_above(weight, packer)?;
            packer.end_block()?;
            let mut records = Vec::new();
            packer.add_old_record(&entry, 0, &mut records);
            for block in unit.blocks {
                packer.put_old_blocks(vec![TakenBlock {
                    location: self.previous.block(block).location,
                    records: std::mem::take(&mut records),
                    place: OldPlace::Moved,
                }])?;
            }
        }
        plan.put_large_above(0, packer)
    }

    /// Packs the unchanged entries of a unit again.
    fn put_entries(&mut self, unit: &Unit, packer: &mut Packer<'_>) -> Result<(), Error> {
        let previous = self.previous;
        let mut first = unit.entries.start;
        for number in unit.blocks.clone() {
            let block = previous.block(number);
            let raw = self.inflater.block(previous.archive(), &block.location);
            let raw = raw.map_err(|error| unusable(error.to_string()))?;
            let end = block.start + raw.len() as u64;
            let mut entry = first;
            while entry < unit.entries.end && previous.range(entry).start < end {
                let range = previous.range(entry);
                if previous.is_unchanged(entry) {
                    if range.start >= block.start {
                        let listed = self.entry(entry)?;
                        packer.begin_old_entry(&listed, range.end - range.start)?;
                    }
                    let from = range.start.max(block.start) - block.start;
                    let to = range.end.min(end) - block.start;
                    packer.put_old_bytes(&raw[from as usize..to as usize])?;
                }
                entry += 1;
                if range.end <= end {
                    first = entry;
                }
            }
        }
        Ok(())
    }
}
