//! A blocking reader of an object at any offset, for a disk that has no file to open.
//!
//! The archive engine reads blocks of an earlier archive on several threads: mostly forward, at a
//! few places at a time, with jumps. So a few downloads run forward from where threads read, and
//! store segments that all threads share. A download reads ahead as soon as it is read in order,
//! and requests longer and longer ranges, so that jumps waste little and long reads need few
//! requests. Threads only wait; the downloads are tasks of the runtime, with the timeouts and
//! retries of their disk.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use crate::disk::Disk;
use crate::error::Error;
use crate::key::StorageKey;
use crate::reader::ObjectReader;

/// The size of a segment.
const SEGMENT_BYTES: u64 = 1 << 20;
/// The maximum number of segments in memory.
const SEGMENTS_MAX: usize = 16;
/// The maximum number of downloads. Each has one more segment, and the chunks of its connection.
const DOWNLOADS_MAX: usize = 4;
/// How many segments a download reads ahead.
const SEGMENTS_AHEAD: u64 = 3;
/// How many segments a download reads that no thread wants, instead of a new download.
const SEGMENTS_SKIPPED_MAX: u64 = 2;
/// The maximum number of segments in one request.
const RANGE_SEGMENTS_MAX: u64 = 64;

/// Reads an object at any offset, for several threads that may block. Must not be used in tasks
/// of the runtime, which it waits for.
///
/// It takes at most 32 MiB of memory. If the disk fails, every read returns an [`io::Error`] that
/// contains an `Arc` of the [`Error`].
#[derive(Debug)]
pub struct RandomReader {
    object: Arc<SharedObject>,
    handle: Handle,
    /// The downloads. They are stopped when this is dropped.
    tasks: Mutex<JoinSet<()>>,
}

/// What threads and downloads share.
#[derive(Debug)]
struct SharedObject {
    disk: Disk,
    key: StorageKey,
    size: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    segments: HashMap<u64, Segment>,
    downloads: Vec<Download>,
    /// Counts uses of segments and downloads.
    clock: u64,
    last_id: u64,
    /// Why a download failed. Then all reads fail.
    failure: Option<Arc<Error>>,
}

#[derive(Debug)]
struct Segment {
    bytes: Bytes,
    used_at: u64,
}

/// A download that stores one segment after the other.
#[derive(Debug)]
struct Download {
    id: u64,
    /// The next segment that it stores.
    next: u64,
    /// The end of the segments that threads want from it.
    wanted: u64,
    /// How many segments it may store after these.
    ahead: u64,
    used_at: u64,
    /// Wakes its task after `wanted` was changed.
    wake: Arc<Notify>,
    task: Option<AbortHandle>,
}

impl Disk {
    /// Opens an object for reads at any offset, from threads that may block. [`Disk::open`] is
    /// cheaper where the object is a file.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the object does not exist.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn random_reader(&self, key: StorageKey) -> Result<RandomReader, Error> {
        let size = self.size(key).await?;
        Ok(RandomReader {
            object: Arc::new(SharedObject {
                disk: self.clone(),
                key,
                size,
                state: Mutex::default(),
                changed: Condvar::new(),
            }),
            handle: Handle::current(),
            tasks: Mutex::default(),
        })
    }
}

impl RandomReader {
    /// Returns the size of the object, in bytes.
    pub fn size(&self) -> u64 {
        self.object.size
    }

    /// Fills `buffer` with the bytes at `offset`. Blocks the thread.
    ///
    /// # Errors
    /// If the object ends before, or the disk fails.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        let end = end.filter(|end| *end <= self.object.size);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let (mut rest, mut at) = (buffer, offset);
        while !rest.is_empty() {
            let index = at / SEGMENT_BYTES;
            let segment = self.segment(index, end.div_ceil(SEGMENT_BYTES))?;
            let begin = usize::try_from(at % SEGMENT_BYTES).unwrap_or(usize::MAX);
            let length = rest.len().min(segment.len() - begin);
            let (now, later) = rest.split_at_mut(length);
            now.copy_from_slice(&segment[begin..begin + length]);
            (rest, at) = (later, at + length as u64);
        }
        Ok(())
    }

    /// Returns a segment. The thread will then want those before `end`.
    fn segment(&self, index: u64, end: u64) -> io::Result<Bytes> {
        let mut state = self.object.lock();
        loop {
            if let Some(failure) = &state.failure {
                return Err(io::Error::other(Arc::clone(failure)));
            }
            if let Some(bytes) = state.find(index) {
                return Ok(bytes);
            }
            state = match state.request(index, end) {
                None => self.object.wait(state),
                Some(id) => {
                    drop(state);
                    self.begin_download(id, index, end - index);
                    self.object.lock()
                }
            };
        }
    }

    fn begin_download(&self, id: u64, first: u64, segments: u64) {
        let task = DownloadTask {
            object: Arc::clone(&self.object),
            id,
            position: first * SEGMENT_BYTES,
            range_segments: segments.min(RANGE_SEGMENTS_MAX),
            reader: None,
            chunk: Bytes::new(),
        };
        let task = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            while tasks.try_join_next().is_some() {}
            // If the runtime has ended, this drops the task, which then fails all reads.
            tasks.spawn_on(task.run(), &self.handle)
        };
        let mut state = self.object.lock();
        if let Some(download) = state.downloads.iter_mut().find(|other| other.id == id) {
            download.task = Some(task);
        }
    }
}

