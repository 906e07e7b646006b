//! What a backup leaves in the page cache: what was there before.

use std::fs::File;
use std::path::Path;

use rustix::fs::Advice;

use holdfast_ioctl::{page_bytes, resident_pages};

use crate::support::{folder, make_simply, skip, write};

const MIB: usize = 1 << 20;

/// Returns which pages of a file are cached.
fn cached(path: &Path) -> Vec<bool> {
    let file = fs_err::File::open(path).unwrap();
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    resident_pages(file.file(), 0, length).unwrap()
}

fn count(pages: &[bool]) -> usize {
    pages.iter().filter(|&&cached| cached).count()
}

/// Creates a file whose pages are not cached. Returns whether the file system allows that.
fn write_uncached(path: &Path, bytes: usize) -> bool {
    let text: Vec<u8> = (0..bytes).map(|at| (at / 7 % 251) as u8).collect();
    write(path, text);
    let file = fs_err::File::open(path).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(file.file(), 0, None, Advice::DontNeed).unwrap();
    let is_uncached = count(&cached(path)) == 0;
    if !is_uncached {
        skip("the file system of temporary files keeps their pages in memory");
    }
    is_uncached
}

/// Reads pages, so that they are cached, without reading ahead.
fn read_pages(path: &Path, pages: std::ops::Range<usize>) {
    let (file, _): (File, _) = fs_err::File::open(path).unwrap().into_parts();
    rustix::fs::fadvise(&file, 0, None, Advice::Random).unwrap();
    let page = page_bytes();
    for number in pages {
        let mut bytes = vec![0; page];
        rustix::io::pread(&file, &mut bytes, (number * page) as u64).unwrap();
    }
}

#[test]
fn a_backup_leaves_the_page_cache_as_it_was() {
    let place = folder();
    let source = place.path().join("server");
    let paths = ["cold.mca", "part.mca", "warm.mca", "small.dat", "empty.dat"];
    let [cold, part, warm, small, empty] = paths.map(|name| source.join("world").join(name));
    let uncached = [
        write_uncached(&cold, 70 * MIB + 123),
        write_uncached(&part, 13 * MIB + 5000),
        write_uncached(&small, 3000),
        write_uncached(&empty, 0),
    ];
    if uncached.contains(&false) {
        return;
    }
    write(&warm, vec![7; 3 * MIB]);
    // The game uses some pages at the front, in the middle and at the end.
    read_pages(&part, 0..3);
    read_pages(&part, 700..900);
    read_pages(&part, 3329..3330);
    let before = cached(&part);
    assert!(count(&before) >= 204, "{}", count(&before));
    assert_eq!(count(&cached(&warm)), 3 * MIB / page_bytes());

    make_simply(&source);

    assert_eq!(
        count(&cached(&cold)),
        0,
        "what only the backup reads is removed"
    );
    assert_eq!(count(&cached(&small)), 0, "from small files, too");
    assert_eq!(
        cached(&part),
        before,
        "what the game uses stays, and only that"
    );
    let warm = cached(&warm);
    assert_eq!(count(&warm), warm.len(), "a cached file stays cached");
}

#[test]
fn holes_are_not_asked_for_and_data_behind_them_is_removed() {
    let place = folder();
    let source = place.path().join("server");
    let path = source.join("sparse.img");
    if !write_uncached(&path, 3 * MIB) {
        return;
    }
    let file = fs_err::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    file.set_len(60 << 30).unwrap();
    let end = (60 << 30) - 2 * MIB as u64;
    rustix::io::pwrite(file.file(), &vec![5; MIB], end).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(file.file(), 0, None, Advice::DontNeed).unwrap();

    make_simply(&source);

    let pages = resident_pages(file.file(), 0, 3 * MIB).unwrap();
    assert_eq!(count(&pages), 0);
    let pages = resident_pages(file.file(), end, 2 * MIB).unwrap();
    assert_eq!(count(&pages), 0);
}
