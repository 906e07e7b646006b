//! The attributes that an archive must keep for every entry.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use holdfast_archive::{Control, CreateOptions, Error, RestoreOptions, restore};

use crate::support::*;

pub(crate) fn restored(
    archive: &std::fs::File,
    target: &Path,
    options: &RestoreOptions,
) -> Result<(), Error> {
    restore(archive, None, target, options, &Control::new(), &mut || {
        Ok(())
    })
    .map(|_| ())
}

#[test]
fn symlinks_are_restored_unchanged_and_never_followed() {
    let folder = folder();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    let outside = folder.path().join("outside");
    write(outside.join("secret"), "secret");
    fs_err::create_dir(&source).unwrap();
    let targets = [
        "plain".to_owned(),
        "../outside/secret".to_owned(),
        outside.to_str().unwrap().to_owned(),
        "x".repeat(101),
        format!("{}end", "long/".repeat(700)),
    ];
    for (number, text) in targets.iter().enumerate() {
        std::os::unix::fs::symlink(text, source.join(format!("link-{number}"))).unwrap();
    }
    let raw = name(b"\xff\xfe/raw");
    std::os::unix::fs::symlink(raw, source.join("link-raw")).unwrap();
    let made = make_simply(&source);
    assert_eq!(made.summary.files, 0);
    put_back(&made.archive, &target).unwrap();
    for (number, text) in targets.iter().enumerate() {
        let found = fs_err::read_link(target.join(format!("link-{number}"))).unwrap();
        assert_eq!(found.to_str().unwrap(), text);
    }
    assert_eq!(fs_err::read_link(target.join("link-raw")).unwrap(), raw);
    assert_eq!(fs_err::read(outside.join("secret")).unwrap(), b"secret");
}

#[test]
fn sockets_and_pipes_are_skipped_with_a_note() {
    let folder = folder();
    let root = folder.path();
    write(root.join("file"), "x");
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let pipe = std::process::Command::new("mkfifo")
        .arg(root.join("pipe"))
        .status()
        .unwrap();
    assert!(pipe.success());
    let made = make_simply(root);
    let notes: Vec<String> = made
        .summary
        .notes
        .first
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        notes,
        [
            "pipe: left out: it is a named pipe",
            "socket: left out: it is a socket"
        ]
    );
    assert_eq!(entries(&made), ["file"]);
}

