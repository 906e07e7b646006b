//! Reads the contents of a file into the tar stream.

use std::os::fd::BorrowedFd;

use rustix::fs::{SeekFrom, Stat};
use rustix::io::Errno;

use super::{BLOCK_BYTES, Packer, SourceReader, entry_problem};
use crate::Error;
use crate::tar_format::Segment;

/// The most segments in a map. After that many, the rest of the file is stored as one segment.
const MAX_SEGMENTS: usize = 8192;

/// Returns the data ranges of a sparse file, or `None` if it has no holes.
pub(super) fn find_segments(file: BorrowedFd<'_>, stat: &Stat) -> Option<Vec<Segment>> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size == 0
        || u64::try_from(stat.st_blocks)
            .unwrap_or(0)
            .saturating_mul(512)
            >= size
    {
        return None;
    }
    let mut segments: Vec<Segment> = Vec::new();
    let mut at = 0;
    while at < size {
        if segments.len() == MAX_SEGMENTS {
            segments.push(Segment {
                offset: at,
                length: size - at,
            });
            break;
        }
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) if start < size => start,
            Ok(_) | Err(Errno::NXIO) => break,
            // The file system does not support holes.
            Err(_) => return None,
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))
            .ok()?
            .min(size);
        if end <= start {
            return None;
        }
        segments.push(Segment {
            offset: start,
            length: end - start,
        });
        at = end;
    }
    let end = segments.last().map_or(0, |last| last.offset + last.length);
    if segments.len() == 1 && segments[0].offset == 0 && end == size {
        return None;
    }
    if end < size {
        // GNU tar ends its maps with an empty segment at the end of the file.
        segments.push(Segment {
            offset: size,
            length: 0,
        });
    }
    Some(segments)
}

impl Packer<'_> {
    /// Reads `size` bytes of a file straight into the blocks.
    pub(super) fn put_plain(
        &mut self,
        mut file: SourceReader<'_>,
        path: &[u8],
        size: u64,
    ) -> Result<(), Error> {
        let mut left = size;
        while left > 0 {
            let before = self.room()?;
            let wanted = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(BLOCK_BYTES - before);
            self.block.raw.resize(before + wanted, 0);
            let read = file.read_at(&mut self.block.raw[before..], size - left);
            self.block
                .raw
                .truncate(before + *read.as_ref().unwrap_or(&0));
            let read = match read {
                Ok(0) => return self.fill(path, left, "it shrank while it was read"),
                Ok(read) => read as u64,
                Err(Errno::INTR) => 0,
                Err(error) => {
                    let reason = entry_problem("read", path, error)?;
                    return self.fill(path, left, &reason);
                }
            };
            left -= read;
            self.account(read)?;
        }
        Ok(())
    }

    /// Reads the segments of a sparse file.
    pub(super) fn put_segments(
        &mut self,
        mut file: SourceReader<'_>,
        path: &[u8],
        segments: &[Segment],
    ) -> Result<(), Error> {
        let mut missing = None;
        for segment in segments {
            let mut offset = segment.offset;
            let mut left = segment.length;
            while left > 0 {
                let before = self.room()?;
                let wanted = usize::try_from(left)
                    .unwrap_or(usize::MAX)
                    .min(BLOCK_BYTES - before);
                self.block.raw.resize(before + wanted, 0);
                let read = match file.read_at(&mut self.block.raw[before..], offset) {
                    Ok(0) => {
                        missing.get_or_insert_with(|| "it shrank while it was read".to_owned());
                        wanted
                    }
                    Ok(read) => read,
                    Err(Errno::INTR) => 0,
                    Err(error) => {
                        let reason = entry_problem("read", path, error)?;
                        missing.get_or_insert(reason);
                        wanted
                    }
                };
                self.block.raw.truncate(before + read);
                offset += read as u64;
                left -= read as u64;
                self.account(read as u64)?;
            }
        }
        if let Some(reason) = missing {
            self.is_complete = false;
            self.add_note(
                path,
                format!("{reason}; what was missing is filled with zeros"),
            );
        }
        Ok(())
    }

    /// Makes room in the block. Returns the number of bytes that it holds.
    fn room(&mut self) -> Result<usize, Error> {
        if self.block.raw.len() == BLOCK_BYTES {
            self.end_block()?;
        }
        if self.block.raw.capacity() < BLOCK_BYTES {
            self.block
                .raw
                .reserve_exact(BLOCK_BYTES - self.block.raw.len());
        }
        Ok(self.block.raw.len())
    }

    /// Counts bytes that were read, and waits if the read limit requires it.
    fn account(&mut self, bytes: u64) -> Result<(), Error> {
        self.totals.read_bytes += bytes;
        self.control.add_bytes(bytes);
        self.control.check()?;
        self.throttle.spend(bytes, self.control)
    }

    /// Fills the rest of a file with zeros, and adds a note.
    fn fill(&mut self, path: &[u8], left: u64, reason: &str) -> Result<(), Error> {
        self.is_complete = false;
        self.add_note(path, format!("{reason}; its last {left} bytes are zeros"));
        self.put_zeros(left)
    }

    /// Adds a note if the file has changed since its header was written.
    pub(super) fn note_changes(&mut self, file: BorrowedFd<'_>, path: &[u8], before: &Stat) {
        let Ok(after) = rustix::fs::fstat(file) else {
            return;
        };
        if after.st_size > before.st_size {
            let size = before.st_size;
            self.add_note(
                path,
                format!("it grew while it was read; it is cut at {size} bytes"),
            );
        } else if after.st_size == before.st_size
            && (after.st_mtime, after.st_mtime_nsec) != (before.st_mtime, before.st_mtime_nsec)
        {
            self.add_note(path, "it changed while it was read".into());
        }
    }
}
