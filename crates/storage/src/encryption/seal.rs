//! Encrypts what is on its way to a disk.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use age::Encryptor;
use age::stream::StreamWriter;
use bytes::Bytes;

use super::Encryption;

/// Encrypts one object, piece by piece. It holds one piece and what was made of it, never more.
pub(crate) struct Seal {
    writer: StreamWriter<Sealed>,
    sealed: Sealed,
}

/// Where the writer leaves what it has encrypted.
#[derive(Clone, Default)]
struct Sealed(Arc<Mutex<Vec<u8>>>);

impl Sealed {
    fn take(&self) -> Bytes {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *bytes).into()
    }
}

impl Write for Sealed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seal {
    /// Begins an object that all recipients can read.
    pub(crate) fn begin(keys: &Encryption) -> io::Result<Self> {
        let sealed = Sealed::default();
        let encryptor = Encryptor::with_recipients(keys.recipients()).map_err(io::Error::other)?;
        let writer = encryptor.wrap_output(sealed.clone())?;
        Ok(Self { writer, sealed })
    }

    /// Takes the next bytes, and returns what is to be written now: it may be nothing.
    pub(crate) fn seal(&mut self, plain: &[u8]) -> io::Result<Bytes> {
        self.writer.write_all(plain)?;
        Ok(self.sealed.take())
    }

    /// Ends the object, and returns its last bytes.
    pub(crate) fn finish(self) -> io::Result<Bytes> {
        self.writer.finish()?;
        Ok(self.sealed.take())
    }
}
