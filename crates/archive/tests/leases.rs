//! Files on which another process has a lease, and locks that a server's owner holds.
//!
//! Opening a leased file takes up to 45 s, and the owner of a server can lease all of its files.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::fs::FlockOperation;

use crate::disks::can_use;
use crate::support::*;

/// Takes a lease on a file, and gives it up some seconds after another process has opened it.
const HOLD: &str = r#"
    $SIG{IO} = "IGNORE";
    open(my $file, "+<", $ARGV[0]) or exit 1;
    fcntl($file, 1024, 1) or exit 1;
    $| = 1;
    print "leased";
    select(undef, undef, undef, $ARGV[1]);
"#;

/// The process with the lease. It ends when it is dropped.
struct Lease(Child);

impl Lease {
    fn take(file: &Path, seconds: &str) -> Option<Self> {
        let child = Command::new("perl")
            .args(["-e", HOLD])
            .arg(file)
            .arg(seconds)
            .stdout(Stdio::piped())
            .spawn();
        let mut lease = Self(child.unwrap());
        let mut said = [0; 6];
        let output = lease.0.stdout.as_mut().unwrap();
        if output.read_exact(&mut said).is_err() {
            skip("this file system has no leases");
            return None;
        }
        Some(lease)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // It has ended already if its time is over.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_file_with_a_lease_is_waited_for_and_in_the_backup() {
    let folder = folder();
    let root = folder.path();
    write(root.join("leased.txt"), "world");
    write(root.join("other.txt"), "x");
    if !can_use(&["perl"]) {
        return;
    }
    let Some(_lease) = Lease::take(&root.join("leased.txt"), "1") else {
        return;
    };
    let made = make_simply(root);
    assert_eq!(made.summary.notes.count, 0, "{:?}", made.summary.notes);
    assert_eq!(entries(&made).len(), 2);
}

#[test]
fn an_ignore_list_with_a_lease_is_not_used_and_fails_nothing() {
    let folder = folder();
    let list = folder.path().join(".pteroignore");
    write(&list, "*.log");
    if !can_use(&["perl"]) {
        return;
    }
    let Some(lease) = Lease::take(&list, "30") else {
        return;
    };
    let begun = Instant::now();
    let found = holdfast_archive::read_pteroignore(folder.path()).unwrap();
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    assert_eq!(found.lines, [""; 0]);
    assert!(found.notes[0].reason.contains("lease"), "{:?}", found.notes);
    drop(lease);
    let found = holdfast_archive::read_pteroignore(folder.path()).unwrap();
    assert_eq!(found.lines, ["*.log"]);
}

#[test]
fn a_lock_of_the_servers_owner_does_not_block_a_restore() {
    let Some(outer) = Disk::mount("size=4m") else {
        return;
    };
    // The parent cannot be written, so the lock is inside the directory.
    let target = outer.path().join("server");
    fs_err::create_dir(&target).unwrap();
    let mount = |arguments: &[&str], folder: &Path| {
        let status = Command::new("mount").args(arguments).arg(folder).status();
        status.is_ok_and(|status| status.success())
    };
    assert!(mount(&["-t", "tmpfs", "tmpfs"], &target));
    // The outer disk is unmounted lazily, with what is mounted in it.
    assert!(mount(&["-o", "remount,ro"], outer.path()));
    write(target.join("level.dat"), "saved");
    let made = make_simply(&target);
    let clean = describe(&target);
    let player = Some(65_534);
    std::os::unix::fs::chown(&target, player, player).unwrap();
    let lock = target.join(".holdfast-lock");
    write(&lock, "");
    std::os::unix::fs::chown(&lock, player, player).unwrap();
    let held = fs_err::File::open(&lock).unwrap();
    rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
    put_back(&made.archive, &target).unwrap();
    let names = |folder: &Path| describe(folder).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&target), clean.into_keys().collect::<Vec<_>>());
}
