//! What fails a backup, and what a backup notes or leaves out.

use std::path::Path;

use holdfast_archive::CreateOptions;

use crate::support::*;

#[test]
fn what_is_no_property_of_a_file_fails_the_backup() {
    let folder = folder();
    let (source, archive) = (folder.path().join("source"), folder.path().join("a.tar.gz"));
    server(&source);
    let world = source.join("world");
    let level = world.join("level.dat");
    let arguments = ["create".as_ref(), source.as_os_str(), archive.as_os_str()];
    for (injection, only) in [
        ("openat:error=EMFILE", &world),
        ("openat:error=ENFILE", &world),
        ("openat:error=ENOMEM", &world),
        ("openat:error=EIO", &world),
        ("openat:error=ESTALE", &world),
        ("openat:error=ETIMEDOUT", &world),
        ("openat:error=ENOTCONN", &world),
        ("getdents64:error=EIO", &world),
        ("getdents64:error=ENOMEM", &world),
        ("preadv2,pread64:error=EIO", &level),
        ("preadv2,pread64:error=ESTALE", &level),
        ("flistxattr:error=ENOMEM", &level),
        ("readlinkat:error=EIO", &source),
    ] {
        let Some(output) = with_failing_call(injection, Some(only), &arguments) else {
            return;
        };
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{injection}: {error}");
        assert!(error.contains("(os error "), "{injection}: {error}");
        assert!(error.starts_with("cannot "), "{injection}: {error}");
    }
    // These say something about the file alone, and so does a call that was only interrupted.
    let world = world.to_str().unwrap();
    for (injection, only, note) in [
        (
            "openat:error=EACCES",
            "level.dat",
            "level.dat: left out: cannot read: Permission denied",
        ),
        (
            "openat:error=ENOKEY",
            "level.dat",
            "level.dat: left out: cannot read: Required key not available",
        ),
        (
            "openat:error=EACCES",
            world,
            "world: cannot read all of the folder: Permission denied",
        ),
        ("openat:error=EINTR:when=1..3", world, ""),
        ("flistxattr:error=EOPNOTSUPP", world, ""),
    ] {
        let only = Path::new(only);
        let output = with_failing_call(injection, Some(only), &arguments).unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{injection}: {error}");
        assert!(error.contains(note), "{injection}: {error}");
    }
}

#[test]
fn a_backup_without_free_file_descriptors_fails() {
    let folder = folder();
    let mut at = folder.path().join("source");
    for level in 0..30 {
        at.push(format!("folder-{level}"));
        write(at.join("file"), "x");
    }
    let script = "ulimit -n 16; exec \"$0\" create source a.tar.gz";
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(engine())
        .current_dir(folder.path())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{error}");
    assert!(error.contains("Too many open files"), "{error}");
}

#[test]
fn links_that_leave_the_directory_are_noted_and_stored() {
    let folder = folder();
    let source = folder.path().join("source");
    write(source.join("data/world/level.dat"), "x");
    for (target, name) in [
        ("/mnt/big/world", "world"),
        ("../elsewhere/mods", "mods"),
        ("data/world", "inside"),
        ("../data", "data/up"),
        ("gone", "dangling-inside"),
        ("/home/container/data", "as-the-container-sees-it"),
        (source.join("data").to_str().unwrap(), "absolute-inside"),
    ] {
        std::os::unix::fs::symlink(target, source.join(name)).unwrap();
    }
    let made = make_simply(&source);
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
            "mods: it leads out of the directory, to ../elsewhere/mods, which is not part of the \
             backup",
            "world: it leads out of the directory, to /mnt/big/world, which is not part of the \
             backup",
        ]
    );
    assert_eq!(made.summary.entries, 10, "all of them are stored");
    for number in 0..50 {
        let name = format!("many-{number:02}");
        std::os::unix::fs::symlink("/nowhere", source.join(name)).unwrap();
    }
    let notes = make_simply(&source).summary.notes;
    assert_eq!(notes.count, 21);
    assert!(
        notes.first[20].reason.starts_with("32 more links lead out"),
        "{notes:?}"
    );
}

#[test]
fn the_files_of_the_archive_itself_are_left_out() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = folder();
    write(folder.path().join("file"), "x");
    write(folder.path().join("own"), "y");
    fs_err::hard_link(folder.path().join("own"), folder.path().join("own-too")).unwrap();
    let own = fs_err::metadata(folder.path().join("own")).unwrap();
    let options = CreateOptions {
        own_files: vec![(own.dev(), own.ino())],
        ..Default::default()
    };
    let made = make(folder.path(), &[], &options).unwrap();
    assert_eq!(entries(&made), ["file"]);
    assert_eq!(made.summary.notes.count, 2);
}
