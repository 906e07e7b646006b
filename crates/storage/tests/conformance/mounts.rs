//! File systems that tests mount: in a file, or served by rclone. They are unmounted when dropped.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::places::skipped;

/// A file system in a file, mounted through a loop device and unmounted when dropped.
pub(crate) struct LoopMount {
    folder: tempfile::TempDir,
}

impl LoopMount {
    /// Makes and mounts a file system. Returns `None` if a tool or the permission is missing.
    pub(crate) fn mount(megabytes: u64, make: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        let file = fs_err::File::create(&image).unwrap();
        file.set_len(megabytes << 20).unwrap();
        let root = folder.path().join("mounted");
        fs_err::create_dir(&root).unwrap();
        let made = run(Command::new(make[0]).args(&make[1..]).arg(&image));
        if !made
            || !run(Command::new("mount")
                .args(["-o", "loop"])
                .args([&image, &root]))
        {
            skipped(&format!(
                "{} or mounting a loop device does not work here",
                make[0]
            ));
            return None;
        }
        Some(Self { folder })
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }
}

impl Drop for LoopMount {
    fn drop(&mut self) {
        assert!(run(Command::new("umount").arg("-l").arg(self.root())));
    }
}

fn run(command: &mut Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// A folder served by rclone, unmounted when dropped.
pub(crate) struct RcloneMount {
    process: std::process::Child,
    folder: tempfile::TempDir,
}

impl RcloneMount {
    pub(crate) fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let [behind, mounted] = ["behind", "mounted"].map(|name| folder.path().join(name));
        for folder in [&behind, &mounted] {
            fs_err::create_dir(folder).unwrap();
        }
        let device = |path: &Path| fs_err::metadata(path).unwrap().dev();
        let before = device(&mounted);
        let process = Command::new("rclone")
            .args(["mount", "--config=/dev/null", "--vfs-cache-mode=off"])
            .args([&behind, &mounted])
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = process else {
            skipped("rclone is not installed");
            return None;
        };
        let mut mount = Self { process, folder };
        let begun = Instant::now();
        while device(&mount.root()) == before {
            let ended = mount.process.try_wait().unwrap().is_some();
            if ended || begun.elapsed() > Duration::from_secs(20) {
                skipped("rclone cannot mount here");
                return None;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(mount)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }
}

impl Drop for RcloneMount {
    fn drop(&mut self) {
        run(Command::new("umount").arg("-l").arg(self.root()));
        let _ended_already = self.process.kill();
        self.process.wait().unwrap();
    }
}
