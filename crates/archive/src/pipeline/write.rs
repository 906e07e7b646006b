//! Writes blocks in their order, and the index beside them.

use std::io::{self, Write};

use crc32fast::Hasher;
use crossbeam_channel::{Receiver, Sender};

use super::{Block, FILLED_BYTES_MIN, Front, PackedBytes, ReadyBlock, WriteStep};
use crate::Error;
use crate::compress::{FINAL_BLOCK, GZIP_HEADER};
use crate::file_system::is_disk_full;
use crate::filler::{filler, filler_bytes};
use crate::index::{BlockReuse, CreatedWith, IndexTotals, IndexWriter};
use crate::output::ArchiveOutput;
use crate::previous::unusable;
use crate::resumable_hash::ResumableSha256;

/// Hash and size of an archive that was written completely.
pub(crate) struct WrittenArchive {
    pub(crate) sha256: [u8; 32],
    pub(crate) archive_bytes: u64,
    /// Compressed bytes that the previous archive has, too.
    pub(crate) taken_bytes: u64,
}

/// Writes blocks in their order. Returns `None` if the packer stopped before the end.
pub(super) fn write_blocks(
    order: &Receiver<WriteStep>,
    give_back: &Sender<(Block, Vec<u8>)>,
    mut archive: HashedOutput<'_>,
    index: impl Write,
    created_with: CreatedWith,
) -> Result<Option<WrittenArchive>, Error> {
    let mut index = IndexWriter::new(index).map_err(Error::Output)?;
    let mut crc = Hasher::new();
    let mut tar_bytes = 0_u64;
    for step in order {
        let ready = match step {
            WriteStep::Blocks(ready) => ready,
            WriteStep::End(end) => {
                archive.write(&FINAL_BLOCK)?;
                archive.write(&crc.finalize().to_le_bytes())?;
                // The gzip trailer holds the length modulo 2^32.
                archive.write(&(tar_bytes as u32).to_le_bytes())?;
                let written = archive.finish()?;
                let totals = IndexTotals {
                    tar_bytes,
                    archive_bytes: written.archive_bytes,
                    ..end.totals
                };
                let created_with = CreatedWith {
                    is_complete: end.is_complete,
                    ..created_with
                };
                index
                    .finish(&totals, created_with, &written.sha256)
                    .map_err(Error::Output)?;
                return Ok(Some(written));
            }
        };
        let Ok(ready) = ready.recv() else {
            return Ok(None);
        };
        for ready in ready? {
            let filler = archive.fill_before(&ready)?;
            if filler > 0 {
                index.filler(filler);
            }
            let sha256_state = archive.write_block(&ready)?;
            tar_bytes += ready.raw_bytes as u64;
            let reuse = BlockReuse {
                packed_crc: ready.packed_crc,
                sha256_state,
                content: ready.content,
            };
            let (raw, packed) = (ready.raw_bytes, ready.packed_bytes);
            let block_crc = ready.crc.clone().finalize();
            index
                .block(raw, packed, block_crc, &reuse, &ready.block.records)
                .map_err(Error::Output)?;
            crc.combine(&ready.crc);
            // A full channel means that there are enough buffers.
            let _ = give_back.try_send((ready.block, ready.bytes));
        }
    }
    Ok(None)
}

/// Maps an error of taking bytes over. Except on a full disk, the previous archive may be the
/// reason, and another attempt without it finds out.
fn take_error(error: io::Error) -> Error {
    if is_disk_full(&error) {
        Error::Output(error)
    } else {
        unusable(format!("its bytes cannot be copied: {error}"))
    }
}

/// The output of an archive, which hashes, counts and limits its bytes.
pub(super) struct HashedOutput<'a> {
    inner: &'a mut dyn ArchiveOutput,
    hash: ResumableSha256,
    written: u64,
    limit: Option<u64>,
    taken_bytes: u64,
    /// The end of the latest block.
    end: u64,
}

impl<'a> HashedOutput<'a> {
    /// Begins an archive with its header, or with the front of the previous one.
    pub(super) fn begin(
        inner: &'a mut dyn ArchiveOutput,
        limit: Option<u64>,
        front: Option<Front>,
    ) -> Result<Self, Error> {
        let mut output = Self {
            inner,
            hash: ResumableSha256::new(),
            written: 0,
            limit,
            taken_bytes: 0,
            end: GZIP_HEADER.len() as u64,
        };
        let Some(front) = front else {
            output.write(&GZIP_HEADER)?;
            return Ok(output);
        };
        let length = front.last.offset + front.last.packed;
        let state = front.last.reuse.map(|reuse| reuse.sha256_state);
        output.count(length)?;
        output.taken_bytes += length;
        output
            .inner
            .take_front(length, front.crc)
            .map_err(take_error)?;
        output.hash = ResumableSha256::resume(&state.unwrap_or_default(), length, &front.rest);
        Ok(output)
    }

    fn count(&mut self, bytes: u64) -> Result<(), Error> {
        self.written += bytes;
        match self.limit {
            Some(limit_bytes) if self.written > limit_bytes => Err(Error::TooLarge { limit_bytes }),
            _ => Ok(()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.count(bytes.len() as u64)?;
        self.inner.write(bytes).map_err(Error::Output)?;
        self.hash.update(bytes);
        Ok(())
    }

    /// Writes filler before a block of the previous archive, so that the file system can share its
    /// pages. Returns how much there is, also before a block of the front.
    fn fill_before(&mut self, ready: &ReadyBlock) -> Result<u64, Error> {
        match ready.origin {
            PackedBytes::Front(offset, _) => Ok(offset - self.end),
            PackedBytes::Old(offset) if ready.bytes.len() >= FILLED_BYTES_MIN => {
                let Some(page) = self.inner.page_bytes() else {
                    return Ok(0);
                };
                let length = filler_bytes(self.written, offset, page);
                let bytes = usize::try_from(length).ok().and_then(filler);
                self.write(&bytes.unwrap_or_default())?;
                Ok(length)
            }
            _ => Ok(0),
        }
    }

    /// Writes a block, and returns the state of the hash after it.
    fn write_block(&mut self, ready: &ReadyBlock) -> Result<[u8; 32], Error> {
        match ready.origin {
            PackedBytes::New => self.write(&ready.bytes)?,
            PackedBytes::Old(offset) => {
                self.count(ready.bytes.len() as u64)?;
                let taken = self.inner.take(offset, &ready.bytes);
                taken.map_err(take_error)?;
                self.hash.update(&ready.bytes);
                self.taken_bytes += ready.bytes.len() as u64;
            }
            PackedBytes::Front(offset, state) => {
                self.end = offset + ready.packed_bytes as u64;
                return Ok(state);
            }
        }
        self.end = self.written;
        Ok(self.hash.state())
    }

    fn finish(self) -> Result<WrittenArchive, Error> {
        self.inner.flush().map_err(Error::Output)?;
        Ok(WrittenArchive {
            sha256: self.hash.finish(),
            archive_bytes: self.written,
            taken_bytes: self.taken_bytes,
        })
    }
}
