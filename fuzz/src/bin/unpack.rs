//! Restores arbitrary bytes as a tar stream. It must not panic or write outside of the destination.
//!
//! A tree that was restored must be archivable again.
#![no_main]

use std::fs;
use std::io::Write;

use libfuzzer_sys::fuzz_target;

use holdfast_archive::{
    Control, CreateOptions, IgnoreRules, RestoreOptions, create, restore, verify,
};
use holdfast_fuzz::Bounds;

/// Corrects the checksums of headers, which a fuzzer cannot guess.
fn correct_checksums(tar: &mut [u8]) {
    for record in tar.chunks_exact_mut(512) {
        if record[257..262] == *b"ustar" {
            record[148..156].fill(b' ');
            let sum: u32 = record.iter().map(|&byte| u32::from(byte)).sum();
            record[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        }
    }
}

fuzz_target!(|tar: &[u8]| {
    let mut tar = tar.to_vec();
    correct_checksums(&mut tar);
    let tar = tar.as_slice();
    let folder = tempfile::Builder::new().tempdir_in("/dev/shm").unwrap();
    let target = folder.path().join("server");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("precious"), "precious").unwrap();
    fs::write(folder.path().join("outside"), "outside").unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    packed.write_all(tar).unwrap();
    let mut archive = tempfile::tempfile_in("/dev/shm").unwrap();
    archive.write_all(&packed.finish().unwrap()).unwrap();
    let control = Control::new();
    let truncate = tar.first().is_some_and(|byte| byte & 1 == 0);
    let options = RestoreOptions {
        truncate,
        threads: 1,
        ..Default::default()
    };
    let restored = Bounds::ARCHIVE.check(tar.len(), || {
        restore(&archive, None, &target, &options, &control, &mut || Ok(()))
    });
    if let Ok(summary) = &restored {
        let verified = verify(&archive, None, &control).expect("a restored archive is whole");
        assert_eq!(verified.entries, summary.entries);
        let sink = std::io::sink;
        let (rules, options) = (IgnoreRules::none(), CreateOptions::default());
        let _ = create(&target, &rules, &options, sink(), sink(), &control)
            .expect("a restored tree can be archived");
    } else {
        assert_eq!(fs::read(target.join("precious")).unwrap(), b"precious");
        assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
    }
    assert_eq!(fs::read(folder.path().join("outside")).unwrap(), b"outside");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
});
