//! Hostile archives are refused, and nothing outside of the destination is changed.

use std::io::Write as _;
use std::path::Path;

use holdfast_archive::{Control, Error, RestoreOptions, restore, verify};

use crate::support::*;
use crate::tar_builder::{TarBuilder, record};

/// Restores into a server with neighbours, checks that they are unchanged, and returns the result.
pub(crate) fn outcome(archive: &std::fs::File) -> Result<(), Error> {
    let folder = folder();
    let target = folder.path().join("servers/target");
    write(target.join("precious"), "precious");
    write(folder.path().join("servers/neighbour/file"), "neighbour");
    write(folder.path().join("outside"), "outside");
    let before = describe(folder.path());
    let mut last = Ok(());
    let verified = verify(archive, None, &Control::new()).map(|_| ());
    for truncate in [true, false] {
        let options = RestoreOptions {
            truncate,
            apply_owner: is_root(),
            special_modes: true,
            ..Default::default()
        };
        last = restore(
            archive,
            None,
            &target,
            &options,
            &Control::new(),
            &mut || Ok(()),
        )
        .map(|_| ());
        let after = describe(folder.path());
        let target = Path::new("servers/target");
        for (path, text) in &before {
            // The parent folder has new times, and the server may be another folder.
            if path != Path::new("servers") && (last.is_err() || !path.starts_with(target)) {
                assert_eq!(after.get(path), Some(text), "{}", path.display());
            }
        }
        for path in after.keys() {
            assert!(
                before.contains_key(path) || path.starts_with(target),
                "{}",
                path.display()
            );
        }
        let (verified, restored) = (shown(&verified), shown(&last));
        assert_eq!(verified, restored, "verifying and restoring disagree");
    }
    last
}

fn shown(outcome: &Result<(), Error>) -> String {
    match outcome {
        Ok(()) => "whole".to_owned(),
        Err(error) => error.to_string(),
    }
}

pub(crate) fn hostile(tar: TarBuilder) -> String {
    match outcome(&tar.packed()) {
        Err(Error::Hostile { reason, .. }) => reason,
        other => panic!("not refused as hostile: {other:?}"),
    }
}

pub(crate) fn corrupt(tar: TarBuilder) -> String {
    match outcome(&tar.packed()) {
        Err(Error::Corrupt { reason }) => reason,
        other => panic!("not refused as corrupt: {other:?}"),
    }
}

#[test]
fn names_outside_of_the_root_are_refused() {
    let t = TarBuilder::default;
    assert_eq!(
        hostile(t().file("/etc/cron.d/evil", b"x")),
        "its name is absolute"
    );
    assert_eq!(
        hostile(t().file("../outside", b"x")),
        "its name contains `..`"
    );
    assert_eq!(
        hostile(t().file("a/../../outside", b"x")),
        "its name contains `..`"
    );
    assert_eq!(
        hostile(t().folder("../neighbour/")),
        "its name contains `..`"
    );
    assert_eq!(
        hostile(t().symlink("a/../../x", "y")),
        "its name contains `..`"
    );
    assert_eq!(
        hostile(t().pax(&record("path", "../../outside")).file("fine", b"x")),
        "its name contains `..`"
    );
    assert_eq!(
        hostile(t().pax(&record("path", "a\0b")).file("fine", b"x")),
        "its name holds a NUL byte"
    );
    assert_eq!(hostile(t().file(".", b"x")), "it has no name");
    let long = "n".repeat(300);
    assert_eq!(
        hostile(t().pax(&record("path", &long)).file("x", b"x")),
        "a part of its name is too long"
    );
    let sparse = [
        record("GNU.sparse.major", "1"),
        record("GNU.sparse.name", "../outside"),
    ]
    .concat();
    let tar = t()
        .pax(&sparse)
        .file("x", &[b"0\n".as_slice(), &[0; 510]].concat());
    assert!(
        [
            "its name contains `..`",
            "its sparse map does not match its size"
        ]
        .contains(&hostile(tar).as_str())
    );
}

#[test]
fn links_cannot_be_used_to_leave_the_root() {
    let t = TarBuilder::default;
    let through = "its parent is not a folder";
    assert_eq!(
        hostile(t().symlink("door", "..").file("door/outside", b"x")),
        through
    );
    assert_eq!(
        hostile(t().symlink("door", "/etc").file("door/cron.d/evil", b"x")),
        through
    );
    assert_eq!(
        hostile(t().symlink("a", "b").symlink("b", "..").folder("a/b/")),
        through
    );
    assert_eq!(
        hostile(t().symlink("door", "..").symlink("door/x", "y")),
        through
    );
    let twice = "it is in the archive twice";
    assert_eq!(
        hostile(t().file("file", b"").file("file/below", b"x")),
        through
    );
    assert_eq!(
        hostile(t().file("a", b"").hard_link("b", "a").file("b/c", b"x")),
        through
    );
    assert_eq!(
        hostile(t().symlink("door", "../outside").file("door", b"x")),
        twice
    );
    assert_eq!(
        hostile(t().symlink("door", "../neighbour").folder("door/")),
        twice
    );
    let missing = "it links to a file that is not in the archive";
    assert_eq!(hostile(t().hard_link("x", "outside")), missing);
    assert_eq!(
        hostile(t().symlink("door", "../..").hard_link("x", "door/outside")),
        missing
    );
    assert_eq!(
        hostile(t().hard_link("x", "../../outside")),
        "its name contains `..`"
    );
    assert_eq!(
        hostile(t().hard_link("x", "/etc/passwd")),
        "its name is absolute"
    );
    assert_eq!(
        hostile(t().symlink("door", "/etc/passwd").hard_link("x", "door")),
        "its link target is not a regular file"
    );
    assert_eq!(
        hostile(t().folder("d/").hard_link("x", "d")),
        "its link target is not a regular file"
    );
    assert_eq!(hostile(t().hard_link("x", ".")), "it links to the root");
}

