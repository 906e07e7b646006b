//! POSIX access control lists are kept, and without them nobody gets more rights.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use holdfast_archive::{Control, Notes, RestoreOptions, restore};

use crate::interop::run;
use crate::support::*;

/// Runs `setfacl` with these arguments. Returns false, and prints why, if it does not work here.
fn set_acl(arguments: &[&str], path: &Path) -> bool {
    let set = Command::new("setfacl").args(arguments).arg(path).output();
    match set {
        Ok(output) if output.status.success() => true,
        Ok(_) => {
            skip("this disk has no access control lists");
            false
        }
        Err(_) => {
            skip("setfacl is not installed");
            false
        }
    }
}

/// Returns the lists of a path, with numbers.
fn acl(path: &Path) -> String {
    let output = Command::new("getfacl")
        .args([
            "--numeric",
            "--omit-header",
            "--absolute-names",
            "--no-effective",
        ])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn mode(path: &Path) -> u32 {
    fs_err::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Restores without owners, as the service does. Returns the notes.
fn put_back_plainly(archive: &std::fs::File, target: &Path, truncate: bool) -> Notes {
    let options = RestoreOptions {
        truncate,
        ..Default::default()
    };
    let restored = restore(
        archive,
        None,
        target,
        &options,
        &Control::new(),
        &mut || Ok(()),
    );
    restored.unwrap().notes
}

/// A server with lists on files and folders.
fn server_with_lists(source: &Path) -> bool {
    write(source.join("plain"), "x");
    write(source.join("file"), "x");
    set_mode(source.join("file"), 0o644);
    write(source.join("shared/inside"), "x");
    set_mode(source.join("shared/inside"), 0o640);
    set_acl(&["-m", "u:1001:rw,g:3000000:r"], &source.join("file"))
        && set_acl(&["-m", "d:u:1001:rwx,u:1001:rwx"], &source.join("shared"))
}

const FILE: &str = "user::rw- user:1001:rw- group::r-- group:3000000:r-- mask::rw- other::r--";
const SHARED: &str = "user::rwx user:1001:rwx group::r-x mask::rwx other::r-x default:user::rwx \
    default:user:1001:rwx default:group::r-x default:mask::rwx default:other::r-x";

#[test]
fn lists_of_files_and_folders_are_restored_and_none_is_made_up() {
    let folder = folder();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    if !server_with_lists(&source) {
        return;
    }
    assert_eq!(
        (
            acl(&source.join("file")).as_str(),
            acl(&source.join("shared")).as_str()
        ),
        (FILE, SHARED)
    );
    let made = make_simply(&source);
    assert_eq!(made.summary.notes.first, []);
    fs_err::create_dir(&target).unwrap();
    set_mode(&target, 0o750);
    // The folder that the tree is staged in hands its lists on to everything new.
    assert!(set_acl(
        &["-m", "d:u:1002:rwx,d:g::rwx,d:o::rwx"],
        folder.path()
    ));
    assert!(set_acl(&["-m", "u:1003:rx,d:u:1003:rwx"], &target));
    let own = acl(&target);
    for truncate in [true, false, true] {
        let notes = put_back_plainly(&made.archive, &target, truncate);
        assert_eq!(notes.first, []);
        assert_eq!(acl(&target.join("file")), FILE);
        assert_eq!(acl(&target.join("shared")), SHARED);
        assert_eq!(acl(&target.join("plain")), acl(&source.join("plain")));
        assert_eq!(
            acl(&target.join("shared/inside")),
            "user::rw- group::r-- other::---"
        );
        assert_eq!(acl(&target), own, "the directory keeps its own lists");
    }
}

#[test]
fn folders_that_are_kept_keep_their_lists() {
    let folder = folder();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    write(source.join("new"), "x");
    let made = make_simply(&source);
    if !server_with_lists(&target) {
        return;
    }
    put_back_plainly(&made.archive, &target, false);
    assert_eq!(acl(&target.join("file")), FILE);
    assert_eq!(acl(&target.join("shared")), SHARED);
    assert_eq!(
        acl(&target.join("shared/inside")),
        "user::rw- group::r-- other::---"
    );
    assert!(target.join("new").exists());
}

#[test]
fn where_lists_are_not_supported_the_group_gets_no_more_than_its_own_entry() {
    let folder = folder();
    let source = folder.path().join("source");
    if !server_with_lists(&source) {
        return;
    }
    let made = make_simply(&source);
    let Some(disk) = Disk::without_acls() else {
        return;
    };
    let target = disk.path().join("target");
    let notes = put_back_plainly(&made.archive, &target, true);
    assert_eq!(
        mode(&source.join("file")),
        0o664,
        "the mask is the group's mode there"
    );
    assert_eq!(mode(&target.join("file")), 0o644);
    assert_eq!(mode(&target.join("shared")), 0o755);
    assert_eq!(notes.count, 1, "{notes:?}");
    let reason = &notes.first[0].reason;
    assert!(
        reason.starts_with("3 access control lists could not be set in full"),
        "{reason}"
    );
}

#[test]
fn other_tars_read_the_lists_and_theirs_are_read() {
    let folder = folder();
    let source = folder.path().join("source");
    if !server_with_lists(&source) {
        return;
    }
    if !is_root() {
        return skip("only root restores lists of other users with tar");
    }
    let made = make_simply(&source);
    fs_err::write(folder.path().join("a.tar.gz"), bytes(&made.archive)).unwrap();
    for (tool, script) in [
        ("tar", "mkdir gnu && tar --acls -xpzf a.tar.gz -C gnu"),
        ("bsdtar", "mkdir bsd && bsdtar --acls -xpf a.tar.gz -C bsd"),
    ] {
        if run(tool, folder.path(), script).is_none() {
            continue;
        }
        let out = folder.path().join(tool[..3].replace("tar", "gnu"));
        assert_eq!(acl(&out.join("file")), FILE, "{tool}");
        let shared = acl(&out.join("shared"));
        if tool == "tar" {
            assert_eq!(shared, SHARED);
        } else {
            // bsdtar does not set the default list of a folder that is there already.
            assert!(SHARED.starts_with(&shared), "{shared}");
        }
    }
    for (tool, script) in [
        (
            "tar",
            "tar --acls --numeric-owner -czf b.tar.gz -C source .",
        ),
        (
            "tar",
            "tar --xattrs --xattrs-include='*' --format=pax -czf b.tar.gz -C source .",
        ),
        (
            "bsdtar",
            "bsdtar --acls --format=pax -czf b.tar.gz -C source .",
        ),
        (
            "bsdtar",
            "bsdtar --acls --xattrs --numeric-owner --format=pax -czf b.tar.gz -C source .",
        ),
    ] {
        if run(tool, folder.path(), script).is_none() {
            continue;
        }
        let target = folder.path().join("target");
        let notes = put_back_plainly(&open(&folder.path().join("b.tar.gz")), &target, true);
        assert_eq!(notes.first, [], "{script}");
        assert_eq!(acl(&target.join("file")), FILE, "{script}");
        assert_eq!(acl(&target.join("shared")), SHARED, "{script}");
    }
}

#[test]
fn an_entry_found_late_does_not_hand_on_the_default_list_of_its_folder() {
    let folder = folder();
    let target = folder.path().join("target");
    write(folder.path().join("probe"), "x");
    if !set_acl(&["-m", "u:1001:r"], &folder.path().join("probe")) {
        return;
    }
    let list = "user::rwx,user:1001:rwx,group::r-x,mask::rwx,other::r-x";
    let records = [
        crate::tar_builder::record("SCHILY.acl.default", list),
        crate::tar_builder::record("SCHILY.acl.access", list),
    ]
    .concat();
    let archive = crate::tar_builder::TarBuilder::default()
        .pax(&records)
        .folder("a/")
        .file("z", b"x")
        .file("a/late", b"x")
        .packed();
    let notes = put_back_plainly(&archive, &target, true);
    assert_eq!(notes.first, []);
    assert_eq!(acl(&target.join("a")), SHARED);
    assert_eq!(
        acl(&target.join("a/late")),
        "user::rw- group::r-- other::r--"
    );
}

#[test]
fn folders_without_an_entry_belong_to_the_owner_of_the_directory() {
    if !is_root() {
        return skip("only root can change owners");
    }
    let folder = folder();
    let target = folder.path().join("target");
    fs_err::create_dir(&target).unwrap();
    std::os::unix::fs::lchown(&target, Some(2000), Some(2001)).unwrap();
    let archive = crate::tar_builder::TarBuilder::default()
        .file("a/b/c", b"x")
        .packed();
    put_back_plainly(&archive, &target, true);
    for path in ["a", "a/b", "a/b/c"] {
        let metadata = fs_err::metadata(target.join(path)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (2000, 2001), "{path}");
    }
    assert_eq!(mode(&target.join("a/b")), 0o755);
}
