//! Restores of single files and folders.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use holdfast_archive::{
    Control, Error, ReadAt, RestoreOptions, RestoreSummary, first_missing_path, restore,
};

use crate::support::*;

/// Restores these paths.
pub(crate) fn put_paths_back(
    made: &Made,
    with_index: bool,
    target: &Path,
    paths: &[&str],
    truncate: bool,
) -> Result<RestoreSummary, Error> {
    let index = with_index.then_some(&made.index);
    put_back_from(&made.archive, index, made, target, paths, truncate)
}

pub(crate) fn put_back_from(
    archive: &dyn ReadAt,
    index: Option<&File>,
    made: &Made,
    target: &Path,
    paths: &[&str],
    truncate: bool,
) -> Result<RestoreSummary, Error> {
    let options = RestoreOptions {
        truncate,
        paths: paths.iter().map(|path| path.as_bytes().to_vec()).collect(),
        expected: made.expected(),
        ..Default::default()
    };
    let control = Control::new();
    restore(archive, index, target, &options, &control, &mut || Ok(()))
}

/// Describes a tree without the times of the folders above restored paths, which the renames
/// change.
pub(crate) fn described(root: &Path, above: &[&str]) -> BTreeMap<PathBuf, String> {
    let mut found = describe(root);
    for path in above {
        if let Some(text) = found.get_mut(Path::new(path)) {
            *text = text.split(" at ").next().unwrap().to_owned();
        }
    }
    found
}

fn is_below(path: &Path, wanted: &[&str]) -> bool {
    wanted.iter().any(|wanted| path.starts_with(wanted))
}

pub(crate) fn leftovers(folder: &Path) -> Vec<String> {
    let names = fs_err::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".holdfast")).collect()
}

#[test]
fn only_the_requested_files_and_folders_are_replaced() {
    let paths = ["world/region", "server.properties", "link", "start.sh"];
    for with_index in [true, false] {
        for truncate in [true, false] {
            let folder = folder();
            let target = folder.path().join("server");
            server(&target);
            let made = make_simply(&target);
            let before = described(&target, &["world"]);
            write(target.join("world/region/r.0.0.mca"), "broken");
            write(target.join("world/region/new.mca"), "made later");
            write(target.join("world/level.dat"), "newer than the backup");
            write(target.join("server.properties"), "broken");
            fs_err::remove_file(target.join("start.sh")).unwrap();
            write(target.join("plugins/new.jar"), "made later");
            let now = described(&target, &["world"]);
            let inodes = [".", "world", "world/level.dat", "plugins"]
                .map(|path| fs_err::metadata(target.join(path)).unwrap().ino());

            let restored = put_paths_back(&made, with_index, &target, &paths, truncate).unwrap();
            assert_eq!(restored.notes.count, 0);
            // Three files, a link, a folder, and the folder above it.
            assert_eq!((restored.entries, restored.files), (6, 3));
            let mut expected: BTreeMap<_, _> = now
                .iter()
                .filter(|(path, _)| !is_below(path, &paths))
                .chain(before.iter().filter(|(path, _)| is_below(path, &paths)))
                .map(|(path, text)| (path.clone(), text.clone()))
                .collect();
            let kept = PathBuf::from("world/region/new.mca");
            if !truncate {
                expected.insert(kept.clone(), now[&kept].clone());
            }
            assert_eq!(described(&target, &["world"]), expected);
            // The others are not even touched.
            let after = [".", "world", "world/level.dat", "plugins"]
                .map(|path| fs_err::metadata(target.join(path)).unwrap().ino());
            assert_eq!(inodes, after);
            assert_eq!(leftovers(folder.path()), [""; 0]);
        }
    }
}

#[test]
fn missing_folders_above_a_path_are_created_as_the_archive_has_them() {
    for with_index in [true, false] {
        let folder = folder();
        let source = folder.path().join("source");
        write(source.join("a/b/c/wanted"), "wanted");
        write(source.join("a/b/c/second"), "second");
        write(source.join("a/b/other"), "other");
        set_mode(source.join("a"), 0o750);
        set_mode(source.join("a/b/c"), 0o711);
        for path in ["a/b/c", "a/b", "a"] {
            set_mtime(source.join(path), 1_400_000_000, 7);
        }
        let made = make_simply(&source);
        let mut expected = describe(&source);
        expected.remove(Path::new("a/b/other"));

        // Neither the folders nor the directory are there.
        let target = folder.path().join("server");
        let paths = ["a/b/c/wanted", "a/b/c/second"];
        put_paths_back(&made, with_index, &target, &paths, true).unwrap();
        assert_eq!(describe(&target), expected);
        // A folder that is there keeps its attributes.
        fs_err::remove_dir_all(target.join("a/b")).unwrap();
        set_mode(target.join("a"), 0o700);
        put_paths_back(&made, with_index, &target, &paths, true).unwrap();
        assert_eq!(
            fs_err::metadata(target.join("a")).unwrap().mode() & 0o777,
            0o700
        );
        let (mut found, mut expected) = (describe(&target), expected);
        found.remove(Path::new("a"));
        expected.remove(Path::new("a"));
        assert_eq!(found, expected);
    }
}

