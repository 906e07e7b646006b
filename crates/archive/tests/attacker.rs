//! A server whose owner renames, links and creates files while its directory is restored.
//!
//! On a mount point, the staging folder is inside the directory, within the reach of its owner.

use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use holdfast_archive::{Control, Error, Recovered, RestoreOptions, recover, restore};

use crate::disks::can_use;
use crate::support::*;
use crate::swap::{archive_of, tree};

pub(crate) const PLAYER: u32 = 65_534;

/// Swaps its own folder with every staging folder that it sees, as fast as it can. It prints how
/// often it did when its input ends.
const SWAP_NAMES: &str = r#"
    my ($evil, $swaps) = ("evil", 0);
    $SIG{TERM} = sub { print "$swaps\n"; exit };
    $| = 1;
    print "ready\n";
    while (1) {
        for my $name (".holdfast-restore", ".holdfast-restore.2", ".holdfast-old") {
            if (rename($name, "stolen$swaps")) {
                $swaps++;
                rename($evil, $name) and select(undef, undef, undef, 0.0002);
                rename($name, $evil);
                rename("stolen" . ($swaps - 1), $name) if $swaps % 2;
            }
            rename($evil, $name) and rename($name, $evil);
            $swaps++;
        }
    }
"#;

pub(crate) struct Attack(Option<Child>);

impl Attack {
    fn start(directory: &Path) -> Self {
        Self::start_with(directory, SWAP_NAMES)
    }

