//! Reads an archive at any offset, wherever it is.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Bytes that several threads can read at any offset.
pub trait ReadAt: Send + Sync + Debug {
    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if there are not as many. Any other error if they cannot be
    /// read.
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Returns the number of bytes.
    ///
    /// # Errors
    /// If it cannot be found out.
    fn size(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Box<T> {
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).fill(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }
}
