//! Attributes and folders that the file system or the kernel refuses.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::support::*;

/// A server to restore, and the arguments that restore it.
fn restorable(folder: &Path) -> Vec<std::ffi::OsString> {
    let (source, archive) = (folder.join("source"), folder.join("a.tar.gz"));
    server(&source);
    fs_err::write(&archive, bytes(&make_simply(&source).archive)).unwrap();
    let target = folder.join("target");
    write(target.join("old"), "old");
    vec![
        "restore".into(),
        archive.into(),
        target.into(),
        "--owner".into(),
    ]
}

#[test]
fn attributes_that_are_refused_are_counted_and_the_files_are_restored() {
    if !is_root() {
        return skip("only root changes owners");
    }
    let folder = folder();
    let arguments = restorable(folder.path());
    let arguments: Vec<&std::ffi::OsStr> = arguments.iter().map(AsRef::as_ref).collect();
    for (injection, note) in [
        (
            "fchown,fchownat:error=EPERM",
            "could not be given to their owner",
        ),
        (
            "fchown,fchownat:error=EINVAL",
            "could not be given to their owner",
        ),
        (
            "fchown,fchownat:error=ENOSYS",
            "could not be given to their owner",
        ),
        (
            "fchown,fchownat:error=EOPNOTSUPP",
            "could not be given to their owner",
        ),
        (
            "fchown,fchownat:error=EOVERFLOW",
            "could not be given to their owner",
        ),
        ("utimensat:error=EPERM", "could not get their times"),
        ("utimensat:error=ENOSYS", "could not get their times"),
        ("linkat:error=EPERM", "could not be made and are copies now"),
        (
            "linkat:error=EMLINK",
            "could not be made and are copies now",
        ),
        (
            "linkat:error=EOPNOTSUPP",
            "could not be made and are copies now",
        ),
    ] {
        let Some(output) = with_failing_call(injection, None, &arguments) else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{injection}: {said}");
        assert_eq!(
            said.lines().count(),
            1,
            "one note that counts: {injection}: {said}"
        );
        assert!(said.contains(note), "{injection}: {said}");
        let (found, wanted) = (folder.path().join("target"), folder.path().join("source"));
        for name in ["world/level.dat", "zz-level.dat", "start.sh"] {
            let read = |root: &Path| fs_err::read(root.join(name)).unwrap();
            assert!(read(&found) == read(&wanted), "{name}");
            let mode = |root: &Path| fs_err::metadata(root.join(name)).unwrap().mode();
            assert_eq!(mode(&found), mode(&wanted), "{name}");
        }
    }
    // What is written is never given up.
    let before = describe(&folder.path().join("target"));
    for injection in [
        "write:error=ENOSPC:when=3+",
        "write:error=EFBIG:when=3+",
        "fchown,fchownat:error=EIO",
        "fchown,fchownat:error=EDQUOT",
        "symlinkat:error=EPERM",
        "mkdirat:error=EDQUOT:when=3+",
    ] {
        let output = with_failing_call(injection, None, &arguments).unwrap();
        assert!(!output.status.success(), "{injection}");
        assert_eq!(
            describe(&folder.path().join("target")),
            before,
            "{injection}"
        );
    }
}

#[test]
fn a_refused_mode_is_noted() {
    let folder = folder();
    let arguments = restorable(folder.path());
    let arguments: Vec<&std::ffi::OsStr> = arguments[..3].iter().map(AsRef::as_ref).collect();
    // The last call sets the mode of the directory itself.
    let injection = "fchmod:error=EPERM:when=1..3";
    let Some(output) = with_failing_call(injection, None, &arguments) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    // Each thread counts for itself.
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains(" entries could not get their mode: "),
        "{said}"
    );
}

#[test]
fn another_user_restores_where_reading_is_not_needed_and_is_told_where_it_is() {
    if !is_root() {
        return skip("only root can become another user");
    }
    let folder = folder();
    let root = folder.path();
    set_mode(root, 0o711);
    write(root.join("source/file"), "x");
    let made = make_simply(&root.join("source"));
    fs_err::write(root.join("a.tar.gz"), bytes(&made.archive)).unwrap();
    set_mode(root.join("a.tar.gz"), 0o644);
    let copied = root.join("engine");
    fs_err::copy(engine(), &copied).unwrap();
    set_mode(&copied, 0o755);
    let own = |path: &Path, mode: u32| {
        fs_err::create_dir_all(path).unwrap();
        std::os::unix::fs::lchown(path, Some(65_534), Some(65_534)).unwrap();
        set_mode(path, mode);
    };
    let run = |arguments: &[&Path]| {
        std::process::Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&copied)
            .args(arguments)
            .output()
    };
    let (archive, restore) = (root.join("a.tar.gz"), Path::new("restore"));
    // The parent may only be passed through: the children are exchanged.
    own(&root.join("one"), 0o755);
    let Ok(output) = run(&[restore, &archive, &root.join("one")]) else {
        return skip("setpriv is not installed");
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(root.join("one/file").exists());
    // The directory itself may only be passed through, and its parent not be listed.
    own(&root.join("inner"), 0o333);
    for mode in [0o311, 0o300] {
        own(&root.join("inner/two"), mode);
        let output = run(&[restore, &archive, &root.join("inner/two")]).unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(root.join("inner/two/file").exists());
        let found = fs_err::metadata(root.join("inner/two")).unwrap().mode() & 0o7777;
        assert_eq!(found, mode, "the directory keeps its mode");
        fs_err::remove_dir_all(root.join("inner/two")).unwrap();
    }
    // A directory that moves must be writable: its `..` changes.
    own(&root.join("inner/two"), 0o111);
    let output = run(&[restore, &archive, &root.join("inner/two")]).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let wanted = format!(
        "user 65534 cannot write into the folder {}, which belongs to user 65534 and has mode 0111",
        root.join("inner/two").display()
    );
    assert!(said.starts_with(&wanted), "{said}");
    // A backup must read.
    own(&root.join("three"), 0o311);
    let output = run(&[
        Path::new("create"),
        &root.join("three"),
        &root.join("one/b.tar.gz"),
    ]);
    let said = String::from_utf8_lossy(&output.unwrap().stderr).into_owned();
    let place = root.join("three");
    let wanted = format!(
        "user 65534 cannot read the folder {}, which belongs to user 65534 and has mode 0311: \
         change its mode, or run as its owner\n",
        place.display()
    );
    assert_eq!(said, wanted);
    fs_err::create_dir_all(root.join("closed/four")).unwrap();
    set_mode(root.join("closed"), 0o700);
    let output = run(&[restore, &archive, &root.join("closed/four")]).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let wanted = format!(
        "user 65534 cannot pass through the folder {}, which belongs to user 0 and has mode 0700",
        root.join("closed").display()
    );
    assert!(said.starts_with(&wanted), "{said}");
}