#[test]
fn hard_links_of_a_set_stay_links_and_others_become_files() {
    for with_index in [true, false] {
        let folder = folder();
        let target = folder.path().join("server");
        write(target.join("a/first"), "saved");
        fs_err::hard_link(target.join("a/first"), target.join("b-second")).unwrap();
        fs_err::create_dir(target.join("c")).unwrap();
        fs_err::hard_link(target.join("a/first"), target.join("c/third")).unwrap();
        fs_err::hard_link(target.join("a/first"), target.join("c/fourth")).unwrap();
        let made = make_simply(&target);
        for path in ["a/first", "b-second", "c/third", "c/fourth"] {
            fs_err::remove_file(target.join(path)).unwrap();
            write(target.join(path), "changed");
        }
        put_paths_back(&made, with_index, &target, &["c"], true).unwrap();
        let read = |path: &str| fs_err::read_to_string(target.join(path)).unwrap();
        let [a, b, c, d] = ["a/first", "b-second", "c/third", "c/fourth"].map(read);
        assert_eq!([a, b, c, d], ["changed", "changed", "saved", "saved"]);
        let metadata = |path: &str| fs_err::metadata(target.join(path)).unwrap();
        assert_eq!(metadata("c/third").ino(), metadata("c/fourth").ino());
        assert_eq!(metadata("c/third").nlink(), 2);
    }
}

#[test]
fn a_path_that_the_archive_does_not_have_is_an_error_and_nothing_is_changed() {
    let folder = folder();
    let target = folder.path().join("server");
    server(&target);
    let made = make_simply(&target);
    write(target.join("server.properties"), "now");
    let now = describe(&target);
    for with_index in [true, false] {
        for missing in ["nothing", "world/regio", "server.properties/x", "link/x"] {
            let paths = ["server.properties", missing];
            if missing.starts_with("server.properties") {
                let error = put_paths_back(&made, with_index, &target, &paths[1..], true);
                let error = error.unwrap_err();
                assert!(matches!(error, Error::NotInArchive { .. }), "{error}");
                continue;
            }
            let error = put_paths_back(&made, with_index, &target, &paths, true).unwrap_err();
            assert!(
                matches!(&error, Error::NotInArchive { path } if path == missing),
                "{error}"
            );
        }
        assert_eq!(describe(&target), now);
        assert_eq!(leftovers(folder.path()), [""; 0]);
    }
    let paths = |paths: &[&str]| -> Vec<Vec<u8>> {
        paths.iter().map(|path| path.as_bytes().to_vec()).collect()
    };
    let index = bytes(&made.index);
    let missing = |wanted: &[&str]| first_missing_path(index.as_slice(), &paths(wanted)).unwrap();
    assert_eq!(missing(&["world/region", "link"]), None);
    assert_eq!(
        missing(&["link", "world/x"]).as_deref(),
        Some(&b"world/x"[..])
    );
}

#[test]
fn paths_of_an_archive_without_entries_of_folders_are_restored() {
    let folder = folder();
    let source = folder.path().join("source");
    write(source.join("world/region/r.mca"), "saved");
    write(source.join("world/level.dat"), "saved");
    let packed = folder.path().join("foreign.tar.gz");
    let mut tar = std::process::Command::new("tar");
    tar.arg("czf").arg(&packed).arg("-C").arg(&source);
    let status = tar
        .args(["./world/region/r.mca", "world/level.dat"])
        .status();
    if !status.is_ok_and(|status| status.success()) {
        skip("tar is missing");
        return;
    }
    let target = folder.path().join("server");
    write(target.join("world/region/old"), "old");
    let options = RestoreOptions {
        truncate: true,
        paths: vec![b"world/region".to_vec()],
        ..Default::default()
    };
    let archive = open(&packed);
    restore(
        &archive,
        None,
        &target,
        &options,
        &Control::new(),
        &mut || Ok(()),
    )
    .unwrap();
    let found: Vec<PathBuf> = describe(&target).into_keys().collect();
    let expected = ["world", "world/region", "world/region/r.mca"].map(PathBuf::from);
    assert_eq!(found, expected);
}
