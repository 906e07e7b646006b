//! Backups with full disks, changing files, unreadable files, cancellation and links.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_archive::{
    Control, CreateOptions, Error, IgnoreRules, RestoreOptions, Summary, create, restore, verify,
};

use crate::support::*;

/// A writer whose disk is full after a number of bytes.
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

/// A writer that fails to flush.
struct FailsToFlush;

impl Write for FailsToFlush {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

/// Archives a tree into two writers.
fn create_into(
    source: &Path,
    options: &CreateOptions,
    archive: impl Write + Send,
    index: impl Write + Send,
) -> Result<Summary, Error> {
    let (rules, control) = (IgnoreRules::none(), Control::new());
    create(source, &rules, options, archive, index, &control)
}

#[test]
fn every_error_of_the_writers_is_returned() {
    let folder = folder();
    let source = folder.path();
    server(source);
    let size = usize::try_from(make_simply(source).summary.archive_bytes).unwrap();
    let options = CreateOptions::default();
    for taken in [0, 5, 10, size / 2, size - 8, size - 1] {
        let error = create_into(source, &options, FullAfter(taken), io::sink()).unwrap_err();
        assert!(
            matches!(&error, Error::Output(_)) && error.is_no_space(),
            "{taken}: {error:?}"
        );
    }
    create_into(source, &options, FullAfter(size), io::sink()).unwrap();
    for taken in [0, 10, 40] {
        let error = create_into(source, &options, io::sink(), FullAfter(taken));
        assert!(matches!(error.unwrap_err(), Error::Output(_)));
    }
    let error = create_into(source, &options, FailsToFlush, io::sink());
    assert!(matches!(error.unwrap_err(), Error::Output(_)));
    let error = create_into(source, &options, io::sink(), FailsToFlush);
    assert!(matches!(error.unwrap_err(), Error::Output(_)));
    let full = fs_err::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let error = create_into(source, &options, full, io::sink()).unwrap_err();
    assert!(error.is_no_space());
}

#[test]
fn an_archive_may_have_the_maximum_size_and_no_byte_more() {
    let folder = folder();
    server(folder.path());
    let size = make_simply(folder.path()).summary.archive_bytes;
    let limited = |limit: u64| CreateOptions {
        max_archive_bytes: Some(limit),
        ..CreateOptions::default()
    };
    let error = create_into(folder.path(), &limited(size - 1), io::sink(), io::sink());
    assert!(
        matches!(error.unwrap_err(), Error::TooLarge { limit_bytes } if limit_bytes == size - 1)
    );
    create_into(folder.path(), &limited(size), io::sink(), io::sink()).unwrap();
}

/// A writer that runs an action once, when the first block of the archive is written.
struct Meanwhile<'a, W> {
    inner: W,
    once: AtomicBool,
    action: &'a (dyn Fn() + Sync),
}

impl<W: Write> Write for Meanwhile<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Shorter writes are the gzip header, which is written before any file is read.
        if bytes.len() > 100 && !self.once.swap(true, Ordering::Relaxed) {
            (self.action)();
        }
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Archives a tree that changes after the first bytes are written. Returns the notes.
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
        &IgnoreRules::none(),
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
fn files_that_change_are_noted_and_the_archive_is_whole() {
    let folder = folder();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    let large = source.join("b.bin");
    let gone = ["c-gone", "d-link", "e-folder", "f-folder-to-file", "g-good"];
    // The first block is written while the large file is read, so the files after it can change.
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
                "f-folder-to-file/inside: left out: it was replaced while the backup ran",
                "f-folder-to-file: left out: it was replaced while the backup ran",
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
fn unreadable_entries_are_noted_and_the_rest_is_archived() {
    if is_root() {
        return skip("root can read everything");
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
fn operations_can_be_cancelled_at_any_time_and_leave_no_files() {
    let folder = folder();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    server(&source);
    write(target.join("world/level.dat"), "precious");
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
    let error = create(
        &source,
        &IgnoreRules::none(),
        &slow,
        output,
        io::sink(),
        &control,
    )
    .unwrap_err();
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
fn a_read_limit_is_respected() {
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
fn a_backup_never_leaves_its_source_through_a_symlink() {
    let folder = folder();
    let (source, outside) = (folder.path().join("source"), folder.path().join("outside"));
    write(outside.join("secret"), "secret");
    write(source.join("file"), "x");
    std::os::unix::fs::symlink(&outside, source.join("folder-link")).unwrap();
    let made = make_simply(&source);
    assert_eq!(entries(&made), ["file", "folder-link"]);
    // A folder is replaced by a symlink during the walk. The secret must not be archived.
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
