//! Old files that cannot be removed after a restore: they never block a later one.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use holdfast_archive::{Error, Recovered, recover};

use crate::disks::{Mounted, can_use, output, run};
use crate::support::*;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Makes a file immutable or append-only, or an ordinary one again.
#[track_caller]
fn chattr(flag: &str, path: &Path) {
    output("chattr", &[flag, text(path)]);
}

/// Runs a restore of the engine with fewer rights.
fn restore_with(rights: &[&str], archive: &Path, target: &Path) -> Output {
    // Another user cannot read the build folder.
    let own_engine = archive.with_file_name("engine");
    if !own_engine.exists() {
        // Another thread that starts a program must not inherit a handle to write to it.
        output("cp", &[text(&engine()), text(&own_engine)]);
    }
    Command::new("setpriv")
        .args(rights)
        .arg(own_engine)
        .arg("restore")
        .args([archive, target])
        .output()
        .unwrap()
}

/// Writes a server and its archive to a disk. Returns the directory and the archive.
fn prepared(disk: &Path) -> (PathBuf, PathBuf) {
    let target = disk.join("server");
    write(target.join("world/level.dat"), "saved");
    write(target.join("lock"), "saved");
    let made = make_simply(&target);
    let archive = disk.join("archive.tar.gz");
    fs_err::write(&archive, bytes(&made.archive)).unwrap();
    fs_err::write(disk.join("archive.tar.gz.index"), bytes(&made.index)).unwrap();
    (target, archive)
}

fn put_back_from(archive: &Path, target: &Path) -> Result<holdfast_archive::RestoreSummary, Error> {
    put_back(&fs_err::File::open(archive).unwrap().into_parts().0, target)
}

/// Returns the names on a disk that begin with `.holdfast`.
fn own_names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs_err::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".holdfast"))
        .collect();
    names.sort();
    names
}

/// An ext4 file system, which has immutable files.
fn disk() -> Option<Mounted> {
    if !can_use(&["chattr", "setpriv"]) {
        return None;
    }
    Mounted::new("ext4", &["-q"])
}

const NO_FLAGS: [&str; 2] = [
    "--bounding-set=-linux_immutable",
    "--inh-caps=-linux_immutable",
];

#[test]
fn immutable_files_of_an_old_tree_are_moved_aside_and_removed_later() {
    let Some(disk) = disk() else { return };
    let disk = disk.path();
    let (target, archive) = prepared(&disk);
    for round in 1..=3 {
        fs_err::create_dir_all(target.join("logs/old")).unwrap();
        write(target.join("logs/old/fixed"), "fixed");
        chattr("+i", &target.join("lock"));
        chattr("+i", &target.join("logs/old/fixed"));
        chattr("+a", &target.join("logs/old"));
        let done = restore_with(&NO_FLAGS, &archive, &target);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "round {round}: {said}");
        assert_eq!(describe(&target).len(), 3, "round {round}");
        assert_eq!(own_names(&disk), [".holdfast-old-server"]);
        let aside = disk.join(".holdfast-old-server").join(round.to_string());
        assert!(aside.join("tree/lock").exists(), "round {round}");
        assert!(aside.join("tree/logs/old/fixed").exists());
        // Everything that could be removed is gone.
        assert!(!aside.join("tree/world").exists());
    }
    assert_eq!(recover(&target, None).unwrap(), Recovered::Cleaned);
    assert_eq!(own_names(&disk), [""; 0]);
    assert_eq!(recover(&target, None).unwrap(), Recovered::Nothing);
}

#[test]
fn flags_are_cleared_where_the_process_may_but_never_of_a_file_with_another_name() {
    let Some(disk) = disk() else { return };
    let disk = disk.path();
    let (target, archive) = prepared(&disk);
    fs_err::create_dir(target.join("logs")).unwrap();
    write(target.join("logs/latest.log"), "x");
    chattr("+a", &target.join("logs/latest.log"));
    chattr("+i", &target.join("logs"));
    chattr("+i", &target.join("lock"));
    let summary = put_back_from(&archive, &target).unwrap();
    assert_eq!(summary.notes.count, 0, "{:?}", summary.notes);
    assert_eq!(own_names(&disk), [""; 0]);

    let outside = disk.join("outside");
    fs_err::hard_link(target.join("lock"), &outside).unwrap();
    chattr("+i", &outside);
    let summary = put_back_from(&archive, &target).unwrap();
    assert_eq!(summary.notes.count, 1);
    let note = summary.notes.first[0].to_string();
    assert!(
        note.contains(".holdfast-old-server: 1 of the old files"),
        "{note}"
    );
    assert!(note.contains("tree/lock"), "{note}");
    assert!(output("lsattr", &[text(&outside)]).contains('i'));
    let kept = recover(&target, None).unwrap();
    assert!(matches!(kept, Recovered::Kept { .. }), "{kept:?}");
    chattr("-i", &outside);
    assert_eq!(recover(&target, None).unwrap(), Recovered::Cleaned);
    assert!(outside.exists());
}

