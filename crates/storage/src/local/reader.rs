//! Reads an object of a local disk, in chunks, on blocking threads.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::LocalDisk;
use super::file_system::{UNCACHE_BYTES, uncache};
use crate::error::Error;
use crate::key::StorageKey;

/// The size of the chunks that are read.
const CHUNK_BYTES: usize = 256 * 1024;

/// The bytes of a file or of a range of it.
#[derive(Debug)]
pub(crate) struct LocalReader {
    disk: Arc<LocalDisk>,
    key: StorageKey,
    /// `None` during a read on another thread, and after an error.
    file: Option<File>,
    object_bytes: u64,
    left_bytes: u64,
    /// Bytes read since some were last removed from the page cache.
    read_bytes: u64,
}

impl LocalDisk {
    pub(crate) async fn read(
        self: &Arc<Self>,
        key: StorageKey,
        range: Range<u64>,
    ) -> Result<LocalReader, Error> {
        let opened = self.run_blocking(key, move |disk| {
            let mut file = disk.open_file(key)?;
            let object_bytes = file.metadata()?.len();
            file.seek(SeekFrom::Start(range.start.min(object_bytes)))?;
            let left_bytes = range.end.min(object_bytes).saturating_sub(range.start);
            Ok((file, object_bytes, left_bytes))
        });
        let (file, object_bytes, left_bytes) = opened.await?;
        Ok(LocalReader {
            disk: Arc::clone(self),
            key,
            file: Some(file),
            object_bytes,
            left_bytes,
            read_bytes: 0,
        })
    }
}

impl LocalReader {
    pub(crate) fn object_bytes(&self) -> u64 {
        self.object_bytes
    }

    pub(crate) fn left_bytes(&self) -> u64 {
        self.left_bytes
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.left_bytes == 0 {
            return Ok(None);
        }
        let Some(mut file) = self.file.take() else {
            let source = io::Error::other("an earlier read failed");
            return Err(self.disk.io_error(self.key, source));
        };
        let length = usize::try_from(self.left_bytes).map_or(CHUNK_BYTES, |n| n.min(CHUNK_BYTES));
        let before = self.read_bytes;
        let read = self.disk.run_blocking(self.key, move |_| {
            let mut chunk = BytesMut::zeroed(length);
            let length = file.read(&mut chunk)?;
            chunk.truncate(length);
            if before + length as u64 >= UNCACHE_BYTES {
                let end = file.stream_position()?;
                uncache(&file, end.saturating_sub(before + length as u64)..end);
            }
            Ok((file, chunk.freeze()))
        });
        let (file, chunk) = read.await?;
        if chunk.is_empty() {
            let source = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(self.disk.io_error(self.key, source));
        }
        self.file = Some(file);
        self.left_bytes -= chunk.len() as u64;
        self.read_bytes = match before + chunk.len() as u64 {
            read if read >= UNCACHE_BYTES => 0,
            read => read,
        };
        Ok(Some(chunk))
    }
}
