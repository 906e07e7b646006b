//! Turns what a walk finds into the blocks of a tar stream.
//!
//! What a file's header says is what follows it, byte for byte, whatever happens to the file meanwhile:
//! one that shrinks is filled up, one that grows is cut, and both are noted. Where a block ends depends
//! only on what stands before.

mod contents;

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::compress::BLOCK;
use crate::directory::Identity;
use crate::index::{EntryRecords, IndexTotals, Origin};
use crate::pipeline::{Block, Sink};
use crate::summary::Notes;
use crate::tar_format::{Entry, Kind, RECORD, Time, encode, map_text, padding};
use crate::throttle::Throttle;
use crate::walk::{Place, Visitor, cannot};
use crate::{Control, CreateOptions, Error};

/// A block this full is closed rather than letting the next entry reach over its end.
const FULL_ENOUGH: usize = BLOCK / 8;

/// What was packed.
pub(crate) struct Packed {
    pub(crate) source_bytes: u64,
    pub(crate) files: u64,
    pub(crate) entries: u64,
    pub(crate) notes: Notes,
}

/// A visitor that packs.
pub(crate) struct Packer<'a> {
    control: &'a Control,
    sink: &'a mut Sink,
    xattrs: bool,
    throttle: Throttle,
    block: Block,
    records: EntryRecords,
    /// Files with more than one name, by identity: their first path and the names yet to come.
    linked: HashMap<Identity, (Vec<u8>, u64)>,
    header: Vec<u8>,
    packed: Packed,
    disk_bytes: u64,
}

impl<'a> Packer<'a> {
    pub(crate) fn new(options: &CreateOptions, control: &'a Control, sink: &'a mut Sink) -> Self {
        Self {
            control,
            sink,
            xattrs: options.xattrs,
            throttle: Throttle::new(options.read_limit_bytes_per_second),
            block: Block::default(),
            records: EntryRecords::default(),
            linked: HashMap::new(),
            header: Vec::new(),
            packed: Packed {
                source_bytes: 0,
                files: 0,
                entries: 0,
                notes: Notes::default(),
            },
            disk_bytes: 0,
        }
    }

    /// Ends the tar stream.
    pub(crate) fn finish(mut self) -> Result<(Packed, IndexTotals), Error> {
        self.put(&[0; 2 * RECORD])?;
        self.cut()?;
        let totals = IndexTotals {
            entries: self.packed.entries,
            files: self.packed.files,
            source_bytes: self.packed.source_bytes,
            disk_bytes: self.disk_bytes,
            ..IndexTotals::default()
        };
        Ok((self.packed, totals))
    }

    /// Writes the header of an entry; its `stored` bytes must follow.
    fn entry(&mut self, entry: &Entry, stat: &Stat) -> Result<(), Error> {
        const PAGE: u64 = 4096;
        self.header.clear();
        encode(entry, &mut self.header);
        let whole = self.header.len() as u64 + entry.stored;
        if self.block.raw.len() >= FULL_ENOUGH && self.block.raw.len() as u64 + whole > BLOCK as u64
        {
            self.cut()?;
        }
        if self.block.raw.len() == BLOCK {
            self.cut()?;
        }
        let origin = Origin {
            device: stat.st_dev,
            inode: stat.st_ino,
            ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        };
        let offset = self.block.raw.len();
        self.records
            .add(entry, offset, &origin, &mut self.block.records);
        let header = std::mem::take(&mut self.header);
        self.put(&header)?;
        self.header = header;
        self.packed.entries += 1;
        self.disk_bytes += match entry.kind {
            Kind::File => entry.stored.next_multiple_of(PAGE),
            Kind::Directory => PAGE,
            Kind::Symlink | Kind::HardLink => 0,
        };
        Ok(())
    }

    /// Appends bytes to the stream.
    fn put(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            if self.block.raw.len() == BLOCK {
                self.cut()?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.block.raw.len()));
            if self.block.raw.capacity() == 0 {
                self.block.raw.reserve_exact(BLOCK);
            }
            self.block.raw.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Appends zeros: the filling of a file that has shrunk, or of its last record.
    fn put_zeros(&mut self, mut count: u64) -> Result<(), Error> {
        const ZEROS: [u8; 16 << 10] = [0; 16 << 10];
        while count > 0 {
            let now = ZEROS
                .len()
                .min(usize::try_from(count).unwrap_or(usize::MAX));
            self.put(&ZEROS[..now])?;
            count -= now as u64;
        }
        Ok(())
    }

    /// Ends the block.
    fn cut(&mut self) -> Result<(), Error> {
        if self.block.raw.is_empty() {
            return Ok(());
        }
        self.block = self.sink.send(std::mem::take(&mut self.block))?;
        Ok(())
    }

