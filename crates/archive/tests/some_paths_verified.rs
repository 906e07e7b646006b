//! What restores of single files read of an archive, and what they verify.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_archive::{Error, ReadAt};

use crate::some_paths::{described, leftovers, put_back_from};
use crate::support::*;

/// An archive that counts the bytes that are read of it.
#[derive(Debug)]
struct Counted<'a>(&'a File, AtomicU64);

impl ReadAt for Counted<'_> {
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.1.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.0.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// A server of 24 files of 1 MiB, and its archive.
fn large_server(target: &Path) -> Made {
    for number in 0..24 {
        write(
            target.join(format!("world/r.{number}.mca")),
            noise(1 << 20, number + 1),
        );
    }
    write(target.join("server.properties"), "saved");
    make_simply(target)
}

#[test]
fn only_the_blocks_that_hold_the_paths_are_read() {
    let folder = folder();
    let target = folder.path().join("server");
    let made = large_server(&target);
    let before = describe(&target);
    for (path, most) in [("world/r.7.mca", 9 << 20), ("server.properties", 5 << 20)] {
        write(target.join(path), "broken");
        let archive = Counted(&made.archive, AtomicU64::new(0));
        let index = Some(&made.index);
        put_back_from(&archive, index, &made, &target, &[path], true).unwrap();
        let read = archive.1.into_inner();
        assert!(
            read < most,
            "{path}: {read} of {} bytes",
            made.summary.archive_bytes
        );
        assert_eq!(
            described(&target, &["world"])[Path::new(path)],
            before[Path::new(path)]
        );
    }
}

/// Returns a copy of an archive with a damaged byte.
fn damaged(made: &Made, at: u64) -> File {
    let mut bytes = bytes(&made.archive);
    bytes[usize::try_from(at).unwrap()] ^= 0x55;
    file_of(&bytes)
}

#[test]
fn damage_in_a_needed_block_fails_the_restore_and_damage_elsewhere_does_not() {
    let folder = folder();
    let target = folder.path().join("server");
    let made = large_server(&target);
    write(target.join("world/r.0.mca"), "broken");
    let now = describe(&target);
    let size = made.summary.archive_bytes;
    let (mut restored, mut refused) = (0, 0);
    for step in 0..48 {
        let archive = damaged(&made, size * (2 * step + 1) / 96);
        let path = ["world/r.0.mca"];
        let index = Some(&made.index);
        match put_back_from(&archive, index, &made, &target, &path, true) {
            Ok(_) => {
                let bytes = fs_err::read(target.join(path[0])).unwrap();
                assert_eq!(bytes, noise(1 << 20, 1));
                write(target.join(path[0]), "broken");
                restored += 1;
            }
            Err(error) => {
                assert!(matches!(error, Error::HashMismatch { .. }), "{error}");
                refused += 1;
            }
        }
        // Without the index, the whole archive is verified.
        let error = put_back_from(&archive, None, &made, &target, &path, true).unwrap_err();
        assert!(matches!(error, Error::HashMismatch { .. }), "{error}");
        let (found, now) = (described(&target, &["world", path[0]]), &now);
        assert_eq!(found.len(), now.len());
    }
    assert!(
        restored > 0 && refused > 0,
        "{restored} restored, {refused} refused"
    );
    assert_eq!(leftovers(folder.path()), [""; 0]);
    // The index of another archive is not used.
    write(target.join("server.properties"), "another");
    let other = make_simply(&target);
    let index = Some(&other.index);
    put_back_from(
        &made.archive,
        index,
        &made,
        &target,
        &["server.properties"],
        true,
    )
    .unwrap();
    let text = fs_err::read_to_string(target.join("server.properties")).unwrap();
    assert_eq!(text, "saved");
}
