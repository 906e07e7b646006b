//! Where an archive is written to, in pieces: new bytes, and bytes of the previous archive.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

/// Receives an archive in pieces, in their order.
pub trait ArchiveOutput: Send {
    /// Writes bytes.
    ///
    /// # Errors
    /// If the archive cannot be written.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns whether [`Self::take_front`] can be used. It is asked once, before anything is
    /// written.
    fn takes_front(&self) -> bool {
        false
    }

    /// Begins with the first `length` bytes of the previous archive. Nothing was written before.
    ///
    /// # Errors
    /// If the archive cannot be written, or the previous one cannot be read.
    fn take_front(&mut self, length: u64) -> io::Result<()>;

    /// Writes bytes that the previous archive has at `offset`.
    ///
    /// # Errors
    /// If the archive cannot be written.
    fn take(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let _ = offset;
        self.write(bytes)
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// If the archive cannot be written.
    fn flush(&mut self) -> io::Result<()>;
}

/// Writes an archive without the help of the previous one.
#[derive(Debug)]
pub struct PlainOutput<W>(pub W);

impl<W: Write + Send> ArchiveOutput for PlainOutput<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn take_front(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Writes an archive to an empty file, after the previous one on the same machine. Its front is
/// copied by the kernel. A file system that can shares it.
#[derive(Debug)]
pub struct FileOutput<'a> {
    /// The new archive.
    pub file: &'a File,
    /// The previous archive.
    pub previous: &'a File,
}

impl ArchiveOutput for FileOutput<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.file;
        file.write_all(bytes)
    }

    fn takes_front(&self) -> bool {
        true
    }

    fn take_front(&mut self, length: u64) -> io::Result<()> {
        copy_front(self.previous, self.file, length)?;
        rustix::fs::seek(self.file, rustix::fs::SeekFrom::Start(length))?;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Copies the first `length` bytes, in the kernel where it can.
fn copy_front(from: &File, to: &File, length: u64) -> io::Result<()> {
    /// A file system shares only whole pages.
    const PAGE: u64 = 4096;
    const PART: u64 = 1 << 30;
    let (mut read, mut written) = (0, 0);
    while read < length {
        let left = (length - read).min(PART);
        let now = if left > PAGE {
            left - left % PAGE
        } else {
            left
        };
        let now = usize::try_from(now).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut written), now) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            // The kernel cannot copy between these files.
            Err(
                Errno::XDEV
                | Errno::INVAL
                | Errno::OPNOTSUPP
                | Errno::NOSYS
                | Errno::PERM
                | Errno::BADF,
            ) => return copy_rest(from, to, read, length),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn copy_rest(from: &File, to: &File, mut at: u64, end: u64) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    while at < end {
        let now = usize::try_from(end - at).unwrap_or(usize::MAX);
        let part = now.min(buffer.len());
        from.read_exact_at(&mut buffer[..part], at)?;
        to.write_all_at(&buffer[..part], at)?;
        at += part as u64;
    }
    Ok(())
}
