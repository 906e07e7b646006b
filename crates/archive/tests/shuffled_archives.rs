//! The order of the entries in an archive makes no difference to what is restored, verified and
//! read. Folders may come before or after their contents.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use tar::{EntryType, Header};

use holdfast_archive::{Control, RestoreOptions, list, restore, verify};

use crate::interop::run;
use crate::support::*;
use crate::tree_lines::{Lines, Without, lines};

/// An entry of an archive.
#[derive(Clone)]
struct Entry {
    kind: EntryType,
    path: String,
    mode: u32,
    mtime: u64,
    link: &'static str,
    bytes: Vec<u8>,
    /// A list that new entries of the folder inherit.
    default_acl: bool,
}

fn folder_entry(path: &str, mode: u32) -> Entry {
    Entry {
        kind: EntryType::Directory,
        path: path.to_owned(),
        mode,
        mtime: 1_500_000_000 + path.len() as u64,
        link: "",
        bytes: Vec::new(),
        default_acl: path.ends_with("shared"),
    }
}

fn file_entry(path: &str, length: usize) -> Entry {
    Entry {
        kind: EntryType::Regular,
        path: path.to_owned(),
        mode: 0o644,
        mtime: 1_600_000_000 + length as u64,
        link: "",
        bytes: noise(length, path.len() as u64),
        default_acl: false,
    }
}

/// The entries of a tree with every kind of folder, in the order of paths.
fn entries() -> Vec<Entry> {
    let mut entries = vec![
        folder_entry("closed", 0o000),
        folder_entry("empty", 0o711),
        folder_entry("plain", 0o755),
        folder_entry("plain/deep", 0o755),
        folder_entry("plain/deep/er", 0o750),
        folder_entry("read-only", 0o555),
        folder_entry("read-only/inside", 0o500),
        folder_entry("shared", 0o2775),
        folder_entry("shared/private", 0o700),
        folder_entry("sticky", 0o1777),
    ];
    let folders: Vec<String> = entries.iter().map(|entry| entry.path.clone()).collect();
    for (at, folder) in folders.iter().enumerate() {
        if folder != "empty" {
            for number in 0..6 {
                entries.push(file_entry(
                    &format!("{folder}/file-{number}"),
                    at * 100 + number,
                ));
            }
        }
    }
    for number in 0..40 {
        let folder = format!("plain/many-{number:02}");
        entries.push(folder_entry(
            &folder,
            if number % 3 == 0 { 0o555 } else { 0o755 },
        ));
        entries.push(file_entry(&format!("{folder}/file"), number));
    }
    entries.push(file_entry("plain/large", 300_000));
    entries.push(file_entry("a-top", 5));
    for (kind, path, link) in [
        (EntryType::Link, "plain/deep/link", "a-top"),
        (EntryType::Symlink, "read-only/symlink", "../nowhere"),
    ] {
        let mut entry = file_entry(path, 0);
        (entry.kind, entry.link) = (kind, link);
        entries.push(entry);
    }
    entries.sort_by(|left, right| left.path.split('/').cmp(right.path.split('/')));
    entries
}

/// Returns an order that depends on `seed` only.
fn shuffled(mut entries: Vec<Entry>, seed: u64) -> Vec<Entry> {
    let random = noise(8 * entries.len(), seed + 1);
    let mut keys = random.as_chunks::<8>().0.iter();
    entries.sort_by_cached_key(|_| *keys.next().unwrap());
    // A hard link comes after its file.
    entries.sort_by_key(|entry| entry.kind == EntryType::Link);
    entries
}

/// Every order that is tested, with its name.
fn orders() -> Vec<(String, Vec<Entry>)> {
    let by_path = entries();
    let is_folder = |entry: &Entry| entry.kind == EntryType::Directory;
    let folders_last = |mut entries: Vec<Entry>| {
        entries.sort_by_key(is_folder);
        entries
    };
    let last = folders_last(by_path.clone());
    let mut contents_first = by_path.clone();
    contents_first.reverse();
    contents_first.sort_by_key(|entry| entry.kind == EntryType::Link);
    let contents_first = folders_last(contents_first);
    let mut rounds = by_path.clone();
    rounds.sort_by_key(|entry| (is_folder(entry), entry.bytes.len() % 7));
    rounds.sort_by_key(|entry| entry.kind == EntryType::Link);
    let mut rounds_after = rounds.clone();
    rounds_after.sort_by_key(|entry| !is_folder(entry));
    let mut orders = vec![
        ("by path".to_owned(), by_path.clone()),
        ("folders last".to_owned(), last),
        (
            "the deepest folders first, after all files".to_owned(),
            contents_first,
        ),
        (
            "many rounds through the folders".to_owned(),
            folders_last(rounds),
        ),
        ("many rounds after the folders".to_owned(), rounds_after),
    ];
    for seed in 0..8 {
        orders.push((format!("shuffled {seed}"), shuffled(by_path.clone(), seed)));
    }
    orders
}

