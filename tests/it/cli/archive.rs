//! `holdfast archive …`: the archive engine without the service.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::support::files;
use crate::support::process::{Ended, holdfast, run};

pub(crate) fn archive(folder: &Path, arguments: &[&str]) -> Ended {
    let mut command = holdfast(&[]);
    command.arg("archive").args(arguments);
    run(command.current_dir(folder))
}

/// A folder with a server and an archive of it.
pub(crate) fn with_archive() -> tempfile::TempDir {
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
fn an_archive_after_a_previous_one_is_the_same_as_one_without() {
    let folder = with_archive();
    let here = folder.path();
    let noise = files::noise(900_000, 6);
    files::write(&here.join("server/world/large.mca"), &noise);
    let full = archive(here, &["create", "server", "full.tar.gz"]);
    assert_eq!(full.code, Some(0), "{full:?}");
    let create = |arguments: &[&str]| {
        let made = archive(
            here,
            &[&["create"], arguments, &["server", "next.tar.gz"]].concat(),
        );
        assert_eq!(made.code, Some(0), "{made:?}");
        for suffix in ["", ".index"] {
            assert!(here.join(format!("next.tar.gz{suffix}")).exists());
        }
        let (hash, rest) = made.stdout.split_once(' ').unwrap();
        assert!(full.stdout.starts_with(hash), "{made:?}");
        let reused = rest.lines().nth(1).unwrap().rsplit_once(" bytes, ");
        let reused = reused.map_or("", |(_, reused)| reused).to_owned();
        let lines = made.stderr.lines();
        let others = lines.filter(|line| !line.contains("dangling: "));
        (others.collect::<Vec<_>>().join("\n"), reused)
    };
    for arguments in [
        &["--previous", "full.tar.gz"][..],
        &["--previous", "full.tar.gz", "--reread"],
        &["--previous", "next.tar.gz"],
    ] {
        let (stderr, reused) = create(arguments);
        assert_eq!(stderr, "");
        let bytes: u64 = reused
            .strip_suffix(" of them reused")
            .unwrap()
            .parse()
            .unwrap();
        // What was written just now is read, but not compressed again.
        assert!(bytes >= 900_000, "{arguments:?}: {bytes}");
    }
    let begin = "holdfast: .: everything was archived again: ";
    fs_err::rename(here.join("full.tar.gz.index"), here.join("index")).unwrap();
    let (stderr, reused) = create(&["--previous", "full.tar.gz"]);
    assert_eq!(reused, "0 of them reused");
    assert_eq!(stderr, format!("{begin}there is no full.tar.gz.index"));
    fs_err::rename(here.join("index"), here.join("full.tar.gz.index")).unwrap();
    flip(&here.join("full.tar.gz"), 5_000);
    let (stderr, reused) = create(&["--previous", "full.tar.gz"]);
    let damaged = stderr.is_empty() || stderr.contains("a block does not match its index");
    assert!(damaged, "{stderr}");
    assert!(reused.ends_with(" of them reused"), "{reused}");
    let missing = archive(
        here,
        &["create", "--previous", "no.tar.gz", "server", "x.tar.gz"],
    );
    assert!(missing.failure().contains("no.tar.gz"), "{missing:?}");
    let unfinished = |name: &String| name.contains("partial") || name.starts_with("x.");
    assert!(!files::files_below(here).iter().any(unfinished));
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
    let mut by_path = files::list(&file);
    by_path.sort_by(|left, right| left.split('/').cmp(right.split('/')));
    assert_eq!(paths, by_path, "what tar lists, sorted by path");
    fs_err::rename(here.join("server.tar.gz.index"), here.join("aside")).unwrap();
    let without_index = archive(here, &["list", "server.tar.gz"]);
    assert_eq!(without_index.stdout, listed.stdout);
    fs_err::rename(here.join("aside"), here.join("server.tar.gz.index")).unwrap();
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

#[test]
fn a_restore_keeps_or_exchanges_the_directory_as_asked() {
    let folder = with_archive();
    let here = folder.path();
    let inode = || fs_err::metadata(here.join("server")).unwrap().ino();
    let before = files::tree(&here.join("server"));
    for (method, stays) in [("children", true), ("exchange", false), ("auto", false)] {
        let old = inode();
        fs_err::write(here.join("server/new"), "made later").unwrap();
        let restore = ["restore", "server.tar.gz", "server", "--swap", method];
        let restored = archive(here, &restore);
        assert_eq!(restored.code, Some(0), "{restored:?}");
        assert_eq!(inode() == old, stays, "{method}");
        assert_eq!(files::tree(&here.join("server")), before, "{method}");
    }
    let refused = archive(here, &["restore", "server.tar.gz", "server", "--swap", "x"]);
    let text = "must be auto, exchange or children, not `x`";
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains(text), "{refused:?}");
}

#[test]
fn an_archive_inside_its_own_directory_is_not_packed() {
    let folder = files::scratch();
    let here = folder.path();
    fs_err::write(here.join("file"), "x").unwrap();
    for _ in 0..2 {
        let made = archive(here, &["create", ".", "b.tar.gz"]);
        assert_eq!(made.code, Some(0), "{made:?}");
        assert!(
            made.stderr
                .contains("b.tar.gz.partial: left out: it belongs to this archive"),
            "{made:?}"
        );
        assert_eq!(files::list(&here.join("b.tar.gz")), ["file"]);
    }
    assert_eq!(
        files::files_below(here),
        ["b.tar.gz", "b.tar.gz.index", "b.tar.gz.sha256", "file"]
    );
}

#[test]
fn names_cannot_forge_lines_and_are_found_as_they_are_shown() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = files::scratch();
    let here = folder.path();
    let server = here.join("server");
    fs_err::create_dir(&server).unwrap();
    let forged = "a\n0644            1 forged\u{1b}[2K\r\u{202e}";
    let names = [forged.as_bytes(), b"back\\slash", b"raw-\xff"];
    for name in names {
        let path = server.join(std::ffi::OsStr::from_bytes(name));
        fs_err::write(path, name).unwrap();
    }
    let link = server.join("link\n\u{1b}[31m");
    std::os::unix::fs::symlink("/outside\n", link).unwrap();
    let made = archive(here, &["create", "server", "a.tar.gz"]);
    assert_eq!(
        made.stderr.lines().count(),
        1,
        "one line for one note: {made:?}"
    );
    assert!(!made.stderr.contains('\u{1b}'), "{made:?}");
    let listed = archive(here, &["list", "a.tar.gz"]).stdout;
    let shown: Vec<&str> = listed.lines().map(|line| &line[18..]).collect();
    assert_eq!(
        shown,
        [
            "a\\n0644            1 forged\\u{1b}[2K\\r\\u{202e}",
            "back\\\\slash",
            "link\\n\\u{1b}[31m",
            "raw-\\xff",
        ]
    );
    for (shown, name) in [shown[0], shown[1]].into_iter().zip(names) {
        let read = archive(here, &["cat", "a.tar.gz", shown]);
        assert_eq!(read.stdout.as_bytes(), name, "{read:?}");
        let name = std::str::from_utf8(name).unwrap();
        let read = archive(here, &["cat", "a.tar.gz", name]);
        assert_eq!(read.stdout, name, "{read:?}");
    }
    let unknown = archive(here, &["cat", "a.tar.gz", "no\u{1b}thing"]);
    assert!(unknown.failure().contains("no\\u{1b}thing"), "{unknown:?}");
}

