//! How other engines lose data, one row of our list of faults after the other, and that we do not.

use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_archive::{
    Control, CreateOptions, Error, RestoreOptions, Rules, create, restore, verify,
};
use rustix::fs::{Mode, OFlags};

use crate::support::*;

/// A server that must survive whatever is done to it.
fn precious(root: &Path) {
    write(root.join("world/level.dat"), "precious");
    write(root.join("config/a/b/c.yml"), "precious: true");
    set_mode(root.join("config/a"), 0o711);
}

fn restored(archive: &std::fs::File, target: &Path, options: &RestoreOptions) -> Result<(), Error> {
    restore(archive, None, target, options, &Control::new(), &mut || {
        Ok(())
    })
    .map(|_| ())
}

#[test]
fn row_1_nothing_of_the_server_is_gone_if_the_archive_is_not_what_it_should_be() {
    let folder = folder();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    server(&source);
    precious(&target);
    let before = describe(&target);
    let made = make_simply(&source);
    let good = bytes(&made.archive);
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let truncate = RestoreOptions {
        truncate: true,
        ..Default::default()
    };
    let expecting = RestoreOptions {
        expected: made.expected(),
        ..truncate.clone()
    };
    for (bad, what) in [
        (Vec::new(), "empty"),
        (b"<html>404 not found</html>".to_vec(), "a page"),
        (good[..good.len() - 9].to_vec(), "cut"),
        (good[..good.len() / 2].to_vec(), "half"),
        (flipped, "flipped"),
    ] {
        let archive = file_of(&bad);
        for options in [&truncate, &expecting] {
            let error = restored(&archive, &target, options).unwrap_err();
            let told = matches!(error, Error::Corrupt { .. } | Error::HashMismatch { .. });
            assert!(told, "{what}: {error}");
            assert_eq!(describe(&target), before, "{what}");
            assert_eq!(
                fs_err::read_dir(folder.path()).unwrap().count(),
                2,
                "{what}"
            );
        }
    }
    restored(&made.archive, &target, &expecting).unwrap();
    assert_eq!(describe(&target).len(), describe(&source).len());
}

#[test]
fn row_1_a_full_disk_is_refused_before_anything_is_touched() {
    let Some(disk) = Disk::mount("size=4m") else {
        return;
    };
    let folder = folder();
    let source = folder.path().join("source");
    write(source.join("large.bin"), noise(6 << 20, 1));
    let target = disk.path().join("server");
    precious(&target);
    let before = describe(&target);
    let made = make_simply(&source);
    for index in [None, Some(&made.index)] {
        let options = RestoreOptions {
            truncate: true,
            ..Default::default()
        };
        let error = restore(
            &made.archive,
            index,
            &target,
            &options,
            &Control::new(),
            &mut || Ok(()),
        )
        .unwrap_err();
        assert!(matches!(error, Error::NoSpace { needed, available } if needed > available));
        assert!(error.is_no_space());
        assert_eq!(describe(&target), before);
        assert_eq!(fs_err::read_dir(disk.path()).unwrap().count(), 1);
    }
    // Found out only on the way: many small files take more than their bytes.
    let many = folder.path().join("many");
    for number in 0..1500 {
        write(many.join(number.to_string()), "x");
    }
    let made = make_simply(&many);
    let options = RestoreOptions {
        truncate: true,
        ..Default::default()
    };
    let error = restored(&made.archive, &target, &options).unwrap_err();
    assert!(error.is_no_space(), "{error}");
    assert_eq!(describe(&target), before);
    assert_eq!(fs_err::read_dir(disk.path()).unwrap().count(), 1);
}

#[test]
fn row_2_a_wrong_trailer_or_hash_is_an_error() {
    let folder = folder();
    server(folder.path());
    let made = make_simply(folder.path());
    let good = bytes(&made.archive);
    for from_end in 1..=8 {
        let mut bad = good.clone();
        let place = bad.len() - from_end;
        bad[place] ^= 0x10;
        let error = verify(&file_of(&bad), None, &Control::new()).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        let error = verify(&file_of(&bad), made.expected().as_ref(), &Control::new()).unwrap_err();
        assert!(matches!(error, Error::HashMismatch { .. }), "{error}");
    }
    // The trailer of a first member among several counts as well.
    let mut two = good.clone();
    let place = two.len() - 1;
    two[place] ^= 1;
    two.extend_from_slice(&good);
    assert!(verify(&file_of(&two), None, &Control::new()).is_err());
}

