//! `truncate: false`: what is not in the archive stays.

use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::Command;

use holdfast_archive::{Control, RestoreOptions, RestoreSummary, restore};

use crate::disks::can_use;
use crate::support::*;

fn put_back_and_keep(made: &Made, target: &Path) -> RestoreSummary {
    let options = RestoreOptions::default();
    let control = Control::new();
    restore(&made.archive, None, target, &options, &control, &mut || {
        Ok(())
    })
    .unwrap()
}

/// An archive with a file, a folder and a link, each with a name for every kind of conflict.
fn archive(folder: &Path) -> Made {
    let source = folder.join("source");
    for end in ["folder", "link", "file", "empty", "pipe"] {
        write(source.join(format!("file-{end}")), "archived");
        write(source.join(format!("folder-{end}/archived")), "archived");
        symlink("archived", source.join(format!("link-{end}"))).unwrap();
    }
    make_simply(&source)
}

#[test]
fn what_the_archive_displaces_is_kept_beside_it_and_noted() {
    let folder = folder();
    let made = archive(folder.path());
    let target = folder.path().join("server");
    for kind in ["file", "folder", "link"] {
        write(target.join(format!("{kind}-folder/new/data")), "precious");
        symlink("/elsewhere", target.join(format!("{kind}-link"))).unwrap();
        write(target.join(format!("{kind}-file")), "precious");
        fs_err::create_dir(target.join(format!("{kind}-empty"))).unwrap();
        let pipe = target.join(format!("{kind}-pipe"));
        assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
    }
    // Two names that are taken: by the server, and by a folder with the longest name.
    write(target.join("file-folder.before-restore"), "first");
    let summary = put_back_and_keep(&made, &target);
    let read = |name: &str| fs_err::read_to_string(target.join(name)).unwrap();
    let link = |name: &str| fs_err::read_link(target.join(name)).unwrap();

    for end in ["folder", "link", "file", "empty", "pipe"] {
        assert_eq!(read(&format!("file-{end}")), "archived", "{end}");
        assert_eq!(read(&format!("folder-{end}/archived")), "archived", "{end}");
        assert_eq!(link(&format!("link-{end}")), Path::new("archived"), "{end}");
    }
    assert_eq!(read("file-folder.before-restore"), "first");
    assert_eq!(read("file-folder.before-restore.2/new/data"), "precious");
    assert_eq!(read("link-folder.before-restore/new/data"), "precious");
    assert_eq!(read("folder-file.before-restore"), "precious");
    assert_eq!(read("link-file.before-restore"), "precious");
    for kind in ["file", "folder"] {
        let kept = link(&format!("{kind}-link.before-restore"));
        assert_eq!(kept, Path::new("/elsewhere"));
    }
    // Folders with the archive's own kind are merged.
    assert_eq!(read("folder-folder/new/data"), "precious");
    for kind in ["file", "folder", "link"] {
        assert!(!target.join(format!("{kind}-empty.before-restore")).exists());
        assert!(target.join(format!("{kind}-pipe.before-restore")).exists());
    }
    // Two folders, two files, two links and three pipes.
    assert_eq!(summary.notes.count, 9, "{:?}", summary.notes);
    let notes: Vec<String> = summary
        .notes
        .first
        .iter()
        .map(ToString::to_string)
        .collect();
    let wanted = "file-folder.before-restore.2: this folder was `file-folder`, and the backup has \
                  a file of that name";
    assert!(notes.contains(&wanted.to_owned()), "{notes:?}");

    // The names are free for the next restore, too.
    fs_err::remove_file(target.join("file-folder")).unwrap();
    write(target.join("file-folder/again"), "again");
    assert_eq!(put_back_and_keep(&made, &target).notes.count, 1);
    assert_eq!(read("file-folder.before-restore.3/again"), "again");
    assert_eq!(read("file-folder.before-restore.2/new/data"), "precious");
}

#[test]
fn a_displaced_entry_with_the_longest_name_gets_a_shorter_one() {
    let folder = folder();
    let source = folder.path().join("source");
    // 85 characters of three bytes: no character may be cut in half.
    let long = "\u{20ac}".repeat(85);
    write(source.join("deep").join(&long), "archived");
    let made = make_simply(&source);
    let target = folder.path().join("server");
    write(target.join("deep").join(&long).join("data"), "precious");
    assert_eq!(put_back_and_keep(&made, &target).notes.count, 1);
    let short = format!("{}.before-restore", "\u{20ac}".repeat(80));
    let kept = target.join("deep").join(short).join("data");
    assert_eq!(fs_err::read_to_string(kept).unwrap(), "precious");
}

