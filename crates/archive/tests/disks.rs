//! File systems for tests, in a file that is mounted through a loop device. That needs root.

#![allow(unreachable_pub, reason = "shared by several test modules")]
#![allow(clippy::allow_attributes, reason = "as in the support module")]

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{folder, is_root};

/// Prints why a test is skipped.
fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

/// Runs a command. Returns whether it succeeded.
pub fn run(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    match output {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            let error = String::from_utf8_lossy(&output.stderr);
            eprintln!("{program} {arguments:?}: {}", error.trim());
            false
        }
        Err(error) => {
            eprintln!("{program}: {error}");
            false
        }
    }
}

/// Runs a command and returns its output.
#[track_caller]
pub fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns whether all these programs exist and the process is root.
pub fn can_use(programs: &[&str]) -> bool {
    if !is_root() {
        skip("this test needs root");
        return false;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    for program in programs {
        let mut folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
        if !folders.any(|folder: PathBuf| folder.join(program).exists()) {
            skip(&format!("{program} is missing"));
            return false;
        }
    }
    true
}

/// A mounted file system. It is unmounted when this is dropped.
pub struct Mounted {
    folder: tempfile::TempDir,
}

impl Mounted {
    /// Makes and mounts a file system of this kind, with arguments for its `mkfs`.
    pub fn new(kind: &str, arguments: &[&str]) -> Option<Self> {
        Self::with_options(kind, arguments, &["loop"])
    }

    /// Does the same with the first of these options for `mount` that the kernel accepts.
    pub fn with_options(kind: &str, arguments: &[&str], options: &[&str]) -> Option<Self> {
        let mkfs = format!("mkfs.{kind}");
        if !can_use(&[&mkfs]) {
            return None;
        }
        let folder = folder();
        let image = folder.path().join("image");
        let file = fs_err::File::create(&image).unwrap();
        file.set_len(320 << 20).unwrap();
        let mut arguments = arguments.to_vec();
        arguments.push(image.to_str().unwrap());
        assert!(run(&mkfs, &arguments), "{mkfs} failed");
        let place = folder.path().join("disk");
        fs_err::create_dir(&place).unwrap();
        let paths = [image.to_str().unwrap(), place.to_str().unwrap()];
        let mount = |options| run("mount", &["-t", kind, "-o", options, paths[0], paths[1]]);
        if !options.iter().copied().any(mount) {
            skip(&format!("{kind} cannot be mounted here"));
            return None;
        }
        Some(Self { folder })
    }

    /// Mounts an overlay whose lower layer `fill` writes.
    pub fn overlay(fill: impl FnOnce(&Path)) -> Option<Self> {
        if !can_use(&["mount"]) {
            return None;
        }
        let folder = folder();
        for name in ["lower", "disk", "layers"] {
            fs_err::create_dir(folder.path().join(name)).unwrap();
        }
        let layers = folder.path().join("layers");
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        // The upper layer of an overlay cannot be in an overlay, as in a container.
        if !run("mount", &["-t", "tmpfs", "tmpfs", &path("layers")]) {
            skip("mounting is not allowed");
            return None;
        }
        let mounted = Self { folder };
        for name in ["upper", "work"] {
            fs_err::create_dir(layers.join(name)).unwrap();
        }
        let base = mounted.folder.path();
        fill(&base.join("lower"));
        let options = format!(
            "redirect_dir=off,lowerdir={0}/lower,upperdir={0}/layers/upper,workdir={0}/layers/work",
            base.display()
        );
        let place = base.join("disk");
        let arguments = [
            "-t",
            "overlay",
            "-o",
            &options,
            "overlay",
            place.to_str().unwrap(),
        ];
        if !run("mount", &arguments) {
            skip("overlayfs cannot be mounted here");
            return None;
        }
        Some(mounted)
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for name in ["disk", "layers"] {
            let place = self.folder.path().join(name);
            if place.exists() {
                let _ = Command::new("umount").arg("-l").arg(place).output();
            }
        }
    }
}