#[test]
fn a_limit_of_the_file_size_is_an_error_and_leaves_nothing() {
    let folder = with_archive();
    let here = folder.path();
    fs_err::write(here.join("server/large"), vec![7; 4 << 20]).unwrap();
    let create = archive(here, &["create", "server", "large.tar.gz", "--level", "0"]);
    assert_eq!(create.code, Some(0), "{create:?}");
    let before = files::tree(&here.join("server"));
    let names = files::files_below(here);
    let binary = holdfast(&[]).get_program().to_owned();
    for arguments in [
        "create server b.tar.gz --level 0",
        "restore large.tar.gz server",
    ] {
        // Blocks of 512 or 1024 bytes: one or two MiB.
        let script = format!("ulimit -f 2048; exec \"$0\" archive {arguments}");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script]).arg(&binary).current_dir(here);
        let ended = run(&mut command);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("File too large"), "{ended:?}");
        assert_eq!(files::files_below(here), names);
        assert_eq!(files::tree(&here.join("server")), before);
    }
}

#[test]
fn a_process_raises_its_limit_of_open_files() {
    let folder = files::scratch();
    let mut at = folder.path().join("server");
    for level in 0..40 {
        at.push(format!("folder-{level}"));
        fs_err::create_dir_all(&at).unwrap();
        fs_err::write(at.join("file"), "x").unwrap();
    }
    let binary = holdfast(&[]).get_program().to_owned();
    for (limit, code) in [("-S -n 32", Some(0)), ("-n 32", Some(1))] {
        let script = format!("ulimit {limit}; exec \"$0\" archive create server a.tar.gz");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script]).arg(&binary);
        let ended = run(command.current_dir(folder.path()));
        assert_eq!(ended.code, code, "{limit}: {ended:?}");
    }
    assert_eq!(
        files::files_below(folder.path())
            .iter()
            .filter(|name| name.contains("partial"))
            .count(),
        0
    );
}