#[test]
fn files_that_cannot_be_linked_are_copied_with_their_attributes() {
    if !can_use(&["strace", "setfattr"]) {
        return;
    }
    for error in ["EXDEV", "ENOSYS", "EPERM", "EMLINK", "EOPNOTSUPP", "EIO"] {
        let folder = folder();
        let made = archive(folder.path());
        let (target, file) = (
            folder.path().join("server"),
            folder.path().join("archive.tar.gz"),
        );
        fs_err::write(&file, bytes(&made.archive)).unwrap();
        write(target.join("new/file"), noise(300_000, 7));
        set_mode(target.join("new/file"), 0o640);
        set_mtime(target.join("new/file"), 1_500_000_000, 123);
        std::os::unix::fs::chown(target.join("new/file"), Some(1234), Some(5678)).unwrap();
        let marked = target.join("new/file").to_str().unwrap().to_owned();
        let attribute = ["-n", "user.note", "-v", "kept", marked.as_str()];
        assert!(
            Command::new("setfattr")
                .args(attribute)
                .status()
                .unwrap()
                .success()
        );
        fs_err::hard_link(target.join("new/file"), target.join("new/second")).unwrap();
        sparse(&target.join("new/sparse"), 5 << 20, &[(2 << 20, b"island")]);
        symlink("/elsewhere", target.join("new/link")).unwrap();
        set_mtime(target.join("new/link"), 1_400_000_000, 5);
        set_mode(target.join("new"), 0o750);
        set_mtime(target.join("new"), 1_300_000_000, 9);
        let before = describe(&target);
        let inode = fs_err::metadata(target.join("new/file")).unwrap().ino();
        let output = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=linkat,link"])
            .args(["-e", &format!("inject=linkat,link:error={error}")])
            .arg("-P")
            .arg(target.join("new"))
            .arg(engine())
            .arg("restore")
            .args([&file, &target])
            .arg("--keep")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}: {said}");
        let after = describe(&target);
        for (path, text) in &before {
            assert_eq!(after.get(path), Some(text), "{error}: {}", path.display());
        }
        let kept = fs_err::metadata(target.join("new/file")).unwrap();
        assert_ne!(kept.ino(), inode, "{error}: it was linked");
        assert_eq!((kept.uid(), kept.gid()), (1234, 5678), "{error}");
        let value = Command::new("getfattr")
            .args(["-n", "user.note", "--only-values", &marked])
            .output();
        assert_eq!(value.unwrap().stdout, b"kept", "{error}");
        assert!(target.join("file-file").exists());
    }
}

#[test]
fn a_sync_that_the_kernel_does_not_know_does_not_stop_a_restore() {
    if !can_use(&["strace"]) {
        return;
    }
    for (call, error) in [
        ("syncfs", "ENOSYS"),
        ("syncfs", "EOPNOTSUPP"),
        ("renameat2", "ENOSYS"),
        ("renameat2", "EINVAL"),
    ] {
        let folder = folder();
        let made = archive(folder.path());
        let (target, file) = (
            folder.path().join("server"),
            folder.path().join("archive.tar.gz"),
        );
        fs_err::write(&file, bytes(&made.archive)).unwrap();
        write(target.join("new"), "new");
        let output = Command::new("strace")
            .args([
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                &format!("trace={call}"),
            ])
            .args(["-e", &format!("inject={call}:error={error}")])
            .arg(engine())
            .arg("restore")
            .args([&file, &target])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{call} {error}: {said}");
        assert!(!target.join("new").exists() && target.join("file-file").exists());
    }
    // A disk that fails is an error, and nothing is changed.
    let folder = folder();
    let made = archive(folder.path());
    let (target, file) = (
        folder.path().join("server"),
        folder.path().join("archive.tar.gz"),
    );
    fs_err::write(&file, bytes(&made.archive)).unwrap();
    write(target.join("new"), "new");
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=syncfs"])
        .args(["-e", "inject=syncfs:error=EIO"])
        .arg(engine())
        .arg("restore")
        .args([&file, &target])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert_eq!(describe(&target).len(), 1);
}
