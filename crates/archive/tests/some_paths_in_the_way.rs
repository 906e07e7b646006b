//! Restores of single files and folders with something in the way: links, mounts, projects, a full
//! disk, an owner who moves things.

use std::path::Path;
use std::process::Command;

use holdfast_archive::{Control, Error, RestoreOptions, recover, restore};

use crate::attacker::{Attack, PLAYER};
use crate::disks::{Mounted, can_use, output};
use crate::some_paths::{described, leftovers, put_paths_back};
use crate::support::*;

#[test]
fn links_in_the_way_are_never_followed() {
    let folder = folder();
    let target = folder.path().join("server");
    let outside = folder.path().join("outside");
    server(&target);
    let made = make_simply(&target);
    write(outside.join("region/kept"), "outside");
    write(outside.join("level.dat"), "outside");
    let untouched = describe(&outside);
    fs_err::remove_dir_all(target.join("world")).unwrap();
    for truncate in [true, false] {
        // The folder above is a link or a file.
        for is_link in [true, false] {
            match is_link {
                true => std::os::unix::fs::symlink(&outside, target.join("world")).unwrap(),
                false => write(target.join("world"), "a file"),
            }
            let now = describe(&target);
            for path in ["world/region", "world/level.dat"] {
                let error = put_paths_back(&made, true, &target, &[path], truncate).unwrap_err();
                assert!(
                    matches!(&error, Error::InTheWay { path, .. } if path == "world"),
                    "{error}"
                );
            }
            assert_eq!(describe(&target), now);
            // The path itself is replaced only if nothing has to be kept.
            let replaced = put_paths_back(&made, true, &target, &["world"], truncate);
            match truncate {
                true => {
                    replaced.unwrap();
                    assert!(target.join("world/region/r.0.0.mca").is_file());
                    fs_err::remove_dir_all(target.join("world")).unwrap();
                }
                false => {
                    let error = replaced.unwrap_err();
                    assert!(matches!(error, Error::InTheWay { .. }), "{error}");
                    fs_err::remove_file(target.join("world")).unwrap();
                }
            }
        }
    }
    assert_eq!(describe(&outside), untouched);
    assert_eq!(leftovers(folder.path()), [""; 0]);
}

#[test]
fn a_folder_of_the_server_is_not_merged_into_a_file_unless_it_is_replaced() {
    let folder = folder();
    let target = folder.path().join("server");
    server(&target);
    let made = make_simply(&target);
    fs_err::remove_file(target.join("empty.txt")).unwrap();
    write(target.join("empty.txt/inside"), "kept");
    let error = put_paths_back(&made, true, &target, &["empty.txt"], false).unwrap_err();
    assert!(matches!(&error, Error::InTheWay { path, .. } if path == "empty.txt"));
    assert!(target.join("empty.txt/inside").is_file());
    put_paths_back(&made, true, &target, &["empty.txt"], true).unwrap();
    assert!(target.join("empty.txt").is_file());
    // Below a requested folder, it is kept under a new name, as in a whole restore.
    fs_err::remove_file(target.join("world/level.dat")).unwrap();
    write(target.join("world/level.dat/inside"), "kept");
    let restored = put_paths_back(&made, true, &target, &["world"], false).unwrap();
    let note = &restored.notes.first[0].path;
    assert_eq!(note, "world/level.dat.before-restore");
    assert!(
        target
            .join("world/level.dat.before-restore/inside")
            .is_file()
    );
}