#[test]
fn row_3_every_flipped_byte_is_found_and_no_half_restore_succeeds() {
    let folder = folder();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    for number in 0..12 {
        write(
            source.join(format!("file-{number}.txt")),
            format!("number {number}\n").repeat(20),
        );
    }
    write(source.join("noise.bin"), noise(5000, 3));
    precious(&target);
    let before = describe(&target);
    let made = make_simply(&source);
    let good = bytes(&made.archive);
    let verified = |bytes: &[u8]| verify(&file_of(bytes), None, &Control::new());
    assert!(verified(&good).is_ok());
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] = !bad[place];
        let file = file_of(&bad);
        let error = verify(&file, made.expected().as_ref(), &Control::new()).unwrap_err();
        assert!(
            matches!(error, Error::HashMismatch { .. }),
            "byte {place}: {error}"
        );
        // Time, flags and system of the gzip header (4 to 9) say nothing of the contents.
        if !(4..10).contains(&place) {
            assert!(verified(&bad).is_err(), "byte {place} of {}", good.len());
        }
        if place % 97 == 0 && !(4..10).contains(&place) {
            let truncate = RestoreOptions {
                truncate: true,
                ..Default::default()
            };
            for index in [None, Some(&made.index)] {
                let outcome = restore(
                    &file,
                    index,
                    &target,
                    &truncate,
                    &Control::new(),
                    &mut || Ok(()),
                );
                assert!(outcome.is_err(), "byte {place}");
            }
            assert_eq!(describe(&target), before, "byte {place}");
        }
    }
    for length in 0..good.len() {
        assert!(verified(&good[..length]).is_err(), "cut to {length} bytes");
    }
}

#[test]
fn row_3_an_index_that_is_damaged_is_not_believed() {
    let folder = folder();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    server(&source);
    let made = make_simply(&source);
    let good = bytes(&made.index);
    let other = folder.path().join("other");
    write(other.join("file"), "other");
    let foreign = make_simply(&other);
    for place in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[place] = !bad[place];
        let bad = file_of(&bad);
        let listed =
            holdfast_archive::list(&made.archive, Some(&bad), &Control::new(), &mut |_| Ok(()));
        assert!(matches!(listed, Err(Error::Corrupt { .. })), "byte {place}");
    }
    let mut bad = good.clone();
    bad[20] ^= 4;
    // The archive itself is whole: it is restored without its index.
    for index in [file_of(&bad), file_of(b""), foreign.index] {
        let options = RestoreOptions {
            truncate: true,
            ..Default::default()
        };
        restore(
            &made.archive,
            Some(&index),
            &target,
            &options,
            &Control::new(),
            &mut || Ok(()),
        )
        .unwrap();
        assert_eq!(describe(&target), describe(&source));
    }
}

/// Takes a number of bytes, and then says that the disk is full.
struct FullAfter(usize);

impl Write for FullAfter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes everything, and fails when it is to be flushed.
struct FailsToFlush;

impl Write for FailsToFlush {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

#[test]
fn row_4_no_error_of_the_writers_is_dropped() {
    let folder = folder();
    server(folder.path());
    let size = usize::try_from(make_simply(folder.path()).summary.archive_bytes).unwrap();
    let (options, rules, control) = (CreateOptions::default(), Rules::none(), Control::new());
    for taken in [0, 5, 10, size / 2, size - 8, size - 1] {
        let full = FullAfter(taken);
        let error =
            create(folder.path(), &rules, &options, full, io::sink(), &control).unwrap_err();
        assert!(
            matches!(&error, Error::Output(_)) && error.is_no_space(),
            "{taken}: {error:?}"
        );
    }
    create(
        folder.path(),
        &rules,
        &options,
        FullAfter(size),
        io::sink(),
        &control,
    )
    .unwrap();
    for taken in [0, 10, 40] {
        let error = create(
            folder.path(),
            &rules,
            &options,
            io::sink(),
            FullAfter(taken),
            &control,
        );
        assert!(matches!(error.unwrap_err(), Error::Output(_)));
    }
    let flushed = create(
        folder.path(),
        &rules,
        &options,
        FailsToFlush,
        io::sink(),
        &control,
    );
    assert!(matches!(flushed.unwrap_err(), Error::Output(_)));
    let flushed = create(
        folder.path(),
        &rules,
        &options,
        io::sink(),
        FailsToFlush,
        &control,
    );
    assert!(matches!(flushed.unwrap_err(), Error::Output(_)));
    let full = fs_err::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let error = create(folder.path(), &rules, &options, full, io::sink(), &control).unwrap_err();
    assert!(error.is_no_space());
    let limited = CreateOptions {
        max_archive_bytes: Some(size as u64 - 1),
        ..options.clone()
    };
    let error = create(
        folder.path(),
        &rules,
        &limited,
        io::sink(),
        io::sink(),
        &control,
    );
    assert!(
        matches!(error.unwrap_err(), Error::TooLarge { limit_bytes } if limit_bytes == size as u64 - 1)
    );
    let limited = CreateOptions {
        max_archive_bytes: Some(size as u64),
        ..options
    };
    create(
        folder.path(),
        &rules,
        &limited,
        io::sink(),
        io::sink(),
        &control,
    )
    .unwrap();
}

/// Runs something once, when the first block of the archive comes out.
struct Meanwhile<'a, W> {
    inner: W,
    once: AtomicBool,
    action: &'a (dyn Fn() + Sync),
}

