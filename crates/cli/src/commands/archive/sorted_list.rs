//! Sorts the entries of an archive by path, in bounded memory.
//!
//! An archive has its entries in the order that suits the next backup. Chunks that fit into memory
//! are sorted and written to an unnamed temporary file, and then merged. The archive is read only
//! once, because without an index that may take minutes. Most archives fit into one chunk, which
//! needs no file.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;

use holdfast_archive::{EntryKind, ListedEntry};

/// The most bytes of entries in memory.
const CHUNK_BYTES: usize = 16 << 20;
/// An estimate of the bytes that an entry takes besides its path.
const ENTRY_BYTES: usize = 64;
/// Bytes of the buffer for each chunk in the file.
const BUFFER_BYTES: usize = 32 << 10;
/// The bytes before the path of an entry in the file.
const HEADER_BYTES: usize = 17;

/// What is shown of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListedRow {
    pub(super) path: Vec<u8>,
    pub(super) is_folder: bool,
    pub(super) mode: u32,
    pub(super) size: u64,
}

/// Entries that are being sorted.
pub(super) struct SortedList {
    chunk: Vec<ListedRow>,
    /// The bytes that the entries of the chunk take.
    used: usize,
    chunk_bytes: usize,
    spilled: Option<Spilled>,
}

/// Sorted chunks in a temporary file.
struct Spilled {
    file: File,
    /// The offset at which each chunk ends.
    ends: Vec<u64>,
}

impl SortedList {
    pub(super) fn new() -> Self {
        Self {
            chunk: Vec::new(),
            used: 0,
            chunk_bytes: CHUNK_BYTES,
            spilled: None,
        }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// If the temporary file cannot be written.
    pub(super) fn add(&mut self, entry: &ListedEntry) -> io::Result<()> {
        let used = entry.path.len() + ENTRY_BYTES;
        if self.used + used > self.chunk_bytes && !self.chunk.is_empty() {
            self.spill()?;
        }
        self.used += used;
        self.chunk.push(ListedRow {
            path: entry.path.clone(),
            is_folder: entry.kind == EntryKind::Directory,
            mode: entry.mode,
            size: entry.size,
        });
        Ok(())
    }

    /// Calls `each` for all entries, sorted. Entries with the same path keep their order.
    ///
    /// # Errors
    /// If the temporary file cannot be read, or the error of `each`.
    pub(super) fn for_each(
        mut self,
        mut each: impl FnMut(&ListedRow) -> io::Result<()>,
    ) -> io::Result<()> {
        sort(&mut self.chunk);
        let Some(spilled) = &self.spilled else {
            return self.chunk.iter().try_for_each(each);
        };
        let starts = std::iter::once(0).chain(spilled.ends.iter().copied());
        let mut chunks: Vec<Chunk<'_>> = starts
            .zip(&spilled.ends)
            .map(|(start, &end)| Chunk::File(ChunkReader::new(&spilled.file, start, end)))
            .collect();
        chunks.push(Chunk::Memory(self.chunk.into_iter()));
        let mut heads = BinaryHeap::new();
        for (number, chunk) in chunks.iter_mut().enumerate() {
            heads.extend(chunk.next()?.map(|row| Reverse(Head { row, number })));
        }
        while let Some(Reverse(Head { row, number })) = heads.pop() {
            each(&row)?;
            heads.extend(
                chunks[number]
                    .next()?
                    .map(|row| Reverse(Head { row, number })),
            );
        }
        Ok(())
    }

    /// Writes the chunk to the temporary file.
    fn spill(&mut self) -> io::Result<()> {
        sort(&mut self.chunk);
        let spilled = match &mut self.spilled {
            Some(spilled) => spilled,
            none => none.insert(Spilled {
                file: tempfile::tempfile().map_err(explain)?,
                ends: Vec::new(),
            }),
        };
        let mut length = spilled.ends.last().copied().unwrap_or(0);
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, &spilled.file);
        for row in self.chunk.drain(..) {
            row.write(&mut out).map_err(explain)?;
            length += (HEADER_BYTES + row.path.len()) as u64;
        }
        out.flush().map_err(explain)?;
        drop(out);
        spilled.ends.push(length);
        self.used = 0;
        Ok(())
    }
}

/// Names the folder of the temporary file in an error.
fn explain(error: io::Error) -> io::Error {
    let folder = std::env::temp_dir();
    let text = format!(
        "cannot use a temporary file in {} (set TMPDIR to use another folder): {error}",
        folder.display()
    );
    io::Error::new(error.kind(), text)
}

fn sort(rows: &mut [ListedRow]) {
    rows.sort_by(|left, right| compare_paths(&left.path, &right.path));
}

/// Compares two paths name by name, so that a folder comes right before its contents.
fn compare_paths(left: &[u8], right: &[u8]) -> Ordering {
    let rank = |byte: Option<&u8>| match byte {
        None => 0,
        Some(b'/') => 1,
        Some(&byte) => 2 + u16::from(byte),
    };
    let pairs = left.iter().zip(right);
    let at = pairs.take_while(|(left, right)| left == right).count();
    rank(left.get(at)).cmp(&rank(right.get(at)))
}