#[test]
fn a_full_disk_and_a_cancelled_restore_change_nothing() {
    let folder = folder();
    let source = folder.path().join("source");
    write(source.join("large"), noise(8 << 20, 1));
    write(source.join("small"), "saved");
    let made = make_simply(&source);
    let target = folder.path().join("server");
    write(target.join("small"), "now");
    let control = Control::new();
    control.cancel();
    let options = RestoreOptions {
        paths: vec![b"small".to_vec()],
        ..Default::default()
    };
    let (archive, index) = (&made.archive, Some(&made.index));
    let outcome = restore(archive, index, &target, &options, &control, &mut || Ok(()));
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    // The caller's check refuses the swap.
    let outcome = restore(
        archive,
        index,
        &target,
        &options,
        &Control::new(),
        &mut || Err("the server runs".into()),
    );
    assert!(matches!(outcome, Err(Error::Refused(_))), "{outcome:?}");
    assert_eq!(fs_err::read_to_string(target.join("small")).unwrap(), "now");
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 2);

    let Some(disk) = Disk::mount("size=4m") else {
        return;
    };
    let target = disk.path().join("server");
    write(target.join("large"), "now");
    for with_index in [true, false] {
        let error = put_paths_back(&made, with_index, &target, &["large"], true).unwrap_err();
        assert!(error.is_no_space(), "{error}");
        assert_eq!(fs_err::read_to_string(target.join("large")).unwrap(), "now");
        put_paths_back(&made, with_index, &target, &["small"], true).unwrap();
        assert_eq!(fs_err::read_dir(disk.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_mount_in_the_way_is_refused_and_one_elsewhere_is_not() {
    if !can_use(&["mount", "umount"]) {
        return;
    }
    let folder = folder();
    let target = folder.path().join("server");
    server(&target);
    let made = make_simply(&target);
    let place = target.join("world/region");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "tmpfs"])
        .arg(&place)
        .status();
    if !mounted.unwrap().success() {
        skip("mounting is not allowed");
        return;
    }
    write(place.join("r.0.0.mca"), "mounted");
    let outcomes = [
        "world",
        "world/region",
        "world/region/r.0.0.mca",
        "world/level.dat",
        "logs",
    ]
    .map(|path| put_paths_back(&made, true, &target, &[path], true));
    let text = fs_err::read_to_string(place.join("r.0.0.mca"));
    output("umount", &[place.to_str().unwrap()]);
    assert_eq!(text.unwrap(), "mounted");
    for (number, outcome) in outcomes.into_iter().enumerate() {
        let is_refused = matches!(outcome, Err(Error::MountedInside { .. }));
        assert_eq!(is_refused, number < 3, "{number}: {outcome:?}");
    }
}

#[test]
fn files_of_a_project_go_to_a_directory_with_a_project() {
    if !can_use(&["chattr", "lsattr"]) {
        return;
    }
    let Some(disk) = Mounted::new("xfs", &["-q"]) else {
        return;
    };
    let target = disk.path().join("server");
    server(&target);
    let made = make_simply(&target);
    let before = described(&target, &["world"]);
    // The old files have no project, and those in `world` would have another one.
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    output("chattr", &["+P", "-p", "42", &text(&target)]);
    output("chattr", &["+P", "-p", "43", &text(&target.join("world"))]);
    for truncate in [true, false] {
        let paths = [
            "world/region",
            "world/level.dat",
            "server.properties",
            "plugins",
        ];
        put_paths_back(&made, true, &target, &paths, truncate).unwrap();
        assert_eq!(described(&target, &["world"]).keys().count(), before.len());
        for (path, project) in [("world/region", "43"), ("server.properties", "42")] {
            let listed = output("lsattr", &["-pd", &text(&target.join(path))]);
            assert_eq!(
                listed.split_whitespace().next(),
                Some(project),
                "{path}: {listed}"
            );
        }
    }
}

/// Exchanges the folder above the path with a link to a folder outside, as fast as it can.
const SWAP_PARENT: &str = r#"
    my $swaps = 0;
    $SIG{TERM} = sub { print "$swaps\n"; exit };
    $| = 1;
    print "ready\n";
    while (1) {
        rename("world", "hidden") and $swaps++;
        symlink($ENV{OUTSIDE}, "world");
        select(undef, undef, undef, 0.0002);
        unlink("world");
        rename("hidden", "world");
    }
"#;

#[test]
fn an_owner_that_replaces_a_folder_by_a_link_in_a_loop_never_gets_a_file_outside() {
    if !can_use(&["perl", "setpriv"]) {
        return;
    }
    let folder = folder();
    set_mode(folder.path(), 0o711);
    let (target, outside) = (folder.path().join("server"), folder.path().join("outside"));
    write(target.join("world/level.dat"), "saved");
    let made = make_simply(&target);
    write(outside.join("level.dat"), "outside");
    let give = |path: &Path| std::os::unix::fs::chown(path, Some(PLAYER), Some(PLAYER)).unwrap();
    for path in ["", "world", "world/level.dat"] {
        give(&target.join(path));
    }
    let program = SWAP_PARENT.replace("$ENV{OUTSIDE}", &format!("{:?}", outside.to_str().unwrap()));
    let attack = Attack::start_with(&target, &program);
    let (mut restored, mut refused) = (0, 0);
    let started = std::time::Instant::now();
    while started.elapsed().as_secs() < 6 && (restored < 20 || refused < 20) {
        match put_paths_back(
            &made,
            true,
            &target,
            &["world/level.dat"],
            restored % 2 == 0,
        ) {
            Ok(_) => restored += 1,
            Err(error) => {
                assert!(!matches!(error, Error::Corrupt { .. }), "{error}");
                refused += 1;
            }
        }
        assert_eq!(
            fs_err::read_to_string(outside.join("level.dat")).unwrap(),
            "outside"
        );
        assert_eq!(fs_err::read_dir(&outside).unwrap().count(), 1);
    }
    let swaps = attack.stop();
    assert!(
        swaps > 0 && restored + refused > 10,
        "{swaps}, {restored}, {refused}"
    );
    recover(&target, None).unwrap();
    eprintln!("{swaps} swaps, {restored} restored, {refused} refused");
}
