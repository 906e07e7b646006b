//! Decrypts what is read from a disk.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use age::Decryptor;
use age::stream::StreamReader;
use bytes::{Buf, Bytes};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::{Encryption, MAGIC};
use crate::disk::Backend;
use crate::error::Error;
use crate::key::StorageKey;
use crate::reader::ObjectReader;

/// The size of the pieces that are handed on.
const PIECE_BYTES: usize = 256 * 1024;
/// How many of them wait to be taken.
const AHEAD: usize = 2;

/// The bytes of an object that was encrypted, or of a part of it.
#[derive(Debug)]
pub(crate) struct OpenedReader {
    object_bytes: u64,
    left_bytes: u64,
    pieces: mpsc::Receiver<Result<Bytes, Error>>,
    disk: String,
    object: String,
}

impl OpenedReader {
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
        match self.pieces.recv().await {
            Some(piece) => {
                let piece = piece?;
                self.left_bytes -= piece.len() as u64;
                Ok(Some(piece))
            }
            // The thread that reads has told its failure before.
            None => Err(Error::Unavailable {
                disk: self.disk.clone(),
                object: self.object.clone(),
                source: "a read has failed before".into(),
            }),
        }
    }
}

/// Opens an object for reading, decrypted if it is encrypted.
pub(crate) async fn open(
    backend: &Backend,
    disk: &str,
    keys: &Encryption,
    key: StorageKey,
    range: Range<u64>,
) -> Result<ObjectReader, Error> {
    let mut begins = backend.read(key, 0..MAGIC.len() as u64).await?;
    let mut first = Vec::new();
    while let Some(piece) = begins.next().await? {
        first.extend_from_slice(&piece);
    }
    if first != MAGIC {
        // From before the disk was encrypted.
        return backend.read(key, range).await;
    }
    let object = Object {
        backend: backend.clone(),
        key,
        size: begins.object_bytes(),
        at: 0,
        reader: None,
        piece: Bytes::new(),
        handle: Handle::current(),
    };
    let (disk, name) = (disk.to_owned(), key.to_string());
    let (of_disk, of_object) = (disk.clone(), name.clone());
    let failed = move |error: io::Error| unreadable(&of_disk, &of_object, error);
    let keys = keys.clone();
    let opening = tokio::task::spawn_blocking(move || {
        let mut plain = decrypt(object, &keys)?;
        let object_bytes = plain.seek(SeekFrom::End(0))?;
        let begin = range.start.min(object_bytes);
        plain.seek(SeekFrom::Start(begin))?;
        let left_bytes = range.end.clamp(begin, object_bytes) - begin;
        Ok((plain, object_bytes, left_bytes))
    });
    let opened = opening.await.map_err(io::Error::other).flatten();
    let (plain, object_bytes, left_bytes) = opened.map_err(&failed)?;
    let (sender, pieces) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || pass_on(plain, left_bytes, &sender, failed));
    Ok(ObjectReader::from(OpenedReader {
        object_bytes,
        left_bytes,
        pieces,
        disk,
        object: name,
    }))
}

fn decrypt(object: Object, keys: &Encryption) -> io::Result<StreamReader<Object>> {
    let decryptor = Decryptor::new(object).map_err(io::Error::other)?;
    let identities = keys.identities.iter().map(|key| key as &dyn age::Identity);
    // Not the error itself: it speaks of keys in words of its own.
    let opened = decryptor.decrypt(identities);
    opened.map_err(|_| io::Error::new(io::ErrorKind::PermissionDenied, "no key opens it"))
}

/// Reads until the end of the range, or until nobody takes what was read.
fn pass_on(
    mut plain: StreamReader<Object>,
    mut left_bytes: u64,
    sender: &mpsc::Sender<Result<Bytes, Error>>,
    failed: impl Fn(io::Error) -> Error,
) {
    while left_bytes > 0 {
        let most = usize::try_from(left_bytes).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        let mut piece = vec![0; most];
        let read = plain.read_exact(&mut piece);
        let has_failed = read.is_err();
        let piece = read.map(|()| Bytes::from(piece)).map_err(&failed);
        if sender.blocking_send(piece).is_err() || has_failed {
            return;
        }
        left_bytes -= most as u64;
    }
}

fn unreadable(disk: &str, object: &str, error: io::Error) -> Error {
    let (disk, object) = (disk.to_owned(), object.to_owned());
    // What the disk itself said comes through age as it was.
    match error.downcast::<Error>() {
        Ok(of_the_disk) => of_the_disk,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Error::Denied {
            disk,
            object,
            advice: "it is encrypted, and age_identity of this disk holds no key that opens it"
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

/// An encrypted object as a file: what age reads from. Only used on threads that may wait.
struct Object {
    backend: Backend,
    key: StorageKey,
    size: u64,
    at: u64,
    reader: Option<ObjectReader>,
    piece: Bytes,
    handle: Handle,
}

impl Read for Object {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() || self.at >= self.size {
            return Ok(0);
        }
        if self.piece.is_empty() {
            let (backend, key, from) = (&self.backend, self.key, self.at..self.size);
            let reader = &mut self.reader;
            let next = self.handle.block_on(async {
                let reader = match reader {
                    Some(reader) => reader,
                    None => reader.insert(backend.read(key, from).await?),
                };
                reader.next().await
            });
            self.piece = match next.map_err(io::Error::other)? {
                Some(piece) => piece,
                None => return Ok(0),
            };
        }
        let length = into.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut into[..length]);
        self.at += length as u64;
        Ok(length)
    }
}

impl Seek for Object {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let wanted = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        let wanted = wanted.ok_or(io::ErrorKind::InvalidInput)?;
        if wanted != self.at {
            self.reader = None;
            self.piece = Bytes::new();
            self.at = wanted;
        }
        Ok(wanted)
    }
}