#[test]
fn devices_pipes_and_duplicates_are_refused() {
    let t = TarBuilder::default;
    assert_eq!(hostile(t().header(b'3', "null", "", 0)), "it is a device");
    assert_eq!(hostile(t().header(b'4', "disk", "", 0)), "it is a device");
    assert_eq!(
        hostile(t().header(b'6', "pipe", "", 0)),
        "it is a named pipe"
    );
    let twice = "it is in the archive twice";
    assert_eq!(hostile(t().file("a", b"1").file("a", b"2")), twice);
    assert_eq!(hostile(t().file("a", b"1").file("./a", b"2")), twice);
    assert_eq!(hostile(t().folder("a/").folder("a/")), twice);
    assert_eq!(
        hostile(t().file("a", &[1; 200_000]).file("a", &[1; 200_000])),
        twice
    );
    assert_eq!(
        hostile(t().file("a", b"").hard_link("b", "a").hard_link("b", "a")),
        twice
    );
}

#[test]
fn link_targets_that_no_system_takes_are_refused() {
    let t = TarBuilder::default;
    assert_eq!(hostile(t().symlink("a", "")), "its link target is empty");
    let link = |target: &str| t().pax(&record("linkpath", target)).symlink("a", "b");
    assert_eq!(
        hostile(link(&"x".repeat(4096))),
        "its link target is too long"
    );
    assert_eq!(hostile(link("x\0y")), "its link target holds a NUL byte");
    outcome(&link(&"x".repeat(4095)).packed()).unwrap();
    let long = "n".repeat(256);
    let hard = t().pax(&record("linkpath", &long)).hard_link("a", "b");
    assert_eq!(hostile(hard), "a part of its name is too long");
    let part = |length: usize| {
        let name = format!("a/{}/b", "n".repeat(length));
        t().pax(&record("path", &name)).file("x", b"x")
    };
    assert_eq!(hostile(part(256)), "a part of its name is too long");
    outcome(&part(255).packed()).unwrap();
}

#[test]
fn folders_that_are_found_late_are_no_duplicates() {
    let t = TarBuilder::default;
    outcome(
        &t().file("a/b/c", b"1")
            .folder("a/b")
            .folder("a/")
            .file("a/d", b"2")
            .packed(),
    )
    .unwrap();
    let twice = "it is in the archive twice";
    assert_eq!(
        hostile(t().file("a/b", b"1").folder("a/").folder("a/")),
        twice
    );
    assert_eq!(hostile(t().file("a/b", b"1").file("a", b"2")), twice);
    assert_eq!(hostile(t().file("a/b", b"1").symlink("a", "b")), twice);
    assert_eq!(
        hostile(t().folder("a/").hard_link("a", "b")),
        "it links to a file that is not in the archive"
    );
}

#[test]
fn depth_is_bounded() {
    let t = TarBuilder::default;
    let deep = |folders: usize| {
        let name = format!("{}x", "d/".repeat(folders));
        t().pax(&record("path", &name)).file("x", b"x")
    };
    assert_eq!(hostile(deep(16_385)), "it is more than 16384 folders deep");
    verify(&deep(16_384).packed(), None, &Control::new()).unwrap();
}

#[test]
fn a_folder_with_a_late_or_missing_entry_is_created() {
    let folder = folder();
    let archive = TarBuilder::default()
        .file("a/b/c", b"x")
        .folder("a/")
        .file("z", b"")
        .file("a/b/d", b"y")
        .packed();
    put_back(&archive, folder.path()).unwrap();
    let found: Vec<String> = describe(folder.path())
        .into_keys()
        .map(|path| path.display().to_string())
        .collect();
    assert_eq!(found, ["a", "a/b", "a/b/c", "a/b/d", "z"]);
    let text = &describe(folder.path())[Path::new("a")];
    assert_eq!(text, "folder 755 at 0.000000000");
}

#[test]
fn a_decompression_bomb_stops_before_the_disk_is_full() {
    let Some(disk) = Disk::mount("size=200m") else {
        return;
    };
    let target = disk.path().join("server");
    write(target.join("precious"), "precious");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let tar = TarBuilder::default().header(b'0', "bomb", "", 5 << 30);
    packed.write_all(&tar.0).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..5 << 10 {
        packed.write_all(&zeros).unwrap();
    }
    packed.write_all(&[0; 1024]).unwrap();
    let mut bomb = packed.finish().unwrap();
    // Its trailer states a wrong length, so it is noticed only while unpacking.
    let place = bomb.len() - 4;
    bomb[place..].fill(0);
    let error = put_back(&file_of(&bomb), &target).unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    assert_eq!(fs_err::read_dir(disk.path()).unwrap().count(), 1);
    assert_eq!(describe(&target).len(), 1);
}

#[test]
fn archives_of_other_programs_are_verified_and_damaged_ones_refused() {
    let archive = TarBuilder::default()
        .folder("a/")
        .file("a/b", b"hello")
        .packed();
    let found = verify(&archive, None, &Control::new()).unwrap();
    assert_eq!((found.entries, found.files, found.source_bytes), (2, 1, 5));
    assert!(verify(&file_of(b""), None, &Control::new()).is_err());
}
