//! Where an archive is written to, in pieces: new bytes, and bytes of the previous archive.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

use crate::file_system::shares_pages;

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

    /// Returns whether [`Self::take_front`] checks what it takes over. Otherwise the engine reads
    /// and checks it.
    fn checks_front(&self) -> bool {
        false
    }

    /// Begins with the first `length` bytes of the previous archive, whose CRC-32 is `crc`. Nothing
    /// was written before.
    ///
    /// # Errors
    /// If the archive cannot be written, or the previous one cannot be read.
    fn take_front(&mut self, length: u64, crc: u32) -> io::Result<()>;

    /// Returns the page size if the output can share pages with the previous archive. A page is
    /// shared only if it starts at the start of a page in both archives.
    fn page_bytes(&self) -> Option<u64> {
        None
    }

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

    fn take_front(&mut self, _: u64, _: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Writes an archive to an empty file, after the previous one on the same machine. Where the file
/// system can share pages, both archives have them in common.
#[derive(Debug)]
pub struct FileOutput<'a> {
    file: &'a File,
    previous: &'a File,
    shares: bool,
    /// The end of what is written.
    at: u64,
    shared_bytes: u64,
}

/// The size of a page that file systems share.
const PAGE_BYTES: u64 = 4096;

impl<'a> FileOutput<'a> {
    /// Begins to write `file`, which is empty.
    #[must_use]
    pub fn new(file: &'a File, previous: &'a File) -> Self {
        Self {
            file,
            previous,
            shares: shares_pages(file),
            at: 0,
            shared_bytes: 0,
        }
    }

    /// Continues a file that holds `length` bytes.
    #[must_use]
    pub fn after(self, length: u64) -> Self {
        Self { at: length, ..self }
    }

    /// Returns how many bytes both files have in common, on a file system that shares pages.
    #[must_use]
    pub fn shared_bytes(&self) -> u64 {
        self.shared_bytes
    }

    /// Copies bytes that the previous archive has at `offset`.
    ///
    /// # Errors
    /// If the archive cannot be written, or the previous one cannot be read.
    pub fn copy(&mut self, offset: u64, length: u64) -> io::Result<()> {
        copy(self.previous, self.file, offset, self.at, length)?;
        self.at += length;
        if self.shares {
            self.shared_bytes += length;
        }
        Ok(())
    }
}

impl ArchiveOutput for FileOutput<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn takes_front(&self) -> bool {
        true
    }

    fn take_front(&mut self, length: u64, _: u32) -> io::Result<()> {
        self.copy(0, length)
    }

    fn page_bytes(&self) -> Option<u64> {
        self.shares.then_some(PAGE_BYTES)
    }

    fn take(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let lead = (PAGE_BYTES - self.at % PAGE_BYTES) % PAGE_BYTES;
        let length = bytes.len() as u64;
        let pages = length.saturating_sub(lead) / PAGE_BYTES * PAGE_BYTES;
        let is_aligned = offset % PAGE_BYTES == self.at % PAGE_BYTES;
        if !self.shares || !is_aligned || pages == 0 {
            return self.write(bytes);
        }
        // The rest of the first page, whole pages, and the start of the last one.
        let (lead_bytes, rest) = bytes.split_at(usize::try_from(lead).unwrap_or(bytes.len()));
        self.write(lead_bytes)?;
        self.copy(offset + lead, pages)?;
        self.write(&rest[usize::try_from(pages).unwrap_or(rest.len())..])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Copies `length` bytes between two files, in the kernel where it can.
fn copy(from: &File, to: &File, mut read: u64, mut written: u64, length: u64) -> io::Result<()> {
    const PART: u64 = 1 << 30;
    let end = read + length;
    while read < end {
        let left = (end - read).min(PART);
        // A file system shares only whole pages.
        let now = if left > PAGE_BYTES {
            left - left % PAGE_BYTES
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
            ) => return copy_by_reading(from, to, read, written, end),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn copy_by_reading(
    from: &File,
    to: &File,
    mut read: u64,
    mut written: u64,
    end: u64,
) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    while read < end {
        let left = usize::try_from(end - read).unwrap_or(usize::MAX);
        let part = left.min(buffer.len());
        from.read_exact_at(&mut buffer[..part], read)?;
        to.write_all_at(&buffer[..part], written)?;
        read += part as u64;
        written += part as u64;
    }
    Ok(())
}
