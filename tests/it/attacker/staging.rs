//! Attacks on what a restore makes inside the directory: its staging folder, locks and markers.

use std::os::fd::AsFd as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use rustix::fs::{FlockOperation, Mode as FileMode, OFlags};

use super::dice::Dice;
use super::program::{Attacks, Mode, Plan, Record};

/// Names that a restore uses, or that look like them.
const NAMES: [&str; 6] = [
    ".holdfast-restore",
    ".holdfast-restore.2",
    ".holdfast-old",
    ".holdfast-old-server",
    ".holdfast-lock",
    ".holdfast-restore-probe",
];

pub(super) struct StagingThief {
    directory: PathBuf,
    targets: Vec<PathBuf>,
    dice: Dice,
    stolen: u64,
    /// Files whose locks it holds.
    locked: Vec<std::os::fd::OwnedFd>,
}

impl StagingThief {
    pub(super) fn new(plan: &Plan, dice: Dice) -> Self {
        Self {
            directory: plan.directory.clone(),
            targets: plan.targets.clone(),
            dice,
            stolen: 0,
            locked: Vec::new(),
        }
    }

    /// Tries to look into a folder of the service.
    fn enter(&mut self, name: &str, record: &Record) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = rustix::fs::open(self.directory.join(name), flags, FileMode::empty());
        if let Ok(folder) = &opened {
            let stat = rustix::fs::fstat(folder).unwrap();
            if stat.st_uid != rustix::process::geteuid().as_raw() {
                record.breach(format!("opened {name}, a folder of user {}", stat.st_uid));
            }
        }
        for below in ["tree", "old", "moving-out", "tree/world/level.dat"] {
            let path = self.directory.join(name).join(below);
            let Ok(file) = rustix::fs::open(
                &path,
                OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK,
                FileMode::empty(),
            ) else {
                continue;
            };
            if rustix::fs::fstat(&file).unwrap().st_uid != rustix::process::geteuid().as_raw() {
                record.breach(format!("opened {name}/{below} of another user"));
            }
        }
        record.count("enter", opened.is_ok());
    }

    /// Takes a folder away, and puts something else in its place for a moment.
    fn steal(&mut self, name: &str, record: &Record) {
        let place = self.directory.join(name);
        self.stolen += 1;
        let stolen = self.directory.join(format!("stolen{}", self.stolen));
        let taken = fs_err::rename(&place, &stolen).is_ok();
        record.count("steal a name", taken);
        if !taken {
            return;
        }
        let evil = self.directory.join("evil-staging");
        self.make_evil(&evil);
        if self.dice.percent(50) {
            let _ = fs_err::rename(&evil, &place);
        } else {
            let _ = symlink(self.dice.pick(&self.targets), &place);
        }
        if self.dice.percent(50) {
            std::thread::sleep(std::time::Duration::from_micros(self.dice.below(400)));
        }
        if self.dice.percent(70) {
            let _ = fs_err::remove_file(&place);
            let _ = fs_err::rename(&place, &evil);
            let _ = fs_err::rename(&stolen, &place);
        }
    }

    /// A folder that looks like a staging folder in the middle of a swap.
    fn make_evil(&mut self, evil: &std::path::Path) {
        let _ = fs_err::create_dir_all(evil.join("tree/evil"));
        let _ = fs_err::create_dir_all(evil.join("old"));
        let _ = super::files::write(evil.join("tree/evil/file"), "evil");
        for mark in ["moving-out", "moving-in", "probe-file"] {
            let target = self.dice.pick(&self.targets).join(format!("evil-{mark}"));
            let _ = symlink(target, evil.join(mark));
        }
    }

    /// Puts something of its own at a name of the service.
    fn occupy(&mut self, name: &str, record: &Record) {
        let place = self.directory.join(name);
        let made = match self.dice.below(5) {
            0 => super::files::write(&place, "").is_ok(),
            1 => symlink(self.dice.pick(&self.targets), &place).is_ok(),
            2 => {
                let evil = self.directory.join("evil-staging");
                self.make_evil(&evil);
                fs_err::rename(&evil, &place).is_ok()
            }
            3 => rustix::fs::mknodat(
                rustix::fs::CWD,
                &place,
                rustix::fs::FileType::Fifo,
                FileMode::RWXU,
                0,
            )
            .is_ok(),
            _ => fs_err::create_dir(&place).is_ok(),
        };
        record.count("occupy a name", made);
    }

    /// Locks whatever has a name of the service.
    fn lock(&mut self, name: &str, record: &Record) {
        if self.locked.len() > 8 {
            self.locked.clear();
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = rustix::fs::open(self.directory.join(name), flags, FileMode::empty());
        let locked = opened.is_ok_and(|file| {
            let flock = FlockOperation::NonBlockingLockExclusive;
            let is_locked = rustix::fs::flock(file.as_fd(), flock).is_ok();
            self.locked.push(file);
            is_locked
        });
        record.count("lock a name", locked);
    }
}

impl Attacks for StagingThief {
    fn attack(&mut self, _: Mode, record: &Record) {
        for name in NAMES {
            match self.dice.below(8) {
                0..4 => self.steal(name, record),
                4 => self.occupy(name, record),
                5 => self.lock(name, record),
                _ => self.enter(name, record),
            }
        }
        if self.dice.percent(20) {
            // Its own things go, so that the directory stays small.
            for name in NAMES {
                let place = self.directory.join(name);
                let _ = fs_err::remove_file(&place);
                let _ = fs_err::remove_dir_all(&place);
            }
            for number in self.stolen.saturating_sub(50)..=self.stolen {
                let stolen = self.directory.join(format!("stolen{number}"));
                let _ = fs_err::remove_file(&stolen);
                let _ = fs_err::remove_dir_all(&stolen);
            }
        }
    }
}
