//! Memory stays bounded for large and for many files.
//!
//! `scripts/bench-archive --memory` measures larger sizes: 20 GiB and 300,000 files.

use std::path::Path;
use std::process::Command;

use crate::support::*;

/// Runs the engine in a child process. Returns its peak memory in KiB.
fn peak(arguments: &[&Path]) -> u64 {
    let output = Command::new(engine())
        .args(arguments)
        .env("HOLDFAST_ARCHIVE_PEAK", "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("peak memory: "));
    line.and_then(|line| line.strip_suffix(" KiB"))
        .and_then(|line| line.parse().ok())
        .unwrap()
}

const LIMIT_KIB: u64 = 64 << 10;

#[test]
fn a_sparse_file_larger_than_the_disk_is_restored_in_bounded_memory() {
    let folder = folder();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    fs_err::create_dir(&source).unwrap();
    let size = 3 << 40;
    if fs_err::File::create(source.join("huge"))
        .unwrap()
        .set_len(size)
        .is_err()
    {
        return skip("this disk does not support large sparse files");
    }
    sparse(
        &source.join("huge"),
        size,
        &[
            (0, b"start"),
            (20 << 30, &noise(3 << 20, 1)),
            (size - 3, b"end"),
        ],
    );
    let archive = folder.path().join("a.tar.gz");
    assert!(peak(&[Path::new("create"), &source, &archive]) < LIMIT_KIB);
    assert!(fs_err::metadata(&archive).unwrap().len() < 4 << 20);
    assert!(peak(&[Path::new("restore"), &archive, &target]) < LIMIT_KIB);
    let (found, wanted) = (target.join("huge"), source.join("huge"));
    assert_eq!(fs_err::metadata(&found).unwrap().len(), size);
    use std::os::unix::fs::FileExt as _;
    for offset in [0, 20 << 30, (20 << 30) + (2 << 20), size - 4096] {
        let read = |path: &Path| {
            let mut bytes = vec![0; 4096];
            fs_err::File::open(path)
                .unwrap()
                .file()
                .read_exact_at(&mut bytes, offset)
                .unwrap();
            bytes
        };
        assert!(read(&found) == read(&wanted), "at {offset}");
    }
}

#[test]
fn many_files_in_one_folder_are_restored_in_bounded_memory() {
    let folder = memory_folder();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    fs_err::create_dir(&source).unwrap();
    for number in 0..20_000 {
        fs_err::write(
            source.join(format!("a-rather-long-name-of-a-file-{number:06}.json")),
            "{}",
        )
        .unwrap();
    }
    let archive = folder.path().join("a.tar.gz");
    assert!(peak(&[Path::new("create"), &source, &archive]) < LIMIT_KIB / 2);
    assert!(peak(&[Path::new("restore"), &archive, &target]) < LIMIT_KIB / 2);
    assert_eq!(fs_err::read_dir(&target).unwrap().count(), 20_000);
}

#[test]
fn a_small_archive_of_a_deep_tree_takes_little_memory() {
    let path = format!("{}/file", vec!["n".repeat(19); 16_000].join("/"));
    let archive = crate::tar_builder::TarBuilder::default()
        .pax(&crate::tar_builder::record("path", &path))
        .file("file", b"x")
        .packed();
    let folder = memory_folder();
    let file = folder.path().join("a.tar.gz");
    fs_err::write(&file, bytes(&archive)).unwrap();
    let target = folder.path().join("target");
    for arguments in [
        &[Path::new("verify"), &file][..],
        &[Path::new("restore"), &file, &target],
        &[Path::new("list"), &file],
    ] {
        let peak = peak(arguments);
        assert!(peak < 64 << 10, "{arguments:?}: {peak} KiB");
    }
    // The standard library would remove so deep a tree by recursion.
    let small = crate::tar_builder::TarBuilder::default().file("file", b"x");
    put_back(&small.packed(), &target).unwrap();
}