    pub(crate) fn start_with(directory: &Path, program: &str) -> Self {
        let mut child = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .args(["perl", "-e", program])
            .current_dir(directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        let output = child.stdout.as_mut().unwrap();
        output.read_exact(&mut ready).unwrap();
        Self(Some(child))
    }

    /// Stops it. Returns how many names it has swapped.
    pub(crate) fn stop(mut self) -> u64 {
        let child = self.0.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim().parse().unwrap()
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A folder that looks like a staging folder in the middle of a swap.
fn make_evil(directory: &Path, outside: &Path) {
    let evil = directory.join("evil");
    if evil.exists() {
        return;
    }
    write(evil.join("tree/evil-tree"), "evil");
    write(evil.join("old/evil-old"), "evil");
    for mark in ["moving-out", "moving-in", "probe-file"] {
        symlink(outside.join(mark), evil.join(mark)).unwrap();
    }
    for path in [&evil, &evil.join("tree"), &evil.join("old")] {
        std::os::unix::fs::chown(path, Some(PLAYER), Some(PLAYER)).unwrap();
    }
}

/// Returns the contents of a directory, without what the attacker moves.
fn contents(directory: &Path) -> Vec<(std::path::PathBuf, String)> {
    let mine = |path: &Path| {
        let first = path.components().next().unwrap();
        let first = first.as_os_str().to_str().unwrap();
        ["evil", "stolen", ".holdfast"]
            .iter()
            .any(|name| first.starts_with(name))
    };
    let mut found = Vec::new();
    let mut folders = vec![directory.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let below = path.strip_prefix(directory).unwrap().to_path_buf();
            if mine(&below) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push((below, fs_err::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn an_owner_that_swaps_names_in_a_loop_never_gets_a_foreign_tree_or_a_file_outside() {
    if !can_use(&["perl", "setpriv", "mount"]) {
        return;
    }
    let Some(disk) = Disk::mount("size=64m") else {
        return;
    };
    let (folder, target) = (folder(), disk.path());
    let outside = folder.path().join("outside");
    fs_err::create_dir(&outside).unwrap();
    set_mode(folder.path(), 0o711);
    let archive = archive_of(folder.path(), 40);
    let archive = fs_err::File::open(archive).unwrap().into_parts().0;
    let new = contents(&folder.path().join("source"));
    tree(target, "old", 20);
    let give = |path: &Path| std::os::unix::fs::chown(path, Some(PLAYER), Some(PLAYER)).unwrap();
    give(target);
    let old = contents(target);
    let (mut restored, mut failed, mut swaps) = (0, 0, 0);
    let started = std::time::Instant::now();
    while started.elapsed().as_secs() < 8 && (restored + failed < 60 || swaps < 50_000) {
        make_evil(target, &outside);
        let attack = Attack::start(target);
        let before = contents(target);
        let outcome = put_back(&archive, target);
        let recovered = recover(target, None);
        swaps += attack.stop();
        let found = contents(target);
        match outcome {
            Ok(_) => {
                restored += 1;
                assert_eq!(found, new);
            }
            Err(error) => {
                failed += 1;
                assert!(
                    matches!(error, Error::Io { .. } | Error::Immovable { .. }),
                    "{error}, {recovered:?}"
                );
                assert!(
                    found == before && (before == old || before == new),
                    "{error}"
                );
            }
        }
        assert_eq!(
            fs_err::read_dir(&outside).unwrap().count(),
            0,
            "a file outside"
        );
    }
    eprintln!("{swaps} swaps of names, {restored} restores, {failed} refused");
    assert!(restored > 0, "no restore came through");
}

#[test]
fn files_of_the_owner_with_holdfast_names_block_nothing() {
    let Some(disk) = Disk::mount("size=16m") else {
        return;
    };
    let (folder, target) = (folder(), disk.path());
    write(target.join("world/level.dat"), "saved");
    let made = make_simply(target);
    let clean = describe(target);
    let names = [
        ".holdfast-restore",
        ".holdfast-restore.2",
        ".holdfast-old",
        ".holdfast-lock",
    ];
    for round in 0..4 {
        for (number, name) in names.iter().enumerate() {
            let path = target.join(name);
            match (number + round) % 4 {
                0 => write(&path, "the owner's"),
                1 => write(path.join("tree/x"), "the owner's"),
                2 => symlink(folder.path(), &path).unwrap(),
                // What an earlier restore with owners could have left: it looks almost like ours.
                _ => {
                    write(path.join("old/world"), "the owner's");
                    write(path.join("moving-out"), "");
                    set_mode(&path, 0o755);
                }
            }
        }
        assert_eq!(
            recover(target, None).unwrap(),
            Recovered::Nothing,
            "round {round}"
        );
        let summary = put_back(&made.archive, target).unwrap();
        assert_eq!(summary.notes.count, 0, "{:?}", summary.notes);
        assert_eq!(describe(target), clean, "round {round}");
    }
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn an_archive_with_holdfast_names_is_restored_or_refused_before_anything_is_moved() {
    let Some(disk) = Disk::mount("size=16m") else {
        return;
    };
    let target = disk.path();
    write(target.join("world/level.dat"), "saved");
    let before = describe(target);
    for (name, is_refused) in [
        (".holdfast-restore", true),
        (".holdfast-old", false),
        (".holdfast-lock", false),
        (".holdfast-restore.2", false),
        (".holdfast-restored", false),
    ] {
        let mut builder = ::tar::Builder::new(Vec::new());
        let mut header = ::tar::Header::new_ustar();
        header.set_size(4);
        header.set_mode(0o600);
        builder
            .append_data(&mut header, format!("{name}/file"), &b"data"[..])
            .unwrap();
        let archive = gzipped(&builder.into_inner().unwrap());
        let outcome = put_back(&archive, target);
        if is_refused {
            assert!(
                matches!(outcome, Err(Error::Hostile { .. })),
                "{name}: {outcome:?}"
            );
            assert_eq!(describe(target), before, "{name}");
        } else {
            outcome.unwrap();
            let found = fs_err::read_to_string(target.join(name).join("file")).unwrap();
            assert_eq!(
                (found.as_str(), describe(target).len()),
                ("data", 2),
                "{name}"
            );
        }
    }
}

fn gzipped(bytes: &[u8]) -> std::fs::File {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    file_of(&encoder.finish().unwrap())
}

#[test]
fn the_staging_folder_inside_a_directory_is_closed_to_its_owner() {
    let Some(disk) = Disk::mount("size=16m") else {
        return;
    };
    let target = disk.path();
    write(target.join("file"), "saved");
    let made = make_simply(target);
    std::os::unix::fs::chown(target, Some(PLAYER), Some(PLAYER)).unwrap();
    let _ = Command::new("setfacl")
        .args(["-m", "d:u:65534:rwx"])
        .arg(target)
        .output();
    let mut seen = None;
    let options = RestoreOptions {
        truncate: true,
        ..Default::default()
    };
    let control = Control::new();
    restore(&made.archive, None, target, &options, &control, &mut || {
        let staging = fs_err::metadata(target.join(".holdfast-restore")).unwrap();
        seen = Some((staging.uid(), staging.permissions().mode() & 0o7777));
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, Some((0, 0o700)));
}

/// Renames the staging folder right before a step of a restore, as the directory's owner can.
fn put_back_with_stolen_staging(
    target: &Path,
    truncate: bool,
    stolen: &str,
) -> Result<holdfast_archive::RestoreSummary, Error> {
    let source = folder();
    write(source.path().join("world/new.dat"), "restored");
    let made = make_simply(source.path());
    let options = RestoreOptions {
        truncate,
        ..Default::default()
    };
    let control = Control::new();
    restore(&made.archive, None, target, &options, &control, &mut || {
        // The hook runs twice without `truncate`.
        let _ = fs_err::rename(target.join(".holdfast-restore"), target.join(stolen));
        Ok(())
    })
}

#[test]
fn a_staging_folder_under_another_name_is_neither_kept_nor_moved_into_itself() {
    for (truncate, stolen) in [(true, "stolen"), (false, "stolen")] {
        let Some(disk) = Disk::mount("size=16m") else {
            return;
        };
        let target = disk.path();
        write(target.join("world/old.dat"), "old");
        put_back_with_stolen_staging(target, truncate, stolen).unwrap();
        let found = contents(target);
        let new = ("world/new.dat".into(), "restored".to_owned());
        let old = ("world/old.dat".into(), "old".to_owned());
        match truncate {
            true => assert_eq!(found, [new]),
            false => assert_eq!(found, [new, old]),
        }
        // Its place is not known, so the empty folder stays.
        assert_eq!(fs_err::read_dir(target.join(stolen)).unwrap().count(), 0);
    }
}

#[test]
fn a_staging_folder_in_a_folder_of_the_server_fails_the_restore_and_changes_nothing() {
    for truncate in [true, false] {
        let Some(disk) = Disk::mount("size=16m") else {
            return;
        };
        let target = disk.path();
        write(target.join("world/old.dat"), "old");
        let before = contents(target);
        let failed = put_back_with_stolen_staging(target, truncate, "world/stolen");
        assert!(
            matches!(failed, Err(Error::Io { .. } | Error::Immovable { .. })),
            "{failed:?}"
        );
        let below = target.join("world/stolen");
        assert_eq!(fs_err::read_dir(&below).unwrap().count(), 0, "{truncate}");
        fs_err::remove_dir(&below).unwrap();
        assert_eq!(contents(target), before);
    }
}