#[test]
fn a_tree_deeper_than_the_limits_of_paths_and_open_files_is_restored() {
    const DEPTH: usize = 1500;
    let folder = folder();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    fs_err::create_dir(&source).unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut at = rustix::fs::open(&source, flags, Mode::empty()).unwrap();
    for level in 0..DEPTH {
        let name = format!("folder-{level}");
        rustix::fs::mkdirat(&at, &name, Mode::from_raw_mode(0o750)).unwrap();
        let file = rustix::fs::openat(&at, "zz", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR);
        rustix::io::write(file.unwrap(), name.as_bytes()).unwrap();
        at = rustix::fs::openat(&at, &name, flags, Mode::empty()).unwrap();
    }
    let made = make_simply(&source);
    assert_eq!(made.summary.notes.first, []);
    assert_eq!(made.summary.entries, 2 * DEPTH as u64);
    put_back(&made.archive, &target).unwrap();
    // An archive of the copy has the same bytes, so modes and times are the same.
    assert!(bytes(&make_simply(&target).archive) == bytes(&made.archive));
    // A second restore removes the first tree.
    put_back(&made.archive, &target).unwrap();
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn modes_times_holes_and_links_are_restored_and_special_bits_only_on_request() {
    let folder = folder();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    for mode in [0o777, 0o666, 0o644, 0o600, 0o444, 0o751, 0o4755, 0o2755] {
        write(source.join(format!("file-{mode:o}")), "x");
        set_mode(source.join(format!("file-{mode:o}")), mode);
    }
    for mode in [0o777, 0o700, 0o555, 0o1777, 0o2775, 0o4755] {
        fs_err::create_dir(source.join(format!("folder-{mode:o}"))).unwrap();
        write(source.join(format!("folder-{mode:o}/inside")), "x");
        set_mtime(
            source.join(format!("folder-{mode:o}")),
            1_234_567_890,
            987_654_321,
        );
        set_mode(source.join(format!("folder-{mode:o}")), mode);
    }
    for (number, (seconds, nanoseconds)) in [
        (0, 0),
        (-1, 1),
        (-1, 999_999_999),
        (1, 100_000_000),
        (8_589_934_591, 5),
    ]
    .iter()
    .enumerate()
    {
        write(source.join(format!("time-{number}")), "x");
        set_mtime(
            source.join(format!("time-{number}")),
            *seconds,
            *nanoseconds,
        );
    }
    write(source.join("one"), "same file");
    fs_err::hard_link(source.join("one"), source.join("folder-700/two")).unwrap();
    set_mtime(source.join("folder-700"), 1_234_567_890, 987_654_321);
    sparse(&source.join("only-hole"), 1 << 20, &[]);
    sparse(
        &source.join("holes"),
        9 << 20,
        &[(0, b"start"), (5 << 20, b"middle")],
    );
    sparse(
        &source.join("ends-with-data"),
        1 << 20,
        &[((1 << 20) - 5, b"end!!")],
    );
    let made = make_simply(&source);
    put_back(&made.archive, &target).unwrap();
    assert_eq!(describe(&target), describe(&source));
    let blocks = |path: &Path| fs_err::metadata(path).unwrap().blocks();
    assert!(blocks(&target.join("holes")) <= blocks(&source.join("holes")));
    // A new folder in such a folder would inherit its group and its setgid bit.
    set_mode(folder.path(), 0o2770);
    restored(
        &made.archive,
        &target,
        &RestoreOptions {
            truncate: true,
            ..Default::default()
        },
    )
    .unwrap();
    let mode = |name: &str| {
        fs_err::metadata(target.join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!(
        (mode("file-4755"), mode("folder-1777"), mode("file-444")),
        (0o755, 0o1777, 0o444)
    );
    assert_eq!(
        (
            mode("file-2755"),
            mode("folder-2775"),
            mode("folder-4755"),
            mode("folder-700")
        ),
        (0o755, 0o2775, 0o755, 0o700)
    );
}

#[test]
fn owner_numbers_are_applied_only_on_request() {
    if !is_root() {
        return skip("only root can change owners");
    }
    let folder = folder();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    write(source.join("sub/file"), "x");
    std::os::unix::fs::symlink("file", source.join("link")).unwrap();
    for name in ["sub", "sub/file", "link"] {
        std::os::unix::fs::lchown(source.join(name), Some(12_345), Some(3_000_000)).unwrap();
    }
    let made = make_simply(&source);
    let owners = |root: &Path| {
        ["sub", "sub/file", "link"].map(|name| {
            let metadata = fs_err::symlink_metadata(root.join(name)).unwrap();
            (metadata.uid(), metadata.gid())
        })
    };
    let mut options = RestoreOptions {
        truncate: true,
        ..Default::default()
    };
    restored(&made.archive, &target, &options).unwrap();
    assert_eq!(owners(&target), [(0, 0); 3]);
    // A game server must be able to write the files that root has restored.
    std::os::unix::fs::lchown(&target, Some(2000), Some(2001)).unwrap();
    for truncate in [true, false] {
        options.truncate = truncate;
        restored(&made.archive, &target, &options).unwrap();
        assert_eq!(owners(&target), [(2000, 2001); 3]);
    }
    options.apply_owner = true;
    restored(&made.archive, &target, &options).unwrap();
    assert_eq!(owners(&target), [(12_345, 3_000_000); 3]);
}

#[test]
fn extended_attributes_are_restored_on_request() {
    let folder = folder();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    write(source.join("file"), "x");
    let flags = rustix::fs::XattrFlags::empty();
    if rustix::fs::setxattr(source.join("file"), "user.color", b"blue\0\n=", flags).is_err() {
        return skip("this disk has no extended attributes");
    }
    let read = |root: &Path| {
        let mut value = Vec::with_capacity(100);
        rustix::fs::getxattr(
            root.join("file"),
            "user.color",
            rustix::buffer::spare_capacity(&mut value),
        )
        .map(|_| value)
    };
    put_back(&make_simply(&source).archive, &target).unwrap();
    assert!(read(&target).is_err());
    let options = CreateOptions {
        xattrs: true,
        ..Default::default()
    };
    put_back(&make(&source, &[], &options).unwrap().archive, &target).unwrap();
    assert_eq!(read(&target).unwrap(), b"blue\0\n=");
}
