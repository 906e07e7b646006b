//! Restores a file whose PAX records are arbitrary. It must not panic or write outside of the
//! destination.
#![no_main]

use std::fs;
use std::io::Write;

use libfuzzer_sys::fuzz_target;

use holdfast_archive::{Control, RestoreOptions, restore};
use holdfast_fuzz::Bounds;

/// Returns a header with a correct checksum.
fn header(name: &str, kind: u8, size: usize) -> [u8; 512] {
    let mut header = [0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000644");
    header[108..115].copy_from_slice(b"0000000");
    header[116..123].copy_from_slice(b"0000000");
    header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    header[136..147].copy_from_slice(b"00000000000");
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header
}

fuzz_target!(|input: &[u8]| {
    let Some((&kind, records)) = input.split_first() else {
        return;
    };
    let mut tar = Vec::new();
    // `x` for the next entry, or `g` for all later ones.
    let extended = if kind & 1 == 0 { b'x' } else { b'g' };
    tar.extend_from_slice(&header("PaxHeaders/a", extended, records.len()));
    tar.extend_from_slice(records);
    tar.resize(tar.len().next_multiple_of(512), 0);
    let kinds = b"012345S7";
    tar.extend_from_slice(&header("a", kinds[usize::from(kind >> 1) % kinds.len()], 5));
    tar.extend_from_slice(b"12345");
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);

    let folder = tempfile::Builder::new().tempdir_in("/dev/shm").unwrap();
    fs::write(folder.path().join("outside"), "outside").unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    packed.write_all(&tar).unwrap();
    let mut archive = tempfile::tempfile_in("/dev/shm").unwrap();
    archive.write_all(&packed.finish().unwrap()).unwrap();
    let target = folder.path().join("server");
    let options = RestoreOptions {
        threads: 1,
        ..Default::default()
    };
    let control = Control::new();
    let restored = Bounds::ARCHIVE.check(input.len(), || {
        restore(&archive, None, &target, &options, &control, &mut || Ok(()))
    });
    let expected = if restored.is_ok() { 2 } else { 1 };
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), expected);
    assert_eq!(fs::read(folder.path().join("outside")).unwrap(), b"outside");
});
