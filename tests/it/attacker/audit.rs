//! What must hold after an attack, whatever the attacker did.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Read as _;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};

use super::program::OWN_PREFIXES;
use super::world::World;
use crate::support::{eventually, files};

/// The most memory that the service may have used at any time, in MiB.
const MEMORY_MAX: u64 = 512;

/// The files outside of all servers: what they are, and every use of them.
pub(super) struct Outside {
    folder: PathBuf,
    before: BTreeMap<PathBuf, String>,
    events: OwnedFd,
}

impl Outside {
    /// Watches a folder. From here on, it is used only if a link led there.
    pub(super) fn watch(folder: &Path) -> Self {
        let before = describe(folder);
        let events = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        let folders = before.keys().map(|name| folder.join(name));
        for path in folders.filter(|path| path.is_dir()) {
            // A link that is resolved opens its target. To ask about a target is no event.
            add_watch(&events, &path, WatchFlags::ALL_EVENTS).unwrap();
        }
        Self {
            folder: folder.to_owned(),
            before,
            events,
        }
    }

    /// Checks that nothing was opened, changed, created or removed.
    pub(super) fn check(&self) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.events, &mut buffer);
        let mut uses = Vec::new();
        while let Ok(event) = reader.next() {
            uses.push(format!("{:?} {:?}", event.events(), event.file_name()));
        }
        assert_eq!(uses, [""; 0], "files outside of the servers were used");
        assert_eq!(describe(&self.folder), self.before);
    }
}

/// Describes everything in a folder and the folder itself, down to inode and time of change.
fn describe(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(name) = pending.pop() {
        let path = folder.join(&name);
        let about = fs_err::symlink_metadata(&path).unwrap();
        if about.is_dir() {
            let entries = fs_err::read_dir(&path).unwrap();
            pending.extend(entries.map(|entry| name.join(entry.unwrap().file_name())));
        }
        let text = format!(
            "{:o} of {}:{}, inode {}, {} links, {} bytes, {}.{} {}.{}",
            about.mode(),
            about.uid(),
            about.gid(),
            about.ino(),
            about.nlink(),
            about.size(),
            about.mtime(),
            about.mtime_nsec(),
            about.ctime(),
            about.ctime_nsec(),
        );
        found.insert(name, text);
    }
    found
}

/// Returns the entries of a tree that are the server's own, not the attacker's.
pub(super) fn server_files(root: &Path) -> BTreeMap<PathBuf, String> {
    files::tree_of(root, &|path| !is_attackers(path))
}

fn is_attackers(path: &Path) -> bool {
    let name = path.file_name().map_or(&b""[..], OsStr::as_encoded_bytes);
    let prefixes = OWN_PREFIXES.iter().map(|prefix| prefix.as_bytes());
    name.starts_with(b".holdfast")
        // A restore may keep it under a longer name.
        || name.starts_with(b".pteroignore")
        || prefixes.into_iter().any(|prefix| name.starts_with(prefix))
}

/// The server's own files in an archive, as GNU tar unpacks them.
pub(super) fn archived_files(archive: &Path, scratch: &Path) -> BTreeMap<PathBuf, String> {
    let _ = fs_err::remove_dir_all(scratch);
    files::unpack(archive, scratch);
    let found = server_files(scratch);
    fs_err::remove_dir_all(scratch).unwrap();
    found
}

/// The folders that have an entry in an archive.
pub(super) fn folder_entries(archive: &Path) -> BTreeSet<PathBuf> {
    let mut tar = Command::new("tar");
    tar.args(["--quoting-style=literal", "-tzf"]).arg(archive);
    let listed = tar.output().unwrap().stdout;
    let lines = listed.split(|&byte| byte == b'\n');
    lines
        .filter_map(|line| line.strip_suffix(b"/"))
        .map(|path| PathBuf::from(OsStr::from_bytes(path)))
        .collect()
}

/// Checks that no object of a disk whose name contains `part` contains a secret, and returns how
/// many archives were read.
pub(super) fn check_secret(disk: &Path, part: &str, secret: &str) -> u64 {
    let mut archives = 0;
    let mut names = files::files_below(disk);
    names.retain(|name| name.contains(part));
    for name in names {
        let path = disk.join(&name);
        let found = if name.ends_with(".gz") || name.ends_with(".index") {
            archives += u64::from(name.ends_with(".gz"));
            let mut gzip = Command::new("gzip");
            gzip.arg("-dc")
                .stdin(fs_err::File::open(&path).unwrap().into_file());
            let mut child = gzip
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let found = contains(child.stdout.take().unwrap(), secret.as_bytes());
            let status = child.wait().unwrap();
            assert!(
                status.success() || !name.ends_with(".gz"),
                "{name}: {status}"
            );
            found
        } else {
            contains(fs_err::File::open(&path).unwrap(), secret.as_bytes())
        };
        assert!(!found, "{name} contains a file that only root may read");
    }
    archives
}

/// Returns whether a stream contains some bytes.
fn contains(mut stream: impl std::io::Read, wanted: &[u8]) -> bool {
    let mut window = Vec::new();
    loop {
        let length = stream
            .by_ref()
            .take(1 << 20)
            .read_to_end(&mut window)
            .unwrap();
        if window.windows(wanted.len()).any(|part| part == wanted) {
            return true;
        }
        if length == 0 {
            return false;
        }
        let keep = window.len().saturating_sub(wanted.len());
        window.drain(..keep);
    }
}

/// Checks the process of the service: that it lives, its memory, descriptors, jobs, log and disk.
pub(super) async fn check_service(world: &World, files_before: usize) {
    let status = fs_err::read_to_string(format!("/proc/{}/status", world.service.id())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = most.unwrap().trim().trim_end_matches(" kB");
    let mebibytes: u64 = kibibytes.parse::<u64>().unwrap() / 1024;
    assert!(mebibytes < MEMORY_MAX, "{mebibytes} MiB of memory");

    eventually("no job runs", async || {
        let states = ["available", "scheduled", "running"];
        let lists = states.map(|state| world.admin(&["job", "list", "--state", state]));
        let jobs = lists.iter().flat_map(|list| list.as_array().unwrap());
        (jobs.count() == 0).then_some(())
    })
    .await;
    // Some more connections to the database may be open than before.
    eventually("no descriptor is left open", async || {
        (world.service.open_files().len() <= files_before + 12).then_some(())
    })
    .await;
    let log = world.service.log();
    assert!(!log.contains("panicked"), "{log}");
    assert!(!log.contains(&world.secret), "the log has the secret");

    let completed: Vec<String> = {
        let list = world.admin(&[
            "backup",
            "list",
            "--state",
            "completed",
            "--limit",
            "100000",
        ]);
        let uuids = list.as_array().unwrap().iter();
        uuids
            .map(|one| one["uuid"].as_str().unwrap().to_owned())
            .collect()
    };
    let is_known = |name: &str| completed.iter().any(|uuid| name.contains(uuid));
    let mut unknown = files::files_below(&world.archives());
    unknown.retain(|name| name != ".holdfast-disk" && !is_known(name));
    assert_eq!(unknown, [""; 0], "on the disk, but of no backup");

    let entries = fs_err::read_dir(world.folder.path().join("servers")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(
        names,
        ["bystander", "mounted", "plain"],
        "beside the servers"
    );
    super::report(&format!(
        "{mebibytes} MiB of memory, {} completed backups",
        completed.len()
    ));
}
