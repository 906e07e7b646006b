//! Decrypts objects while they are read.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use age::Decryptor;
use age::stream::StreamReader;
use bytes::{Buf, Bytes};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::keys::Encryption;
use crate::backend::{Backend, BackendReader};
use crate::error::Error;
use crate::key::StorageKey;

/// The first bytes of every age file. No gzip file begins with them.
const MAGIC: &[u8] = b"age-encryption.org/";
/// The size of the chunks that are returned.
const CHUNK_BYTES: usize = 256 * 1024;
/// The number of chunks that are read ahead.
const CHUNKS_AHEAD: usize = 2;

/// An object that was opened with keys.
#[derive(Debug)]
pub(crate) enum DecryptedObject {
    /// It is not encrypted: it was stored before encryption was turned on.
    Plain(BackendReader),
    /// It is encrypted.
    Decrypting(DecryptingReader),
}

/// The decrypted bytes of an object or of a range of it. A blocking thread decrypts them.
#[derive(Debug)]
pub(crate) struct DecryptingReader {
    object_bytes: u64,
    left_bytes: u64,
    chunks: mpsc::Receiver<Result<Bytes, Error>>,
    disk: String,
    object: String,
}

impl DecryptingReader {
    /// Returns the decrypted size of the object.
    pub(crate) fn object_bytes(&self) -> u64 {
        self.object_bytes
    }

    pub(crate) fn left_bytes(&self) -> u64 {
        self.left_bytes
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.left_bytes == 0 {
            return Ok(None);
        }
        match self.chunks.recv().await {
            Some(chunk) => {
                let chunk = chunk?;
                self.left_bytes -= chunk.len() as u64;
                Ok(Some(chunk))
            }
            // The thread ended after it had sent its error.
            None => Err(Error::Unavailable {
                disk: self.disk.clone(),
                object: self.object.clone(),
                source: "an earlier read failed".into(),
            }),
        }
    }
}

/// Opens a range of an object, and decrypts it if it is encrypted.
pub(crate) async fn open(
    backend: &Backend,
    disk: &str,
    keys: &Encryption,
    key: StorageKey,
    range: Range<u64>,
) -> Result<DecryptedObject, Error> {
    let mut reader = backend.read(key, 0..MAGIC.len() as u64).await?;
    let mut first = Vec::new();
    while let Some(chunk) = reader.next().await? {
        first.extend_from_slice(&chunk);
    }
    if first != MAGIC {
        return Ok(DecryptedObject::Plain(backend.read(key, range).await?));
    }
    let stored = StoredObject {
        backend: backend.clone(),
        key,
        size: reader.object_bytes(),
        position: 0,
        reader: None,
        chunk: Bytes::new(),
        handle: Handle::current(),
    };
    let (disk, object) = (disk.to_owned(), key.to_string());
    let (error_disk, error_object) = (disk.clone(), object.clone());
    let to_error = move |error: io::Error| error_from(&error_disk, &error_object, error);
    let keys = keys.clone();
    let opening = tokio::task::spawn_blocking(move || {
        let mut plain = decrypt(stored, &keys)?;
        let object_bytes = plain.seek(SeekFrom::End(0))?;
        let begin = range.start.min(object_bytes);
        plain.seek(SeekFrom::Start(begin))?;
        let left_bytes = range.end.clamp(begin, object_bytes) - begin;
        Ok((plain, object_bytes, left_bytes))
    });
    let opened = opening.await.map_err(io::Error::other).flatten();
    let (plain, object_bytes, left_bytes) = opened.map_err(&to_error)?;
    let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
    tokio::task::spawn_blocking(move || send_chunks(plain, left_bytes, &sender, to_error));
    Ok(DecryptedObject::Decrypting(DecryptingReader {
        object_bytes,
        left_bytes,
        chunks,
        disk,
        object,
    }))
}

fn decrypt(stored: StoredObject, keys: &Encryption) -> io::Result<StreamReader<StoredObject>> {
    let decryptor = Decryptor::new(stored).map_err(io::Error::other)?;
    let opened = decryptor.decrypt(keys.identities());
    // age's own error message does not tell which setting to check.
    opened.map_err(|_| io::Error::new(io::ErrorKind::PermissionDenied, "no key opens it"))
}

/// Sends decrypted chunks until the end of the range, or until the receiver is dropped.
fn send_chunks(
    mut plain: StreamReader<StoredObject>,
    mut left_bytes: u64,
    sender: &mpsc::Sender<Result<Bytes, Error>>,
    to_error: impl Fn(io::Error) -> Error,
) {
    while left_bytes > 0 {
        let length = usize::try_from(left_bytes).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let mut chunk = vec![0; length];
        let read = plain.read_exact(&mut chunk);
        let has_failed = read.is_err();
        let chunk = read.map(|()| Bytes::from(chunk)).map_err(&to_error);
        if sender.blocking_send(chunk).is_err() || has_failed {
            return;
        }
        left_bytes -= length as u64;
    }
}

fn error_from(disk: &str, object: &str, error: io::Error) -> Error {
    let (disk, object) = (disk.to_owned(), object.to_owned());
    // age passes on the errors of `StoredObject` unchanged.
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Error::Denied {
            disk,
            object,
            advice: "it is encrypted, and age_identity of this disk contains no key that opens it"
                .to_owned(),
            source: error.into(),
        },
        Err(error) => Error::Damaged {
            disk,
            object,
            source: error.into(),
        },
    }
}

/// An encrypted object as a seekable file, for age. Its calls block, so it must be used on a
/// blocking thread only.
struct StoredObject {
    backend: Backend,
    key: StorageKey,
    size: u64,
    position: u64,
    reader: Option<BackendReader>,
    chunk: Bytes,
    handle: Handle,
}

impl Read for StoredObject {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.position >= self.size {
            return Ok(0);
        }
        if self.chunk.is_empty() {
            let (backend, key, rest) = (&self.backend, self.key, self.position..self.size);
            let reader = &mut self.reader;
            let next = self.handle.block_on(async {
                let reader = match reader {
                    Some(reader) => reader,
                    None => reader.insert(backend.read(key, rest).await?),
                };
                reader.next().await
            });
            self.chunk = match next.map_err(io::Error::other)? {
                Some(chunk) => chunk,
                None => return Ok(0),
            };
        }
        let length = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        self.position += length as u64;
        Ok(length)
    }
}

impl Seek for StoredObject {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let target = target.ok_or(io::ErrorKind::InvalidInput)?;
        if target != self.position {
            self.reader = None;
            self.chunk = Bytes::new();
            self.position = target;
        }
        Ok(target)
    }
}