impl ListedRow {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let length = u32::try_from(self.path.len()).map_err(io::Error::other)?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(&[u8::from(self.is_folder)])?;
        out.write_all(&self.mode.to_le_bytes())?;
        out.write_all(&self.size.to_le_bytes())?;
        out.write_all(&self.path)
    }

    fn read(input: &mut impl Read) -> io::Result<Self> {
        let (mut length, mut is_folder) = ([0; 4], [0]);
        let (mut mode, mut size) = ([0; 4], [0; 8]);
        input.read_exact(&mut length)?;
        input.read_exact(&mut is_folder)?;
        input.read_exact(&mut mode)?;
        input.read_exact(&mut size)?;
        let mut path = vec![0; u32::from_le_bytes(length) as usize];
        input.read_exact(&mut path)?;
        Ok(Self {
            path,
            is_folder: is_folder != [0],
            mode: u32::from_le_bytes(mode),
            size: u64::from_le_bytes(size),
        })
    }
}

/// A sorted chunk that is being merged.
enum Chunk<'a> {
    File(ChunkReader<'a>),
    Memory(std::vec::IntoIter<ListedRow>),
}

impl Chunk<'_> {
    fn next(&mut self) -> io::Result<Option<ListedRow>> {
        match self {
            Self::File(reader) => reader.next().map_err(explain),
            Self::Memory(rows) => Ok(rows.next()),
        }
    }
}

/// Reads a chunk of the temporary file.
struct ChunkReader<'a> {
    input: BufReader<FileRange<'a>>,
    /// Bytes that were not read yet.
    left: u64,
}

impl<'a> ChunkReader<'a> {
    fn new(file: &'a File, at: u64, end: u64) -> Self {
        let range = FileRange { file, at };
        Self {
            input: BufReader::with_capacity(BUFFER_BYTES, range),
            left: end - at,
        }
    }

    fn next(&mut self) -> io::Result<Option<ListedRow>> {
        if self.left == 0 {
            return Ok(None);
        }
        let row = ListedRow::read(&mut self.input)?;
        let length = (HEADER_BYTES + row.path.len()) as u64;
        self.left = self.left.saturating_sub(length);
        Ok(Some(row))
    }
}

/// A file from an offset on, without a cursor that chunks would share.
struct FileRange<'a> {
    file: &'a File,
    at: u64,
}

impl Read for FileRange<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The first entry of a chunk that was not shown yet.
struct Head {
    row: ListedRow,
    /// Chunks with a lower number were added before.
    number: usize,
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_path = compare_paths(&self.row.path, &other.row.path);
        by_path.then(self.number.cmp(&other.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, size: u64) -> ListedEntry {
        ListedEntry {
            path: path.as_bytes().to_vec(),
            kind: EntryKind::File,
            link: Vec::new(),
            size,
            stored: size,
            sparse: false,
            mode: 0o640,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            device: 0,
            inode: 0,
            ctime: (0, 0),
        }
    }

    fn sorted(entries: &[ListedEntry], chunk_bytes: usize) -> Vec<ListedRow> {
        let mut list = SortedList::new();
        list.chunk_bytes = chunk_bytes;
        for entry in entries {
            list.add(entry).expect("a temporary file");
        }
        let mut rows = Vec::new();
        let taken = list.for_each(|row| {
            rows.push(row.clone());
            Ok(())
        });
        taken.expect("a temporary file");
        rows
    }

    #[test]
    fn a_folder_comes_right_before_its_contents_and_names_are_in_byte_order() {
        let expected = [
            "B", "a", "a/\u{1}", "a/b", "a/b/c", "a/ü", "a\u{1}", "a-", "a-/x", "a.b", "ab", "ü",
        ];
        let mut mixed = expected;
        mixed.reverse();
        mixed.swap(1, 7);
        let entries = mixed.map(|path| entry(path, 1));
        for chunk_bytes in [1, 200, CHUNK_BYTES] {
            let rows = sorted(&entries, chunk_bytes);
            let paths: Vec<&[u8]> = rows.iter().map(|row| row.path.as_slice()).collect();
            assert_eq!(paths, expected.map(str::as_bytes), "{chunk_bytes}");
        }
    }

    #[test]
    fn many_chunks_give_the_same_as_one_and_equal_paths_keep_their_order() {
        let entries: Vec<ListedEntry> = (0..5000_u64)
            .map(|n| entry(&format!("{}/file-{}", n * 7919 % 97, n * 31 % 1000), n))
            .collect();
        let mut expected: Vec<ListedRow> = sorted(&entries, CHUNK_BYTES);
        assert_eq!(expected.len(), 5000);
        for chunk_bytes in [1, 1000, 100_000] {
            assert!(sorted(&entries, chunk_bytes) == expected, "{chunk_bytes}");
        }
        let same: Vec<ListedEntry> = (0..300).map(|n| entry("same", n)).collect();
        expected = sorted(&same, 1000);
        let sizes: Vec<u64> = expected.iter().map(|row| row.size).collect();
        assert_eq!(sizes, (0..300).collect::<Vec<u64>>());
        let row = &expected[7];
        assert_eq!((row.is_folder, row.mode), (false, 0o640));
    }
}
