//! `holdfast archive …`: the archive engine without the service.

use std::path::Path;

use crate::support::files;
use crate::support::process::{Ended, holdfast, run};

fn archive(folder: &Path, arguments: &[&str]) -> Ended {
    let mut command = holdfast(&[]);
    command.arg("archive").args(arguments);
    run(command.current_dir(folder))
}

/// A folder with a server and an archive of it.
fn with_archive() -> tempfile::TempDir {
    let folder = files::scratch();
    let server = folder.path().join("server");
    fs_err::create_dir(&server).unwrap();
    files::make_server(&server);
    let made = archive(folder.path(), &["create", "server", "server.tar.gz"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    folder
}

fn flip(path: &Path, place: usize) {
    let mut bytes = fs_err::read(path).unwrap();
    bytes[place] ^= 1;
    fs_err::write(path, bytes).unwrap();
}

#[test]
fn an_archive_is_created_listed_verified_and_restored() {
    let folder = with_archive();
    let (here, file) = (folder.path(), folder.path().join("server.tar.gz"));
    let names: Vec<String> = [
        "server.tar.gz",
        "server.tar.gz.index",
        "server.tar.gz.sha256",
    ]
    .map(str::to_owned)
    .into();
    let beside: Vec<String> = files::files_below(here)
        .into_iter()
        .filter(|name| !name.starts_with("server/"))
        .collect();
    assert_eq!(beside, names, "and nothing half made");

    let hash = files::sha256(&fs_err::read(&file).unwrap());
    let noted = fs_err::read_to_string(here.join("server.tar.gz.sha256")).unwrap();
    assert_eq!(noted, format!("{hash}  server.tar.gz\n"));
    let verified = archive(here, &["verify", "server.tar.gz"]);
    assert_eq!((verified.code, verified.stderr.as_str()), (Some(0), ""));
    assert!(verified.stdout.starts_with(&hash), "{verified:?}");
    assert!(
        verified.stdout.contains("with the hash of its .sha256"),
        "{verified:?}"
    );

    let listed = archive(here, &["list", "server.tar.gz"]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    let paths: Vec<&str> = listed.stdout.lines().map(|line| &line[18..]).collect();
    assert_eq!(paths, files::list(&file), "as tar lists it");
    let line = listed
        .stdout
        .lines()
        .find(|line| line.ends_with("start.sh"));
    assert_eq!(line, Some("0755           20 start.sh"));

    let server = here.join("server");
    let before = files::tree(&server);
    fs_err::remove_dir_all(server.join("world")).unwrap();
    fs_err::write(server.join("new.txt"), "made later\n").unwrap();
    let kept = archive(here, &["restore", "server.tar.gz", "server", "--keep"]);
    assert_eq!(kept.code, Some(0), "{kept:?}");
    assert!(server.join("new.txt").exists() && server.join("world/level.dat").exists());
    for place in ["server", "elsewhere"] {
        let restored = archive(here, &["restore", "server.tar.gz", place]);
        assert_eq!(restored.code, Some(0), "{restored:?}");
        assert_eq!(files::tree(&here.join(place)), before, "{place}");
    }
}

#[test]
fn one_file_is_written_out_and_other_entries_are_refused() {
    let folder = with_archive();
    let here = folder.path();
    let read = archive(here, &["cat", "server.tar.gz", "server.properties"]);
    let properties = fs_err::read_to_string(here.join("server/server.properties")).unwrap();
    assert_eq!((read.code, read.stdout), (Some(0), properties));
    for (path, why) in [("nowhere", "no file"), ("world", "not a file")] {
        let refused = archive(here, &["cat", "server.tar.gz", path]);
        assert!(refused.failure().contains(why), "{refused:?}");
    }
    fs_err::remove_file(here.join("server.tar.gz.index")).unwrap();
    let refused = archive(here, &["cat", "server.tar.gz", "server.properties"]);
    assert!(refused.failure().contains("no index"), "{refused:?}");
}

#[test]
fn level_0_only_stores_and_a_new_archive_replaces_the_old_one_with_its_side_files() {
    let folder = with_archive();
    let here = folder.path();
    let size = || fs_err::metadata(here.join("server.tar.gz")).unwrap().len();
    let before = size();
    let create = ["create", "server", "server.tar.gz", "--level", "0"];
    assert_eq!(archive(here, &create).code, Some(0));
    assert!(size() > before, "{} after {before}", size());
    for arguments in [
        &["verify", "server.tar.gz"][..],
        &["cat", "server.tar.gz", "server.properties"],
        &["restore", "server.tar.gz", "elsewhere"],
    ] {
        let done = archive(here, arguments);
        assert_eq!(done.code, Some(0), "{done:?}");
    }
    let (server, restored) = (here.join("server"), here.join("elsewhere"));
    assert_eq!(files::tree(&server), files::tree(&restored));
}

#[test]
fn a_flipped_byte_is_detected_and_nothing_is_restored() {
    let folder = with_archive();
    let (here, file) = (folder.path(), folder.path().join("server.tar.gz"));
    let before = files::tree(&here.join("server"));
    let size = fs_err::read(&file).unwrap().len();
    let with_hash = fs_err::read(here.join("server.tar.gz.sha256")).unwrap();
    for place in [0, size / 3, size / 2, size - 5] {
        flip(&file, place);
        for hash_is_there in [true, false] {
            if hash_is_there {
                fs_err::write(here.join("server.tar.gz.sha256"), &with_hash).unwrap();
            } else {
                fs_err::remove_file(here.join("server.tar.gz.sha256")).unwrap();
            }
            for arguments in [
                &["verify", "server.tar.gz"][..],
                &["restore", "server.tar.gz", "server"],
                &["restore", "server.tar.gz", "server", "--keep"],
                &["restore", "server.tar.gz", "elsewhere"],
            ] {
                let refused = archive(here, arguments);
                assert!(!refused.failure().is_empty(), "{arguments:?} {place}");
            }
        }
        assert_eq!(files::tree(&here.join("server")), before, "{place}");
        assert!(!here.join("elsewhere").exists(), "{place}");
        flip(&file, place);
    }
    fs_err::write(here.join("server.tar.gz.sha256"), &with_hash).unwrap();
    assert_eq!(archive(here, &["verify", "server.tar.gz"]).code, Some(0));
}

#[test]
fn patterns_exclude_files_and_a_failure_leaves_nothing() {
    let folder = with_archive();
    let here = folder.path();
    fs_err::write(here.join("patterns"), "*.log\nworld/\n").unwrap();
    let create = ["create", "server", "small.tar.gz", "--ignore", "patterns"];
    let made = archive(here, &create);
    assert_eq!(made.code, Some(0), "{made:?}");
    let names = files::list(&here.join("small.tar.gz"));
    assert!(names.contains(&"server.properties".to_owned()), "{names:?}");
    let left_out = |name: &&String| name.ends_with(".log") || name.starts_with("world");
    assert_eq!(names.iter().find(left_out), None);
    let before = files::files_below(here);
    for arguments in [
        &["create", "nowhere", "x.tar.gz"][..],
        &["create", "server", "nowhere/x.tar.gz"],
        &["create", "server", "x.tar.gz", "--ignore", "nowhere"],
        &["verify", "nowhere"],
        &["list", "nowhere"],
        &["restore", "nowhere", "elsewhere"],
    ] {
        let refused = archive(here, arguments);
        assert!(!refused.failure().is_empty(), "{arguments:?}");
    }
    assert_eq!(files::files_below(here), before);
}
