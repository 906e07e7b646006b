//! A pool of threads that writes small files in batches.
//!
//! A batch costs one message instead of one per file. The queue is bounded by the number of
//! threads. Large files are not written here, but by the thread that reads the archive.

use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::Scope;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::attributes::Attributes;
use super::entry_error::entry_error;
use super::file::NewFile;
use super::handle::{FolderHandle, Problems};
use crate::{Control, Error, threads};

/// The largest file that the pool writes, in bytes.
pub(super) const SMALL_FILE_BYTES_MAX: u64 = 128 << 10;
/// The most files in a batch. Each may keep a folder open.
const BATCH_FILES: usize = 32;
/// The most bytes in a batch.
const BATCH_BYTES: usize = 512 << 10;

/// Small files to write, and their contents one after the other.
#[derive(Default)]
struct Batch {
    files: Vec<SmallFile>,
    bytes: Vec<u8>,
}

struct SmallFile {
    folder: Arc<FolderHandle>,
    name: Vec<u8>,
    /// The path in the archive, for error messages.
    path: Vec<u8>,
    attributes: Attributes,
    /// The contents, as a range of the bytes of the batch.
    range: Range<usize>,
}

/// The number of batches that are not written yet.
type Pending = Arc<(Mutex<usize>, Condvar)>;

/// A pool of threads, and the batch that is being filled.
pub(super) struct SmallFilePool {
    batch: Batch,
    batches: Sender<Batch>,
    pending: Pending,
    problems: Arc<Problems>,
}

impl SmallFilePool {
    /// Starts the threads; they end when the pool is dropped.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        count: usize,
        umask: u32,
        problems: &Arc<Problems>,
        control: &'scope Control,
    ) -> Result<Self, Error> {
        let (batches, work) = bounded::<Batch>(count);
        let pending = Pending::default();
        threads::spawn_pool(scope, count, || {
            let (work, problems) = (work.clone(), Arc::clone(problems));
            let pending = Arc::clone(&pending);
            move || write_batches(&work, umask, &problems, &pending, control)
        })?;
        Ok(Self {
            batch: Batch::default(),
            batches,
            pending,
            problems: Arc::clone(problems),
        })
    }

    /// Adds a file; `fill` appends its contents.
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
        if self.batch.files.len() >= BATCH_FILES || self.batch.bytes.len() >= BATCH_BYTES {
            self.send_batch()?;
        }
        Ok(())
    }

    /// Waits until all added files are written.
    pub(super) fn wait(&mut self) -> Result<(), Error> {
        self.send_batch()?;
        let (count, changed) = &*self.pending;
        let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
        while *count > 0 {
            count = changed.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
        drop(count);
        self.problems.check()
    }

    /// Sends the batch to the threads.
    fn send_batch(&mut self) -> Result<(), Error> {
        self.problems.check()?;
        if self.batch.files.is_empty() {
            return Ok(());
        }
        *self
            .pending
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
    problems: &Problems,
    pending: &Pending,
    control: &Control,
) {
    for batch in work {
        for file in batch.files {
            if control.is_cancelled() || problems.is_set() {
                continue;
            }
            let bytes = &batch.bytes[file.range];
            let written = NewFile::create(file.folder.as_fd(), &file.name, &file.attributes, umask)
                .and_then(|new| new.write_all(bytes).map(|()| new))
                .and_then(|new| new.finish(&problems.refused));
            if let Err(error) = written {
                problems.set(entry_error(&file.path, error));
            }
            control.add_bytes(bytes.len() as u64);
            control.add_file();
        }
        let (count, changed) = &**pending;
        *count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        changed.notify_all();
    }
}
