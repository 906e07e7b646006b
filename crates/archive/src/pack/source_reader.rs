//! Reads a file so that the page cache holds afterwards what it held before.
//!
//! The game uses the pages that are cached, so they stay. Pages that a backup alone reads are
//! removed again: otherwise a large backup would replace everything that other programs have
//! cached.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::os::fd::BorrowedFd;

use rustix::fs::Advice;
use rustix::io::{Errno, IoSliceMut, ReadWriteFlags};

use holdfast_ioctl::{page_bytes, resident_pages};

/// How far ahead of a read the state of the pages is asked for. The kernel reads ahead less than
/// this (`read_ahead_kb`; often 128 KiB, in clouds up to 8 MiB), so no page that it has read for
/// the backup counts as cached before.
const AHEAD_BYTES: u64 = 32 << 20;
/// The fewest bytes whose pages are asked for at once.
const STEP_BYTES: u64 = 1 << 20;

/// A file of the source.
pub(super) struct SourceReader<'a> {
    file: BorrowedFd<'a>,
    size: u64,
    cache: Cache,
}

/// What is known about the pages of a file.
enum Cache {
    /// Everything that was read so far came from the cache.
    Hit,
    /// Some pages had to be read.
    Miss(Pages),
    /// The system does not say which pages are cached, so none is removed.
    Unknown,
}

/// Pages of a file, as they were before the backup read anything near them.
#[derive(Default)]
struct Pages {
    /// The number of the first page in `cached`.
    first: u64,
    /// Whether each page was cached.
    cached: VecDeque<bool>,
    /// The first of the uncached pages directly before `first`.
    uncached_since: Option<u64>,
}

impl<'a> SourceReader<'a> {
    pub(super) fn new(file: BorrowedFd<'a>, size: u64) -> Self {
        Self {
            file,
            size,
            cache: Cache::Hit,
        }
    }

    /// Reads bytes at an offset, which may only grow. Returns fewer than asked for at any time, and
    /// 0 at the end.
    pub(super) fn read_at(&mut self, into: &mut [u8], offset: u64) -> Result<usize, Errno> {
        if matches!(self.cache, Cache::Hit) {
            // This neither reads from the disk nor reads ahead.
            let flags = ReadWriteFlags::NOWAIT;
            let mut slices = [IoSliceMut::new(into)];
            match rustix::io::preadv2(self.file, &mut slices, offset, flags) {
                Ok(read) => return Ok(read),
                // EAGAIN means that the page is not cached. EOPNOTSUPP means that the file system
                // cannot tell. Any other error comes again below.
                Err(error) => self.begin_miss(offset, error == Errno::AGAIN),
            }
        }
        let Cache::Miss(pages) = &mut self.cache else {
            return rustix::io::pread(self.file, into, offset);
        };
        let end = offset.saturating_add(into.len() as u64);
        pages.skip_to(offset);
        if pages.look_ahead(self.file, self.size, end).is_err() {
            self.cache = Cache::Unknown;
            return rustix::io::pread(self.file, into, offset);
        }
        let read = rustix::io::pread(self.file, into, offset)?;
        pages.remove_uncached(self.file, self.size, offset + read as u64);
        Ok(read)
    }

    /// Begins to ask which pages are cached. `is_absent` means that the page at `offset` is not;
    /// otherwise the file system cannot tell.
    fn begin_miss(&mut self, offset: u64, is_absent: bool) {
        let page = page_bytes() as u64;
        let mut pages = Pages {
            first: offset / page,
            ..Pages::default()
        };
        if is_absent && self.size <= page {
            // It is the only page. Many files are that small.
            pages.cached.push_back(false);
        }
        self.cache = Cache::Miss(pages);
    }
}

impl Pages {
    /// Forgets the pages before `offset`, if all pages that are known lie before it: those of a
    /// hole are not read.
    fn skip_to(&mut self, offset: u64) {
        let page = offset / page_bytes() as u64;
        if page >= self.first + self.cached.len() as u64 {
            *self = Self {
                first: page,
                ..Self::default()
            };
        }
    }

    /// Makes sure that the state of all pages up to `end`, and of those that the kernel may read
    /// ahead, is known.
    fn look_ahead(&mut self, file: BorrowedFd<'_>, size: u64, end: u64) -> Result<(), Errno> {
        let page = page_bytes() as u64;
        let known = (self.first + self.cached.len() as u64) * page;
        let wanted = end.saturating_add(AHEAD_BYTES).min(size);
        if known >= wanted || (wanted < size && known + STEP_BYTES > wanted) {
            return Ok(());
        }
        let length = usize::try_from(wanted - known).map_err(|_| Errno::OVERFLOW)?;
        self.cached.extend(resident_pages(file, known, length)?);
        Ok(())
    }

    /// Removes the pages before `end` that were not cached. A page that is not read to its end
    /// stays until the next call.
    fn remove_uncached(&mut self, file: BorrowedFd<'_>, size: u64, end: u64) {
        let page = page_bytes() as u64;
        let until = if end >= size {
            end.div_ceil(page)
        } else {
            end / page
        };
        while self.first < until {
            let Some(was_cached) = self.cached.pop_front() else {
                break;
            };
            if was_cached {
                self.remove_run(file);
                self.uncached_since = None;
            } else {
                self.uncached_since.get_or_insert(self.first);
            }
            self.first += 1;
        }
        self.remove_run(file);
    }

    /// Removes the pages from `uncached_since` to `first`. The kernel may keep several pages as one
    /// unit, and removes a unit only if all of it is in the range. So the range begins again at
    /// pages that were removed before, as far as a unit can reach.
    fn remove_run(&self, file: BorrowedFd<'_>) {
        let page = page_bytes() as u64;
        let Some(since) = self.uncached_since else {
            return;
        };
        let since = since.max(self.first.saturating_sub(AHEAD_BYTES / page));
        if let Some(length) = NonZeroU64::new((self.first - since) * page) {
            // Pages that stay cached cost memory, and nothing else.
            let _ = rustix::fs::fadvise(file, since * page, Some(length), Advice::DontNeed);
        }
    }
}