impl SharedObject {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.changed.wait(state);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    fn segments(&self) -> u64 {
        self.size.div_ceil(SEGMENT_BYTES)
    }

    fn unavailable(&self, reason: &'static str) -> Error {
        Error::Unavailable {
            disk: self.disk.name().to_string(),
            object: self.key.to_string(),
            source: reason.into(),
        }
    }
}

impl State {
    /// Returns a segment that is in memory. Lets the download that has stored it continue.
    fn find(&mut self, index: u64) -> Option<Bytes> {
        self.clock += 1;
        let segment = self.segments.get_mut(&index)?;
        segment.used_at = self.clock;
        for download in &mut self.downloads {
            if (download.wanted..download.next).contains(&index) {
                download.want(index + 1, self.clock);
            }
        }
        Some(segment.bytes.clone())
    }

    /// Requests the segments from `index` to `end` from a download that is about to reach them.
    /// Otherwise, adds a download and returns its ID, unless all are busy.
    fn request(&mut self, index: u64, end: u64) -> Option<u64> {
        let mut downloads = self.downloads.iter_mut();
        let near = downloads
            .find(|other| (other.next..=other.next + SEGMENTS_SKIPPED_MAX).contains(&index));
        if let Some(download) = near {
            download.want(end, self.clock);
            return None;
        }
        if self.downloads.len() == DOWNLOADS_MAX {
            self.remove_idle_download()?;
        }
        self.last_id += 1;
        self.downloads.push(Download {
            id: self.last_id,
            next: index,
            wanted: end,
            ahead: 0,
            used_at: self.clock,
            wake: Arc::default(),
            task: None,
        });
        Some(self.last_id)
    }

    /// Stops the download that was not used for longest, of those that no thread waits for.
    fn remove_idle_download(&mut self) -> Option<()> {
        let downloads = self.downloads.iter().enumerate();
        let idle = downloads.filter(|(_, download)| download.wanted <= download.next);
        let (oldest, _) = idle.min_by_key(|(_, download)| download.used_at)?;
        if let Some(task) = self.downloads.swap_remove(oldest).task {
            task.abort();
        }
        Some(())
    }

    /// Stores the next segment of a download.
    fn store(&mut self, id: u64, bytes: Bytes) {
        let Some(download) = self.downloads.iter_mut().find(|other| other.id == id) else {
            return;
        };
        let index = download.next;
        download.next += 1;
        if self.segments.len() >= SEGMENTS_MAX {
            let segments = self.segments.iter();
            let oldest = segments.min_by_key(|(_, segment)| segment.used_at);
            if let Some(oldest) = oldest.map(|(index, _)| *index) {
                self.segments.remove(&oldest);
            }
        }
        self.clock += 1;
        let used_at = self.clock;
        self.segments.insert(index, Segment { bytes, used_at });
    }

    fn remove_download(&mut self, id: u64) -> Option<Download> {
        let position = self.downloads.iter().position(|other| other.id == id)?;
        Some(self.downloads.swap_remove(position))
    }
}

impl Download {
    /// Extends what threads want from it.
    fn want(&mut self, end: u64, now: u64) {
        self.used_at = now;
        if end > self.wanted {
            self.wanted = end;
            self.ahead = SEGMENTS_AHEAD;
            self.wake.notify_one();
        }
    }
}

/// The task of a [`Download`].
struct DownloadTask {
    object: Arc<SharedObject>,
    id: u64,
    position: u64,
    /// The length of the next request.
    range_segments: u64,
    reader: Option<ObjectReader>,
    chunk: Bytes,
}

impl DownloadTask {
    async fn run(mut self) {
        while self.is_due().await {
            match self.read_segment().await {
                Ok(bytes) => self.object.lock().store(self.id, bytes),
                Err(error) => {
                    self.object.lock().failure = Some(Arc::new(error));
                    break;
                }
            }
            self.object.changed.notify_all();
        }
        self.object.lock().remove_download(self.id);
        self.object.changed.notify_all();
    }

