//! Threads that write small files, gathered into batches so that handing over costs next to nothing.
//!
//! What is in flight is bounded by the number of threads; large files are written by whoever reads them.

use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::Scope;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::entry_error::entry_error;
use super::file::{Attributes, NewFile};
use super::handle::{FirstError, FolderHandle};
use crate::{Control, Error};

/// A file up to this size is written by the pool.
pub(super) const SMALL: u64 = 128 << 10;
/// A batch is handed over with this many files, since each may keep a folder open, …
const FILES: usize = 32;
/// … or with this many bytes.
const BYTES: usize = 512 << 10;

/// Small files that wait to be written, and their bytes one after the other.
#[derive(Default)]
struct Batch {
    files: Vec<SmallFile>,
    bytes: Vec<u8>,
}

struct SmallFile {
    folder: Arc<FolderHandle>,
    name: Vec<u8>,
    /// The whole path, for messages.
    path: Vec<u8>,
    attributes: Attributes,
    range: Range<usize>,
}

/// Batches that are not finished yet.
type InFlight = Arc<(Mutex<usize>, Condvar)>;

/// The threads and what is on its way to them.
pub(super) struct SmallFilePool {
    batch: Batch,
    batches: Sender<Batch>,
    in_flight: InFlight,
    errors: Arc<FirstError>,
}

impl SmallFilePool {
    /// Starts the threads; they end when the pool is dropped.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        threads: usize,
        umask: u32,
        errors: &Arc<FirstError>,
        control: &'scope Control,
    ) -> Self {
        let (batches, work) = bounded::<Batch>(threads);
        let in_flight = InFlight::default();
        for _ in 0..threads {
            let (work, errors) = (work.clone(), Arc::clone(errors));
            let in_flight = Arc::clone(&in_flight);
            scope.spawn(move || write_batches(&work, umask, &errors, &in_flight, control));
        }
        Self {
            batch: Batch::default(),
            batches,
            in_flight,
            errors: Arc::clone(errors),
        }
    }

    /// Adds a file; `fill` appends its bytes.
    pub(super) fn add(
        &mut self,
        folder: Arc<FolderHandle>,
        name: &[u8],
        path: &[u8],
        attributes: Attributes,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let start = self.batch.bytes.len();
        fill(&mut self.batch.bytes)?;
        let range = start..self.batch.bytes.len();
        let (name, path) = (name.to_vec(), path.to_vec());
        self.batch.files.push(SmallFile {
            folder,
            name,
            path,
            attributes,
            range,
        });
        if self.batch.files.len() >= FILES || self.batch.bytes.len() >= BYTES {
            self.hand_over()?;
        }
        Ok(())
    }

    /// Waits until every file that was added is written.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        self.hand_over()?;
        let (count, changed) = &*self.in_flight;
        let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
        while *count > 0 {
            count = changed.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
        drop(count);
        self.errors.check()
    }

    fn hand_over(&mut self) -> Result<(), Error> {
        self.errors.check()?;
        if self.batch.files.is_empty() {
            return Ok(());
        }
        *self
            .in_flight
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner) += 1;
        self.batches
            .send(std::mem::take(&mut self.batch))
            .map_err(|_| Error::Cancelled)
    }
}

fn write_batches(
    work: &Receiver<Batch>,
    umask: u32,
    errors: &FirstError,
    in_flight: &InFlight,
    control: &Control,
) {
    for batch in work {
        for file in batch.files {
            if control.is_cancelled() || errors.is_set() {
                continue;
            }
            let bytes = &batch.bytes[file.range];
            let written = NewFile::create(file.folder.as_fd(), &file.name, &file.attributes, umask)
                .and_then(|new| new.write_all(bytes).map(|()| new))
                .and_then(|new| new.finish());
            if let Err(error) = written {
                errors.set(entry_error(&file.path, error));
            }
            control.add_bytes(bytes.len() as u64);
            control.add_file();
        }
        let (count, changed) = &**in_flight;
        *count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        changed.notify_all();
    }
}
