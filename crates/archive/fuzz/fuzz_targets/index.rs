//! Reads an index with arbitrary records and correct checksums. It must not panic.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

use holdfast_archive::{Control, RestoreOptions, list, read_file, restore};

fuzz_target!(|records: &[u8]| {
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    deflate.write_all(records).unwrap();
    let packed = deflate.finish().unwrap();
    let mut index = b"holdfast-index\n\x01".to_vec();
    if !records.is_empty() {
        index.extend_from_slice(&(records.len() as u32).to_le_bytes());
        index.extend_from_slice(&(packed.len() as u32).to_le_bytes());
        index.extend_from_slice(&crc32fast::hash(&packed).to_le_bytes());
        index.extend_from_slice(&packed);
    }
    index.extend_from_slice(&[0; 12]);
    // The totals: the archive below has 30 bytes.
    for total in [0_u64, 0, 0, 0, 0, 30] {
        index.extend_from_slice(&total.to_le_bytes());
    }
    index.extend_from_slice(&[0; 32]);
    let hash = Sha256::digest(&index);
    index.extend_from_slice(&hash);
    let file = |bytes: &[u8]| {
        let mut file = tempfile::tempfile_in("/dev/shm").unwrap();
        file.write_all(bytes).unwrap();
        file
    };
    let (index, archive) = (file(&index), file(&[0x1f; 30]));
    let control = Control::new();
    let mut first = None;
    let _ = list(&archive, Some(&index), &control, &mut |entry| {
        first.get_or_insert_with(|| entry.path.clone());
        Ok(())
    });
    if let Some(path) = first {
        let _ = read_file(&archive, &index, &path, &mut std::io::sink());
    }
    let folder = tempfile::Builder::new().tempdir_in("/dev/shm").unwrap();
    let options = RestoreOptions {
        threads: 1,
        ..Default::default()
    };
    let target = folder.path().join("server");
    assert!(
        restore(
            &archive,
            Some(&index),
            &target,
            &options,
            &control,
            &mut || Ok(())
        )
        .is_err()
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
});
