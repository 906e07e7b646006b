//! Finds the parts of an archive that hold the selected entries.

use std::ops::Range;

use crate::blocks::BlockFeed;
use crate::index::{BlockLocation, IndexReader, Record};
use crate::selection::Selection;
use crate::tar_format::TAR_BLOCK;
use crate::{Control, Error};

/// A block, and the ranges of its bytes that are needed.
struct NeededBlock {
    location: BlockLocation,
    ranges: Vec<Range<usize>>,
    /// Where the latest selected entry begins in it, until the next entry.
    open: Option<usize>,
}

impl NeededBlock {
    /// Ends the range of the latest selected entry. Returns whether there was one.
    fn end_range(&mut self, end: usize) -> bool {
        let Some(start) = self.open.take() else {
            return false;
        };
        match self.ranges.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ if start == end => {}
            _ => self.ranges.push(start..end),
        }
        true
    }

    /// Sends the block if something of it is needed. Returns whether its last entry goes on.
    fn send(mut self, feed: &BlockFeed) -> (bool, bool) {
        let end = usize::try_from(self.location.raw).unwrap_or(usize::MAX);
        let goes_on = self.end_range(end);
        let is_read = self.ranges.is_empty() || feed.send(self.location, Some(self.ranges));
        (goes_on, is_read)
    }
}

/// Sends the blocks with selected entries, and the end of a tar stream.
pub(crate) fn send_selected(
    index: &IndexReader<'_>,
    selection: &Selection,
    control: &Control,
    feed: &BlockFeed,
) -> Result<(), Error> {
    let mut block: Option<NeededBlock> = None;
    let mut records = index.records();
    while let Some(record) = records.next()? {
        match record {
            Record::Block(location) => {
                control.check()?;
                let (goes_on, is_read) = block.map_or((false, true), |block| block.send(feed));
                if !is_read {
                    return Ok(());
                }
                block = Some(NeededBlock {
                    location,
                    ranges: Vec::new(),
                    open: goes_on.then_some(0),
                });
            }
            Record::Entry(entry, offset) => {
                let block = block
                    .as_mut()
                    .filter(|block| offset <= block.location.raw)
                    .ok_or_else(|| Error::corrupt("its index points beyond a block"))?;
                let offset = usize::try_from(offset).unwrap_or(usize::MAX);
                block.end_range(offset);
                if selection.takes(&entry.path, entry.kind)? {
                    block.open = Some(offset);
                }
            }
        }
    }
    if block.is_none_or(|block| block.send(feed).1) {
        feed.send_bytes(vec![0; 2 * TAR_BLOCK]);
    }
    Ok(())
}
