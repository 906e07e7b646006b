//! Verifies, lists and restores arbitrary bytes as an archive. It must not panic, and the three
//! must agree on whether the archive is whole.
//!
//! Input that does not start like a gzip member gets a header and a correct trailer, since a fuzzer
//! cannot guess a checksum.
#![no_main]

use std::fs;
use std::io::{Read, Write};

use libfuzzer_sys::fuzz_target;

use holdfast_archive::{Control, RestoreOptions, list, restore, verify};
use holdfast_fuzz::Bounds;

/// Returns compressed data as a gzip member with a correct trailer.
fn member(deflated: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let inflated = flate2::read::DeflateDecoder::new(deflated);
    let _ = inflated.take(1 << 20).read_to_end(&mut plain);
    let mut member = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
    member.extend_from_slice(deflated);
    member.extend_from_slice(&crc32fast::hash(&plain).to_le_bytes());
    member.extend_from_slice(&(plain.len() as u32).to_le_bytes());
    member
}

/// Returns how many bytes a tar reader may have to read.
fn plain_bytes(archive: &[u8]) -> usize {
    archive.len() * 1100
}

fuzz_target!(|bytes: &[u8]| {
    let bytes = match bytes {
        [0x1f, 0x8b, ..] => bytes.to_vec(),
        deflated => member(deflated),
    };
    let bytes = bytes.as_slice();
    let mut archive = tempfile::tempfile_in("/dev/shm").unwrap();
    archive.write_all(bytes).unwrap();
    let control = Control::new();
    let folder = tempfile::Builder::new().tempdir_in("/dev/shm").unwrap();
    let target = folder.path().join("server");
    let options = RestoreOptions {
        threads: 1,
        ..Default::default()
    };
    let restored = Bounds::ARCHIVE.check(plain_bytes(bytes), || {
        restore(&archive, None, &target, &options, &control, &mut || Ok(()))
    });
    let verified = verify(&archive, None, &control);
    assert_eq!(
        verified.is_ok(),
        restored.is_ok(),
        "{verified:?} {restored:?}"
    );
    let mut listed = 0;
    let list = list(&archive, None, &control, &mut |_| {
        listed += 1;
        Ok(())
    });
    if let Ok(verified) = verified {
        list.expect("a whole archive can be listed");
        assert_eq!(listed, verified.entries);
    } else {
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
});
