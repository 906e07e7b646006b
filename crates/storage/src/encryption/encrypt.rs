//! Encrypts objects during their upload.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use age::Encryptor;
use age::stream::StreamWriter;
use bytes::Bytes;

use super::keys::Encryption;

/// The plain size of an age chunk, and the authentication tag that encryption adds to each.
const CHUNK_BYTES: u64 = 64 * 1024;
const TAG_BYTES: u64 = 16;
/// More than the size of an age header, with all its recipients.
const HEADER_BYTES_MAX: u64 = 16 * 1024;

/// Returns the maximum encrypted size of an object of at most `plain_bytes`.
pub(crate) fn encrypted_size_max(plain_bytes: u64) -> u64 {
    let chunks = plain_bytes.div_ceil(CHUNK_BYTES).max(1);
    plain_bytes
        .saturating_add(chunks.saturating_mul(TAG_BYTES))
        .saturating_add(HEADER_BYTES_MAX)
}

/// Encrypts one object. It buffers at most one chunk.
pub(crate) struct ObjectEncryptor {
    writer: StreamWriter<SharedBuffer>,
    encrypted: SharedBuffer,
}

/// The buffer that age writes to, and the encryptor reads from.
#[derive(Clone, Default)]
struct SharedBuffer(Arc<Mutex<Vec<u8>>>);

impl SharedBuffer {
    fn take(&self) -> Bytes {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *bytes).into()
    }
}

impl Write for SharedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ObjectEncryptor {
    /// Begins an object for all recipients of `keys`.
    pub(crate) fn begin(keys: &Encryption) -> io::Result<Self> {
        let encrypted = SharedBuffer::default();
        let encryptor = Encryptor::with_recipients(keys.recipients()).map_err(io::Error::other)?;
        let writer = encryptor.wrap_output(encrypted.clone())?;
        Ok(Self { writer, encrypted })
    }

    /// Encrypts bytes. Returns what can be stored already, which may be empty.
    pub(crate) fn encrypt(&mut self, plain: &[u8]) -> io::Result<Bytes> {
        self.writer.write_all(plain)?;
        Ok(self.encrypted.take())
    }

    /// Ends the object. Returns its last bytes.
    pub(crate) fn finish(self) -> io::Result<Bytes> {
        self.writer.finish()?;
        Ok(self.encrypted.take())
    }
}