impl<W: Write> Write for Meanwhile<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // What comes before is the gzip header, written before anything was read.
        if bytes.len() > 100 && !self.once.swap(true, Ordering::Relaxed) {
            (self.action)();
        }
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Archives a tree that changes as soon as the first bytes are out; returns the notes.
fn notes_while(source: &Path, action: &(dyn Fn() + Sync)) -> (std::fs::File, Vec<String>) {
    let archive = tempfile::tempfile().unwrap();
    let output = Meanwhile {
        inner: &archive,
        once: AtomicBool::new(false),
        action,
    };
    let options = CreateOptions {
        threads: 1,
        ..Default::default()
    };
    let control = Control::new();
    let summary = create(
        source,
        &Rules::none(),
        &options,
        output,
        io::sink(),
        &control,
    )
    .unwrap();
    let expected = holdfast_archive::Expected {
        sha256: summary.sha256,
        archive_bytes: summary.archive_bytes,
    };
    verify(&archive, Some(&expected), &control).unwrap();
    assert_eq!(summary.notes.count, summary.notes.first.len() as u64);
    (
        archive,
        summary
            .notes
            .first
            .iter()
            .map(ToString::to_string)
            .collect(),
    )
}

#[test]
fn row_5_files_that_change_meanwhile_are_noted_and_the_archive_is_whole() {
    let folder = folder();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    let large = source.join("b.bin");
    let gone = ["c-gone", "d-link", "e-folder", "f-folder-to-file", "g-good"];
    // The first block goes out while the large file is read: what comes after it has time to change.
    for (what, change) in [
        ("it shrank while it was read", 0),
        ("it grew while it was read; it is cut at 41943040 bytes", 1),
        ("it changed while it was read", 2),
    ] {
        let _ = fs_err::remove_dir_all(&source);
        write(source.join("a.txt"), "first");
        write(&large, noise(40 << 20, 4));
        for name in gone {
            write(source.join(name), "later");
        }
        fs_err::remove_file(source.join("f-folder-to-file")).unwrap();
        write(source.join("f-folder-to-file/inside"), "later");
        let (archive, notes) = notes_while(&source, &|| {
            let file = fs_err::OpenOptions::new().write(true).open(&large).unwrap();
            match change {
                0 => file.set_len(1 << 20).unwrap(),
                1 => file.set_len(41 << 20).unwrap(),
                _ => {
                    use std::os::unix::fs::FileExt as _;
                    file.file().write_all_at(b"new", 39 << 20).unwrap();
                }
            }
            for name in &gone[..3] {
                fs_err::remove_file(source.join(name)).unwrap();
            }
            std::os::unix::fs::symlink("/etc/passwd", source.join("d-link")).unwrap();
            fs_err::create_dir(source.join("e-folder")).unwrap();
            fs_err::remove_dir_all(source.join("f-folder-to-file")).unwrap();
            write(source.join("f-folder-to-file"), "now a file");
        });
        assert!(notes[0].starts_with(&format!("b.bin: {what}")), "{notes:?}");
        assert_eq!(
            notes[1..],
            [
                "c-gone: left out: it vanished while the backup ran",
                "d-link: left out: it was replaced while the backup ran",
                "e-folder: left out: it was replaced while the backup ran",
                "f-folder-to-file: it was replaced while the backup ran",
            ]
        );
        put_back(&archive, &target).unwrap();
        let found = fs_err::read(target.join("b.bin")).unwrap();
        assert_eq!(found.len(), 40 << 20);
        let intact = noise(40 << 20, 4);
        assert!(found[..1 << 20] == intact[..1 << 20]);
        assert!(change != 0 || found[30 << 20..].iter().all(|&byte| byte == 0));
        assert_eq!(fs_err::read(target.join("g-good")).unwrap(), b"later");
    }
}

#[test]
fn row_6_what_cannot_be_read_is_noted_and_the_rest_is_archived() {
    if is_root() {
        return skip("root may read everything");
    }
    let folder = folder();
    let root = folder.path();
    write(root.join("a/secret/inside"), "x");
    write(root.join("a/z"), "z");
    write(root.join("locked.txt"), "x");
    write(root.join("z.txt"), "z");
    set_mode(root.join("a/secret"), 0);
    set_mode(root.join("locked.txt"), 0);
    let made = make_simply(root);
    let notes: Vec<String> = made
        .summary
        .notes
        .first
        .iter()
        .map(ToString::to_string)
        .collect();
    set_mode(root.join("a/secret"), 0o700);
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].starts_with("a/secret: cannot open the folder: Permission denied"));
    assert!(notes[1].starts_with("locked.txt: left out: cannot read: Permission denied"));
    assert_eq!(entries(&made), ["a", "a/secret", "a/z", "z.txt"]);
}