    /// Waits until the next segment may be read. Returns `false` at the end of the object.
    async fn is_due(&self) -> bool {
        loop {
            let wake = {
                let state = self.object.lock();
                let mut downloads = state.downloads.iter();
                let Some(download) = downloads.find(|other| other.id == self.id) else {
                    return false;
                };
                if download.next >= self.object.segments() {
                    return false;
                }
                if download.next < download.wanted + download.ahead {
                    return true;
                }
                Arc::clone(&download.wake)
            };
            wake.notified().await;
        }
    }

    async fn read_segment(&mut self) -> Result<Bytes, Error> {
        let end = (self.position + SEGMENT_BYTES).min(self.object.size);
        let length = usize::try_from(end - self.position).unwrap_or(usize::MAX);
        let mut segment = BytesMut::with_capacity(length);
        while segment.len() < length {
            if self.chunk.is_empty() {
                self.chunk = self.next_chunk().await?;
            }
            let taken = self.chunk.len().min(length - segment.len());
            segment.extend_from_slice(&self.chunk.split_to(taken));
            self.position += taken as u64;
        }
        Ok(segment.freeze())
    }

    /// Returns the bytes at the position.
    async fn next_chunk(&mut self) -> Result<Bytes, Error> {
        loop {
            let Some(reader) = &mut self.reader else {
                let end = self.position + self.range_segments * SEGMENT_BYTES;
                self.range_segments = (2 * self.range_segments).min(RANGE_SEGMENTS_MAX);
                let object = &self.object;
                let reader = object.disk.read(object.key, self.position..end).await?;
                if reader.object_bytes() != object.size {
                    return Err(object.unavailable("it changed while it was read"));
                }
                self.reader = Some(reader);
                continue;
            };
            match reader.next().await? {
                Some(chunk) => return Ok(chunk),
                None => self.reader = None,
            }
        }
    }
}

impl Drop for DownloadTask {
    fn drop(&mut self) {
        let mut state = self.object.lock();
        // Otherwise it has ended, or another download has replaced it.
        if state.remove_download(self.id).is_some() {
            let error = self.object.unavailable("its download was stopped");
            state.failure.get_or_insert(Arc::new(error));
            drop(state);
            self.object.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes() -> Bytes {
        Bytes::from_static(b"segment")
    }

    #[test]
    fn the_segment_that_was_not_used_for_longest_is_dropped_first() {
        let mut state = State::default();
        let id = state.request(0, 1).expect("a new download");
        for index in 0..SEGMENTS_MAX as u64 {
            state.store(id, bytes());
            assert!(state.find(index).is_some());
        }
        assert!(state.find(0).is_some());
        state.store(id, bytes());
        assert_eq!(state.segments.len(), SEGMENTS_MAX);
        assert!(state.find(0).is_some());
        assert!(state.find(1).is_none());
    }

    #[test]
    fn downloads_that_threads_wait_for_are_not_replaced() {
        let mut state = State::default();
        let far = |place: usize| 1_000 * place as u64;
        let ids: Vec<_> = (0..DOWNLOADS_MAX)
            .map(|place| state.request(far(place), far(place) + 1))
            .collect();
        assert!(ids.iter().all(Option::is_some));
        // A segment that a download is about to reach needs no other one.
        assert_eq!(
            state.request(far(1) + SEGMENTS_SKIPPED_MAX, far(1) + 3),
            None
        );
        let place = far(DOWNLOADS_MAX);
        assert_eq!(state.request(place, place + 1), None);
        state.store(ids[2].expect("a download"), bytes());
        assert!(state.request(place, place + 1).is_some());
        assert_eq!(state.downloads.len(), DOWNLOADS_MAX);
        assert!(
            state
                .downloads
                .iter()
                .all(|download| Some(download.id) != ids[2])
        );
    }

    #[test]
    fn a_download_reads_ahead_once_it_is_read_in_order() {
        let mut state = State::default();
        let id = state.request(5, 6).expect("a new download");
        assert_eq!(state.downloads[0].ahead, 0);
        state.store(id, bytes());
        assert_eq!(state.request(6, 7), None);
        assert_eq!(state.downloads[0].ahead, SEGMENTS_AHEAD);
        for _ in 0..3 {
            state.store(id, bytes());
        }
        // Segments that were read ahead extend it when they are used.
        assert_eq!(state.downloads[0].wanted, 7);
        assert!(state.find(8).is_some());
        assert_eq!(state.downloads[0].wanted, 9);
    }
}
