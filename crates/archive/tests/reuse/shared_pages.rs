//! Archives on a file system that shares pages between files.

use std::path::Path;

use holdfast_archive::{
    Control, CreateOptions, FileOutput, IgnoreRules, Previous, create_from, read_file, scan,
    scan_after,
};

use super::assert_holds;
use crate::disks::Mounted;
use crate::support::*;

/// Returns the used bytes of a file system.
fn used(place: &Path) -> u64 {
    let disk = fs_err::File::open(place).unwrap();
    rustix::fs::syncfs(disk.file()).unwrap();
    let status = rustix::fs::statvfs(place).unwrap();
    (status.f_blocks - status.f_bfree) * status.f_frsize
}

/// Makes a backup on the disk. Returns it, and by how much the disk has grown.
fn back_up(place: &Path, previous: Option<&Made>) -> (Made, u64) {
    let (source, rules, control) = (place.join("s"), IgnoreRules::none(), Control::new());
    let options = CreateOptions::default();
    let path = place.join(format!("{}.tar.gz", used(place)));
    let archive = fs_err::File::create_new(&path).unwrap().into_file();
    let index = tempfile::tempfile_in(place).unwrap();
    let before = used(place);
    let scanned = match previous {
        None => scan(&source, &rules, &control),
        Some(made) => {
            let (archive, index) = (made.archive.try_clone(), made.index.try_clone());
            let opened = Previous::open(archive.unwrap(), index.unwrap(), &options).unwrap();
            scan_after(opened, false, &source, &rules, &control)
        }
    };
    let mut scanned = scanned.unwrap();
    scanned.set_begun(i64::MAX);
    let none = tempfile::tempfile().unwrap();
    let output = FileOutput::new(&archive, previous.map_or(&none, |made| &made.archive));
    let summary = create_from(scanned, &rules, &options, output, &index, &control).unwrap();
    // XFS gives space after the end of a file back when it is closed.
    drop(archive);
    let grown = used(place) - before;
    let made = Made {
        archive: open(&path),
        index,
        summary,
    };
    (made, grown)
}

#[test]
fn a_change_costs_no_other_pages_wherever_it_is() {
    const FILE_BYTES: u64 = 3 << 20;
    let Some(disk) = Mounted::new("xfs", &["-q"]) else {
        return;
    };
    let place = disk.path();
    for number in 0..12_u64 {
        let path = place.join(format!("s/r.{number}.mca"));
        write(
            &path,
            noise(usize::try_from(FILE_BYTES + number).unwrap(), number),
        );
    }
    let (mut previous, grown) = back_up(&place, None);
    assert!(grown > 12 * FILE_BYTES);
    for (step, number) in [11_u64, 3, 0, 7].into_iter().enumerate() {
        // Files of the same age are ordered by size, so the first step changes the first one.
        let changed = noise(usize::try_from(FILE_BYTES + number).unwrap(), 100 + number);
        write(place.join(format!("s/r.{number}.mca")), &changed);
        let (made, grown) = back_up(&place, Some(&previous));
        let what = format!("step {step}: {grown} bytes");
        // The file itself, at most a page at each of its ends and at each end of a block.
        assert!(grown < 2 * FILE_BYTES, "{what}");
        assert!(made.summary.reused_bytes > 10 * FILE_BYTES, "{what}");
        let longer = made.summary.archive_bytes - 12 * FILE_BYTES;
        assert!(longer < 64 << 10, "{what}: {longer} more than the files");
        assert_holds(&made, &place.join("s"), &what);
        for number in [number, 5] {
            let path = format!("r.{number}.mca");
            let mut found = Vec::new();
            let read = read_file(&made.archive, &made.index, path.as_bytes(), &mut found);
            assert_eq!(read.unwrap(), Some(FILE_BYTES + number), "{what}");
            assert!(
                found == fs_err::read(place.join("s").join(path)).unwrap(),
                "{what}"
            );
        }
        previous = made;
    }
}
