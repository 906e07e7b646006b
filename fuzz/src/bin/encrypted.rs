//! Reads an encrypted object that anyone may have changed, or that is arbitrary.
//!
//! The first byte of the input is 0 for an arbitrary object behind the first bytes of an age file,
//! or else the input is a list of changes to a valid one: where (two bytes), which new byte. Every
//! read gives the bytes that were written, or fails.
#![no_main]

use std::cell::OnceCell;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

use holdfast_domain::{BackupId, DiskName, ServerId};
use holdfast_fuzz::Bounds;
use holdfast_storage::{ArchiveKey, Disk, Encryption, StorageKey};

/// An identity that was made for this program.
const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
/// The first bytes of every encrypted object.
const MAGIC: &[u8] = b"age-encryption.org/";
/// More than one chunk of age, which has 64 KiB.
const PLAIN_BYTES: u64 = (64 << 10) + 100;

struct Fixture {
    runtime: Runtime,
    disk: Disk,
    path: PathBuf,
    stored: Vec<u8>,
    _folder: tempfile::TempDir,
}

thread_local! {
    static FIXTURE: OnceCell<Fixture> = const { OnceCell::new() };
}

fn key() -> StorageKey {
    StorageKey::Archive(ArchiveKey {
        server: ServerId(uuid::Uuid::from_u128(1)),
        backup: BackupId(uuid::Uuid::from_u128(2)),
        attempt: 1,
    })
}

/// The byte at this position of the object.
fn plain(at: u64) -> u8 {
    (at % 251) as u8
}

fn fixture() -> Fixture {
    let folder = tempfile::Builder::new().tempdir_in("/dev/shm").unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let name = DiskName::parse("local").unwrap();
    let encryption = Encryption::new(true, &[], Some(IDENTITY)).unwrap();
    let disk = Disk::local(name, folder.path())
        .unwrap()
        .with_encryption(encryption);
    let bytes: Vec<u8> = (0..PLAIN_BYTES).map(plain).collect();
    runtime.block_on(async {
        let mut upload = disk.begin(key(), 1 << 20).await.unwrap();
        upload.write(bytes.into()).await.unwrap();
        upload.finish().await.unwrap();
    });
    let path = folder.path().join(key().path());
    let stored = std::fs::read(&path).unwrap();
    Fixture {
        runtime,
        disk,
        path,
        stored,
        _folder: folder,
    }
}

impl Fixture {
    /// Reads a range to its end. Returns `None` if that fails.
    fn read(&self, range: std::ops::Range<u64>) -> Option<Vec<u8>> {
        self.runtime.block_on(async {
            let mut reader = self.disk.read(key(), range).await.ok()?;
            let mut read = Vec::new();
            while let Some(chunk) = reader.next().await.ok()? {
                read.extend_from_slice(&chunk);
            }
            Some(read)
        })
    }

    fn check(&self, input: &[u8]) {
        let Some((&first, rest)) = input.split_first() else {
            return;
        };
        let mut object = self.stored.clone();
        if first == 0 {
            object = [MAGIC, rest].concat();
        } else {
            for change in rest.chunks_exact(3) {
                let at = usize::from(change[0]) | usize::from(change[1]) << 8;
                // The header has a few hundred bytes, so every second change is in it.
                let at = if first & 1 == 1 {
                    at % 256
                } else {
                    at % object.len()
                };
                object[at] = change[2];
            }
            if first & 2 == 2 {
                object.truncate(object.len() - usize::from(first));
            }
        }
        let is_whole = object == self.stored;
        // Anything else counts as an object from before encryption was turned on.
        let is_encrypted = object.starts_with(MAGIC);
        std::fs::write(&self.path, object).unwrap();
        for range in [0..u64::MAX, 100..200, PLAIN_BYTES - 50..PLAIN_BYTES] {
            let read = self.read(range.clone());
            let Some(read) = read else {
                assert!(!is_whole, "an object that nobody changed can be read");
                continue;
            };
            if !is_encrypted {
                continue;
            }
            let length = range.end.min(PLAIN_BYTES) - range.start;
            assert_eq!(read.len() as u64, length);
            for (at, byte) in (range.start..).zip(&read) {
                assert_eq!(*byte, plain(at), "byte {at}");
            }
        }
    }
}

fuzz_target!(|input: &[u8]| {
    FIXTURE.with(|cell| {
        let fixture = cell.get_or_init(fixture);
        let bounds = Bounds {
            memory: 4 << 20,
            ..Bounds::TEXT
        };
        bounds.check(input.len(), || fixture.check(input));
    });
});
