//! Which pages of a file are in the page cache.

use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use rustix::io::Errno;

/// Returns the size of a page in bytes.
#[expect(unsafe_code, reason = "rustix has this only with another feature")]
pub fn page_bytes() -> usize {
    // SAFETY: The call reads a constant of the system.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096)
}

/// Returns for each page of a part of a file whether it is in the page cache. Reads nothing from
/// the disk. `offset` must be a multiple of [`page_bytes`].
///
/// If this process could not write to the file either, the kernel states that every page is there.
///
/// # Errors
/// [`Errno`] if the file system or the limit of memory does not allow to map the file.
#[expect(unsafe_code, reason = "no crate wraps mincore safely")]
pub fn resident_pages(file: impl AsFd, offset: u64, length: usize) -> Result<Vec<bool>, Errno> {
    let offset = libc::off_t::try_from(offset).map_err(|_| Errno::OVERFLOW)?;
    let mut pages = vec![0_u8; length.div_ceil(page_bytes())];
    if pages.is_empty() {
        return Ok(Vec::new());
    }
    // SAFETY: The kernel chooses the address. The mapping gives no right to read it, it is never
    // dereferenced, and it is removed below.
    let address = unsafe {
        let file = file.as_fd().as_raw_fd();
        libc::mmap(
            ptr::null_mut(),
            length,
            libc::PROT_NONE,
            libc::MAP_SHARED,
            file,
            offset,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(last_error());
    }
    // SAFETY: The range is the mapping from above. The kernel writes one byte for each of its
    // pages, which is the length of `pages`.
    let result = unsafe { libc::mincore(address, length, pages.as_mut_ptr()) };
    let outcome = if result == -1 {
        Err(last_error())
    } else {
        Ok(())
    };
    // SAFETY: The range is the mapping from above, and nothing refers to it.
    let unmapped = unsafe { libc::munmap(address, length) };
    if unmapped == -1 {
        return Err(last_error());
    }
    outcome?;
    Ok(pages.into_iter().map(|page| page & 1 == 1).collect())
}

fn last_error() -> Errno {
    let error = std::io::Error::last_os_error();
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_were_just_written_are_in_the_cache() {
        let file = tempfile::tempfile().expect("a file");
        let page = page_bytes();
        file.set_len(3 * page as u64).expect("its size");
        rustix::io::pwrite(&file, &[1; 10], page as u64).expect("a write");
        let pages = resident_pages(&file, 0, 3 * page).expect("its pages");
        assert_eq!(pages.len(), 3);
        assert!(pages[1], "{pages:?}");
        let last = resident_pages(&file, page as u64, 5).expect("its pages");
        assert_eq!(last, [true]);
        assert!(resident_pages(&file, 0, 0).expect("no pages").is_empty());
    }
}