#[test]
fn a_process_that_died_before_it_moved_the_leftovers_aside_blocks_nothing() {
    let Some(disk) = disk() else { return };
    let disk = disk.path();
    let (target, archive) = prepared(&disk);
    let staging = disk.join(".holdfast-restore-server");
    let fixed = staging.join("tree/a/b/fixed");
    write(&fixed, "fixed");
    chattr("+i", &fixed);
    for _ in 0..2 {
        let done = restore_with(&NO_FLAGS, &archive, &target);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{said}");
        assert!(disk.join(".holdfast-old-server/1/tree/a/b/fixed").exists());
        assert!(!staging.exists());
    }
    assert_eq!(recover(&target, None).unwrap(), Recovered::Cleaned);
}

#[test]
fn an_immutable_directory_is_refused_with_the_reason() {
    let Some(disk) = disk() else { return };
    let disk = disk.path();
    let (target, archive) = prepared(&disk);
    write(target.join("new"), "new");
    let before = describe(&target);
    for flag in ["i", "a"] {
        chattr(&format!("+{flag}"), &target);
        let error = put_back_from(&archive, &target).unwrap_err();
        chattr(&format!("-{flag}"), &target);
        assert!(
            matches!(&error, Error::Immovable { path, .. } if *path == target),
            "{error}"
        );
        assert_eq!(describe(&target), before);
        assert_eq!(own_names(&disk), [""; 0]);
    }
    put_back_from(&archive, &target).unwrap();
}

#[test]
fn an_immutable_file_in_a_mount_point_is_refused_before_anything_is_moved() {
    let Some(disk) = disk() else { return };
    let (target, folder) = (disk.path(), folder());
    write(target.join("a"), "a");
    write(target.join("z/fixed"), "z");
    let archive = folder.path().join("archive");
    fs_err::write(&archive, bytes(&make_simply(&target).archive)).unwrap();
    let before = describe(&target);
    let inode = fs_err::metadata(target.join("a")).unwrap().ino();
    let ctime = |name: &str| fs_err::metadata(target.join(name)).unwrap().ctime_nsec();
    let touched = ctime("a");
    for fixed in ["z", "z/fixed"] {
        let path = target.join(fixed);
        chattr("+i", &path);
        let outcome = put_back_from(&archive, &target);
        if fixed == "z" {
            chattr("-i", &path);
            let error = outcome.unwrap_err();
            assert!(matches!(&error, Error::Immovable { path, .. } if path.ends_with("z")));
            assert_eq!(describe(&target), before);
            assert_eq!((ctime("a"), own_names(&target)), (touched, Vec::new()));
        } else {
            // A fixed file at depth moves with its folder, and goes with the old tree.
            assert_eq!(outcome.unwrap().notes.count, 0);
            assert_ne!(fs_err::metadata(target.join("a")).unwrap().ino(), inode);
            assert_eq!(own_names(&target), [""; 0]);
        }
    }
}

#[test]
fn files_of_another_user_are_moved_aside_where_the_process_is_not_root() {
    let Some(disk) = disk() else { return };
    let disk = disk.path();
    let (target, archive) = prepared(&disk);
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    for round in 1..=2 {
        assert!(run("chown", &["-R", "65534:65534", text(&target)]));
        fs_err::set_permissions(&disk, std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .unwrap();
        // A folder of root, whose files its owner alone removes.
        write(target.join("deep/root/file"), "root's");
        let done = restore_with(&nobody, &archive, &target);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "round {round}: {said}");
        assert_eq!(describe(&target).len(), 3);
        let kept = disk.join(format!(".holdfast-old-server/{round}/tree/deep/root/file"));
        assert!(kept.exists(), "round {round}");
    }
    assert_eq!(recover(&target, None).unwrap(), Recovered::Cleaned);
    assert_eq!(own_names(&disk), [""; 0]);
}

#[test]
fn a_file_in_the_place_of_the_staging_folder_is_named() {
    let folder = folder();
    let (target, archive) = prepared(folder.path());
    write(folder.path().join(".holdfast-restore-server"), "not ours");
    let before = describe(&target);
    let error = put_back_from(&archive, &target).unwrap_err();
    assert!(
        error.to_string().contains(".holdfast-restore-server"),
        "{error}"
    );
    assert_eq!(describe(&target), before);
    assert!(folder.path().join(".holdfast-restore-server").is_file());
}