    fn describe(path: &[u8], kind: Kind, stat: &Stat) -> Entry {
        Entry {
            path: path.to_vec(),
            kind,
            link: Vec::new(),
            mode: stat.st_mode & 0o7777,
            uid: u64::from(stat.st_uid),
            gid: u64::from(stat.st_gid),
            mtime: time(stat.st_mtime, stat.st_mtime_nsec),
            size: 0,
            stored: 0,
            segments: None,
            xattrs: Vec::new(),
        }
    }
}

impl Visitor for Packer<'_> {
    fn folder(
        &mut self,
        path: &[u8],
        folder: Option<BorrowedFd<'_>>,
        stat: &Stat,
    ) -> Result<(), Error> {
        let mut entry = Self::describe(path, Kind::Directory, stat);
        if let Some(folder) = folder {
            entry.xattrs = self.read_xattrs(folder, path);
        }
        self.entry(&entry, stat)
    }

    fn symlink(&mut self, place: &Place<'_>) -> Result<(), Error> {
        let stat = rustix::fs::statat(place.folder, place.name, AtFlags::SYMLINK_NOFOLLOW);
        let target = rustix::fs::readlinkat(place.folder, place.name, Vec::new());
        let (stat, target) = match (stat, target) {
            (Ok(stat), Ok(target)) => (stat, target),
            (_, Err(Errno::INVAL)) => {
                self.note(
                    place.path,
                    "left out: it was replaced while the backup ran".into(),
                );
                return Ok(());
            }
            (Err(error), _) | (_, Err(error)) => {
                self.note(place.path, open_failed(error));
                return Ok(());
            }
        };
        let mut entry = Self::describe(place.path, Kind::Symlink, &stat);
        entry.mode = 0o777;
        entry.link = target.into_bytes();
        self.entry(&entry, &stat)
    }

    fn file(&mut self, place: &Place<'_>) -> Result<(), Error> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let opened = rustix::fs::openat(place.folder, place.name, flags, Mode::empty())
            .and_then(|file| rustix::fs::fstat(&file).map(|stat| (file, stat)));
        let (file, stat) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.note(place.path, open_failed(error));
                return Ok(());
            }
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            self.note(
                place.path,
                "left out: it was replaced while the backup ran".into(),
            );
            return Ok(());
        }
        if stat.st_nlink > 1 && self.hard_link(place, &stat)? {
            return Ok(());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut entry = Self::describe(place.path, Kind::File, &stat);
        entry.xattrs = self.read_xattrs(file.as_fd(), place.path);
        entry.size = size;
        entry.segments = contents::segments(file.as_fd(), &stat);
        let map = entry.segments.as_deref().map(map_text);
        let data: u64 = entry.segments.as_ref().map_or(size, |segments| {
            segments.iter().map(|segment| segment.length).sum()
        });
        entry.stored = data + map.as_ref().map_or(0, |map| map.len() as u64);
        self.entry(&entry, &stat)?;
        if let (Some(map), Some(segments)) = (&map, &entry.segments) {
            self.put(map)?;
            self.put_segments(file.as_fd(), place.path, segments)?;
            self.control.add_bytes(size - data);
        } else {
            self.put_plain(file.as_fd(), place.path, size)?;
        }
        self.put_zeros(padding(entry.stored) as u64)?;
        self.check_unchanged(file.as_fd(), place.path, &stat);
        self.packed.files += 1;
        self.packed.source_bytes += size;
        self.control.add_file();
        if stat.st_nlink > 1 {
            self.linked.insert(
                Identity::from(&stat),
                (place.path.to_vec(), stat.st_nlink - 1),
            );
        }
        Ok(())
    }

    fn note(&mut self, path: &[u8], reason: String) {
        self.packed.notes.add(path, reason);
    }
}

impl Packer<'_> {
    /// Writes a further name of a file that is in the archive already.
    fn hard_link(&mut self, place: &Place<'_>, stat: &Stat) -> Result<bool, Error> {
        let identity = Identity::from(stat);
        let Some((first, names_left)) = self.linked.get_mut(&identity) else {
            return Ok(false);
        };
        let mut entry = Self::describe(place.path, Kind::HardLink, stat);
        entry.link.clone_from(first);
        *names_left = names_left.saturating_sub(1);
        if *names_left == 0 {
            self.linked.remove(&identity);
        }
        self.entry(&entry, stat)?;
        self.packed.files += 1;
        self.control.add_file();
        Ok(true)
    }
}

pub(crate) fn time(seconds: i64, nanoseconds: u64) -> Time {
    Time {
        seconds,
        nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
    }
}

fn open_failed(error: Errno) -> String {
    match error {
        Errno::NOENT => "left out: it vanished while the backup ran".into(),
        Errno::LOOP | Errno::NXIO => "left out: it was replaced while the backup ran".into(),
        _ => format!("left out: {}", cannot("read", error)),
    }
}