fn pack(entries: &[Entry]) -> File {
    let mut tar = tar::Builder::new(Vec::new());
    for entry in entries {
        if entry.default_acl {
            let list = "user::rwx,user:1001:rwx,group::r-x,mask::rwx,other::---";
            let extension = ("SCHILY.acl.default", list.as_bytes());
            tar.append_pax_extensions([extension]).unwrap();
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_mtime(entry.mtime);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(entry.bytes.len() as u64);
        if entry.link.is_empty() {
            tar.append_data(&mut header, &entry.path, &entry.bytes[..])
                .unwrap();
        } else {
            tar.append_link(&mut header, &entry.path, entry.link)
                .unwrap();
        }
    }
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&tar.into_inner().unwrap()).unwrap();
    file_of(&packed.finish().unwrap())
}

/// Returns what must be restored. Not everything can be read without being root.
fn wanted(found: &Lines) {
    for (path, start) in [
        ("closed", "folder 0000 1500000006."),
        ("empty", "folder 0711 1500000005."),
        ("plain/many-03", "folder 0555 1500000013."),
        ("plain/many-04/file", "file 0644 1600000004."),
        ("read-only", "folder 0555 1500000009."),
        ("read-only/inside", "folder 0500 1500000016."),
        ("shared", "folder 2775 1500000006."),
        ("sticky", "folder 1777 1500000006."),
    ] {
        let line = found[path.as_bytes()].replacen(" - ", " ", 1);
        assert!(line.starts_with(start), "{line}");
    }
}

fn without_owners() -> Without {
    Without {
        owners: true,
        attributes: false,
    }
}

#[test]
fn every_order_restores_the_same_tree() {
    let folder = memory_folder();
    let options = RestoreOptions {
        truncate: true,
        threads: 3,
        ..Default::default()
    };
    let mut first: Option<Lines> = None;
    for (order, entries) in orders() {
        let archive = pack(&entries);
        let target = folder.path().join("target");
        let control = Control::new();
        let verified = verify(&archive, None, &control).expect(&order);
        assert_eq!(verified.entries, entries.len() as u64, "{order}");
        let restored = restore(&archive, None, &target, &options, &control, &mut || Ok(()));
        let restored = restored.expect(&order);
        assert_eq!(restored.entries, entries.len() as u64, "{order}");
        let found = lines(&target, without_owners());
        wanted(&found);
        let first = first.get_or_insert_with(|| found.clone());
        assert_eq!(*first, found, "{order}");
        let mut listed = Vec::new();
        list(&archive, None, &control, &mut |entry| {
            listed.push(String::from_utf8(entry.path.clone()).unwrap());
            Ok(())
        })
        .expect(&order);
        let paths: Vec<String> = entries.into_iter().map(|entry| entry.path).collect();
        assert_eq!(listed, paths, "{order}");
    }
}

#[test]
fn a_user_without_privileges_restores_every_order_too() {
    if !is_root() || Command::new("setpriv").arg("--version").output().is_err() {
        return skip("only root can change its user, with setpriv");
    }
    let folder = folder();
    set_mode(folder.path(), 0o755);
    // The user cannot read the build folder.
    let engine_copy = folder.path().join("engine");
    let copied = Command::new("cp").arg(engine()).arg(&engine_copy).status();
    assert!(copied.unwrap().success());
    let mut first: Option<Lines> = None;
    for (at, (order, entries)) in orders().into_iter().enumerate() {
        let place = folder.path().join(at.to_string());
        fs_err::create_dir(&place).unwrap();
        let archive = place.join("a.tar.gz");
        fs_err::write(&archive, bytes(&pack(&entries))).unwrap();
        chown(&place, Some(65_534), Some(65_534)).unwrap();
        let target = place.join("target");
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&engine_copy)
            .arg("restore")
            .args([&archive, &target])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{order}: {said}");
        let found = lines(&target, without_owners());
        wanted(&found);
        assert_eq!(
            *first.get_or_insert_with(|| found.clone()),
            found,
            "{order}"
        );
    }
}

#[test]
fn folders_without_an_entry_are_restored_wherever_their_files_are() {
    let folder = memory_folder();
    let mut first: Option<BTreeMap<_, _>> = None;
    for (order, mut entries) in orders() {
        entries.retain(|entry| entry.kind != EntryType::Directory);
        let target = folder.path().join("target");
        put_back(&pack(&entries), &target).expect(&order);
        let modes: BTreeMap<_, _> = describe(&target)
            .into_iter()
            .map(|(path, text)| match text.split_once(" at ") {
                Some((folder, _)) if folder.starts_with("folder") => (path, folder.to_owned()),
                _ => (path, text),
            })
            .collect();
        assert_eq!(
            modes[Path::new("read-only/inside")],
            "folder 755",
            "{order}"
        );
        assert_eq!(
            *first.get_or_insert_with(|| modes.clone()),
            modes,
            "{order}"
        );
    }
}

#[test]
fn an_archive_of_gnu_tar_with_its_folders_last_is_restored() {
    let folder = folder();
    let source = folder.path().join("source");
    server(&source);
    for path in ["world/region", "plugins"] {
        set_mode(source.join(path), 0o2550);
    }
    let script = "cd source && \
        { find . -mindepth 1 ! -type d; find . -mindepth 1 -depth -type d; } | \
        tar --no-recursion --sparse --format=posix -czf ../made.tar.gz -T -";
    if run("tar", folder.path(), script).is_none() {
        return;
    }
    let archive = open(&folder.path().join("made.tar.gz"));
    verify(&archive, None, &Control::new()).expect("a whole archive");
    let target = folder.path().join("target");
    put_back(&archive, &target).expect("a whole archive");
    assert_same(&target, &source);
}
