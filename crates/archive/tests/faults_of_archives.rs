//! Damaged archives, wrong hashes and full disks: the files of the server always survive.

use std::path::Path;

use holdfast_archive::{Control, Error, RestoreOptions, restore, verify};

use crate::support::*;

/// Writes a server whose files must survive.
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
fn a_damaged_archive_leaves_the_server_unchanged() {
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
            let is_expected = matches!(error, Error::Corrupt { .. } | Error::HashMismatch { .. });
            assert!(is_expected, "{what}: {error}");
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
fn a_full_disk_is_noticed_before_any_file_is_changed() {
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
    // Noticed only while unpacking: many small files take more than their bytes.
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
fn used_up_inodes_are_named_and_not_taken_for_used_up_space() {
    let Some(disk) = Disk::mount("size=64m,nr_inodes=200") else {
        return;
    };
    let folder = folder();
    let source = folder.path().join("source");
    for number in 0..400 {
        write(source.join(number.to_string()), "x");
    }
    let target = disk.path().join("server");
    precious(&target);
    let before = describe(&target);
    let made = make_simply(&source);
    for index in [None, Some(&made.index)] {
        let error = restore(
            &made.archive,
            index,
            &target,
            &RestoreOptions::default(),
            &Control::new(),
            &mut || Ok(()),
        )
        .unwrap_err();
        assert!(matches!(error, Error::NoInodes { .. }), "{error}");
        assert!(error.is_no_space());
        assert_eq!(describe(&target), before);
        assert_eq!(fs_err::read_dir(disk.path()).unwrap().count(), 1);
    }
}

/// Restores an archive in a process whose system calls fail as strace is told. Returns `None` if
/// strace does not work here.
fn restored_with_faults(
    archive: &Path,
    target: &Path,
    faults: &[&str],
) -> Option<std::process::Output> {
    let works = std::process::Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output();
    if !works.is_ok_and(|done| done.status.success()) {
        skip("strace is missing or may not trace");
        return None;
    }
    let done = std::process::Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null"])
        .args(faults)
        .arg(engine())
        .arg("restore")
        .args([archive, target])
        .output();
    Some(done.unwrap())
}

#[test]
fn folders_that_cannot_be_synced_and_unknown_free_space_do_not_stop_a_restore() {
    let folder = folder();
    let source = folder.path().join("source");
    server(&source);
    // Large enough for a look at the free space on the way.
    write(source.join("large.bin"), vec![1; 70 << 20]);
    let archive = folder.path().join("a.tar.gz");
    fs_err::write(&archive, bytes(&make_simply(&source).archive)).unwrap();
    let target = folder.path().join("target");
    let staging = folder.path().join(".holdfast-restore-target");
    let old = staging.join("old");
    let folders = [&target, &staging, &old].map(|path| path.to_str().unwrap());
    let of_folders = folders.map(|path| ["-P", path]).concat();
    for error in ["EINVAL", "ENOSYS", "EOPNOTSUPP", "EIO"] {
        precious(&target);
        // Without the exchange of folders, their children are moved, and each step is synced.
        let fsync = format!("inject=fsync:error={error}");
        let faults = ["-e", fsync.as_str(), "-e", "inject=renameat2:error=EINVAL"];
        let faults = [of_folders.as_slice(), &faults].concat();
        let Some(done) = restored_with_faults(&archive, &target, &faults) else {
            return;
        };
        assert_eq!(done.status.success(), error != "EIO", "{error}: {done:?}");
        let is_restored = target.join("large.bin").exists();
        assert_eq!(is_restored, error != "EIO", "{error}");
        fs_err::remove_dir_all(&target).unwrap();
        if staging.exists() {
            fs_err::remove_dir_all(&staging).unwrap();
        }
    }
    let zeros = "00".repeat(120);
    let statfs = format!("inject=statfs,fstatfs:retval=0:poke_exit=@arg2={zeros}");
    let done = restored_with_faults(&archive, &target, &["-e", &statfs]).unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn a_wrong_trailer_or_hash_is_an_error() {
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
    // The trailer of the first of several members is checked too.
    let mut two = good.clone();
    let place = two.len() - 1;
    two[place] ^= 1;
    two.extend_from_slice(&good);
    assert!(verify(&file_of(&two), None, &Control::new()).is_err());
}

/// Returns the tar stream of an archive.
fn unpacked(archive: &[u8]) -> Option<Vec<u8>> {
    use std::io::Read as _;
    let mut tar = Vec::new();
    let read = flate2::read::GzDecoder::new(archive).read_to_end(&mut tar);
    read.is_ok().then_some(tar)
}

#[test]
fn every_flipped_byte_is_found_and_no_partial_restore_succeeds() {
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
        // Time, flags and system in the gzip header (bytes 4 to 9) do not affect the contents.
        if !(4..10).contains(&place) {
            // Neither do bits that deflate does not use.
            let is_found = verified(&bad).is_err() || unpacked(&bad) == unpacked(&good);
            assert!(is_found, "byte {place} of {}", good.len());
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
fn a_damaged_index_is_not_used() {
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
    // The archive is whole, so it is restored without its index.
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
