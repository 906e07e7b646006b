//! Compresses new blocks, and reads and checks those of the previous archive.

use crc32fast::Hasher;
use crossbeam_channel::Receiver;

use super::{
    Block, BlockJob, BlockSource, OldPlace, PackedBytes, ReadyBlock, ReadyBlocks, TakenBlock,
};
use crate::compress::Compressor;
use crate::index::CONTENT_BYTES;
use crate::pace::Pace;
use crate::previous::{Previous, unusable};
use crate::{Control, Error};

/// Prepares blocks until the packer stops.
pub(super) fn prepare_blocks(
    queue: &Receiver<BlockJob>,
    level: u32,
    previous: Option<&Previous>,
    control: &Control,
) {
    let mut compressor = Compressor::new(level);
    let mut pace = Pace::new();
    for job in queue {
        pace.begin();
        let ready = match job.source {
            BlockSource::New(block) => {
                compress(&mut compressor, previous, block, job.bytes).map(|ready| vec![ready])
            }
            BlockSource::Old(old) => take_over(previous, old, job.bytes),
        };
        // Fails only if the writer has stopped after an error.
        let _ = job.done.send(ready);
        pace.rest(control);
    }
}

/// Compresses a block, or takes the compressed bytes of a block of the previous archive with the
/// same contents.
fn compress(
    compressor: &mut Compressor,
    previous: Option<&Previous>,
    block: Block,
    mut bytes: Vec<u8>,
) -> Result<ReadyBlock, Error> {
    let mut crc = Hasher::new();
    crc.update(&block.raw);
    let content = content_hash(&block.raw);
    let known = previous.and_then(|previous| {
        let location = previous.block_with(&content)?;
        let is_same =
            location.raw == block.raw.len() as u64 && location.crc == crc.clone().finalize();
        // A damaged block is no reason to fail: the new one is compressed.
        let is_read = is_same && previous.read_block(location, &mut bytes).is_ok();
        is_read.then_some(location.offset)
    });
    let origin = match known {
        Some(offset) => PackedBytes::Old(offset),
        None => {
            compressor.compress(&block.raw, &mut bytes)?;
            PackedBytes::New
        }
    };
    Ok(ReadyBlock {
        raw_bytes: block.raw.len(),
        packed_crc: crc32fast::hash(&bytes),
        block,
        packed_bytes: bytes.len(),
        bytes,
        origin,
        crc,
        content,
    })
}

/// Reads and checks blocks of the previous archive, unless the output does that.
fn take_over(
    previous: Option<&Previous>,
    old: Vec<TakenBlock>,
    mut buffer: Vec<u8>,
) -> ReadyBlocks {
    let previous = previous.ok_or_else(|| unusable("there is none"))?;
    let ready = old.into_iter().map(|old| {
        let TakenBlock {
            location,
            records,
            place,
        } = old;
        let reuse = location.reuse;
        let reuse = reuse.ok_or_else(|| unusable("its index lacks hashes"))?;
        let mut bytes = Vec::new();
        let origin = match place {
            OldPlace::Moved => {
                bytes = std::mem::take(&mut buffer);
                previous.read_block(&location, &mut bytes)?;
                PackedBytes::Old(location.offset)
            }
            OldPlace::Front => {
                previous.check_block(&location, &mut buffer)?;
                PackedBytes::Front(location.offset, reuse.sha256_state)
            }
            OldPlace::UnreadFront => PackedBytes::Front(location.offset, reuse.sha256_state),
        };
        let block = Block {
            raw: Vec::new(),
            records,
        };
        Ok(ReadyBlock {
            block,
            raw_bytes: usize::try_from(location.raw).unwrap_or(usize::MAX),
            bytes,
            packed_bytes: usize::try_from(location.packed).unwrap_or(usize::MAX),
            origin,
            crc: Hasher::new_with_initial_len(location.crc, location.raw),
            packed_crc: reuse.packed_crc,
            content: reuse.content,
        })
    });
    ready.collect()
}

/// Returns the start of the BLAKE3 of a block. It finds equal contents; nothing relies on it alone
/// for safety.
fn content_hash(raw: &[u8]) -> [u8; CONTENT_BYTES] {
    let mut hash = [0; CONTENT_BYTES];
    blake3::Hasher::new()
        .update(raw)
        .finalize_xof()
        .fill(&mut hash);
    hash
}