#[test]
fn row_7_symlinks_are_stored_and_restored_verbatim_and_never_followed() {
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
fn row_8_sockets_pipes_and_devices_are_skipped_with_a_note() {
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
fn row_8_a_tree_deeper_than_any_path_or_table_of_open_files_comes_back() {
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
    // What is archived from the copy is the same to the last byte: modes, times and all.
    assert!(bytes(&make_simply(&target).archive) == bytes(&made.archive));
    // A second restore removes the first tree.
    put_back(&made.archive, &target).unwrap();
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn row_8_modes_times_holes_and_links_come_back_exactly_and_special_bits_only_if_asked() {
    let folder = folder();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    for mode in [0o777, 0o666, 0o644, 0o600, 0o444, 0o751, 0o4755, 0o2755] {
        write(source.join(format!("file-{mode:o}")), "x");
        set_mode(source.join(format!("file-{mode:o}")), mode);
    }
    for mode in [0o777, 0o700, 0o555, 0o1777] {
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
        (0o755, 0o777, 0o444)
    );
}

#[test]
fn row_8_owner_numbers_are_applied_only_if_asked() {
    if !is_root() {
        return skip("only root may give files away");
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
    options.apply_owner = true;
    restored(&made.archive, &target, &options).unwrap();
    assert_eq!(owners(&target), [(12_345, 3_000_000); 3]);
}

#[test]
fn row_8_extended_attributes_travel_if_asked() {
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

#[test]
fn row_12_work_can_be_cancelled_at_any_time_and_leaves_nothing_behind() {
    let folder = folder();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    server(&source);
    precious(&target);
    let before = describe(&target);
    let control = Control::new();
    let output = Meanwhile {
        inner: io::sink(),
        once: AtomicBool::new(false),
        action: &|| control.cancel(),
    };
    let slow = CreateOptions {
        read_limit_bytes_per_second: Some(1 << 20),
        ..Default::default()
    };
    let started = std::time::Instant::now();
    let error = create(&source, &Rules::none(), &slow, output, io::sink(), &control).unwrap_err();
    assert!(matches!(error, Error::Cancelled));
    assert!(started.elapsed().as_secs() < 2);
    let made = make_simply(&source);
    let options = RestoreOptions {
        truncate: true,
        ..Default::default()
    };
    for index in [None, Some(&made.index)] {
        let error = restore(
            &made.archive,
            index,
            &target,
            &options,
            &control,
            &mut || Ok(()),
        );
        assert!(matches!(error.unwrap_err(), Error::Cancelled));
    }
    assert!(matches!(
        verify(&made.archive, None, &control).unwrap_err(),
        Error::Cancelled
    ));
    assert_eq!(describe(&target), before);
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn row_12_a_read_limit_holds() {
    let folder = folder();
    write(folder.path().join("file"), noise(3 << 20, 1));
    let options = CreateOptions {
        read_limit_bytes_per_second: Some(2 << 20),
        ..Default::default()
    };
    let started = std::time::Instant::now();
    make(folder.path(), &[], &options).unwrap();
    assert!(
        started.elapsed().as_millis() >= 1400,
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn row_13_the_source_is_never_left_through_a_link() {
    let folder = folder();
    let (source, outside) = (folder.path().join("source"), folder.path().join("outside"));
    write(outside.join("secret"), "secret");
    write(source.join("file"), "x");
    std::os::unix::fs::symlink(&outside, source.join("folder-link")).unwrap();
    let made = make_simply(&source);
    assert_eq!(entries(&made), ["file", "folder-link"]);
    // A folder swapped for a link under a running walk: whatever it meets, the secret stays outside.
    write(source.join("swap/inner/secret"), "harmless");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (real, link) = (source.join("swap/inner"), source.join("swap/link"));
            std::os::unix::fs::symlink(&outside, &link).unwrap();
            while !stop.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let cwd = rustix::fs::CWD;
                rustix::fs::renameat_with(cwd, &real, cwd, &link, flags).unwrap();
            }
        });
        for _ in 0..200 {
            let made = make_simply(&source);
            holdfast_archive::list(&made.archive, None, &Control::new(), &mut |entry| {
                assert!(
                    entry.size != 6,
                    "{:?}",
                    String::from_utf8_lossy(&entry.path)
                );
                Ok(())
            })
            .unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
}
