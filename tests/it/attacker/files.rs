//! Attacks with the files of a server directory: links, special files, sizes, names, modes, locks,
//! mounts, and folders that become links while they are walked.

use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode as FileMode, OFlags};

use super::dice::Dice;
use super::program::{Attacks, Mode, Plan, Record};

/// All attacks by name, as they are counted.
pub(super) const ATTACKS: [&str; 14] = [
    "symlink",
    "hard link",
    "special file",
    "device",
    "fill",
    "many names",
    "sparse file",
    "long name",
    "deep folders",
    "modes",
    "swap a folder",
    "ignore file",
    "lease",
    "mount",
];

/// The folders of a server that are attacked.
const FOLDERS: [&str; 5] = ["", "world", "world/region", "plugins", "logs"];
/// The content of the attacker's files.
const EVIL: &[u8] = b"evil";

pub(super) struct Vandal {
    directory: PathBuf,
    targets: Vec<PathBuf>,
    dice: Dice,
    made: u64,
}

impl Vandal {
    pub(super) fn new(plan: &Plan, dice: Dice) -> Self {
        Self {
            directory: plan.directory.clone(),
            targets: plan.targets.clone(),
            dice,
            made: 0,
        }
    }

    /// A folder to work in: in a wild attack, any of the server's.
    fn folder(&mut self, mode: Mode) -> PathBuf {
        let mut folder = self.directory.clone();
        if mode == Mode::Wild {
            folder.push(self.dice.pick(&FOLDERS));
        }
        folder
    }

    /// A new name in a folder to work in.
    fn place(&mut self, mode: Mode) -> PathBuf {
        self.made = (self.made + 1) % 40;
        let name = format!("evil-{}", self.made);
        self.folder(mode).join(name)
    }

    /// One of the server's own entries.
    fn server_entry(&mut self) -> PathBuf {
        let names = [
            "server.properties",
            "world/level.dat",
            "world/region/r.0.0.mca",
            "logs/latest.log",
            "start.sh",
        ];
        self.directory.join(self.dice.pick(&names))
    }

    fn try_one(&mut self, attack: &str, mode: Mode) -> bool {
        let place = self.place(mode);
        match attack {
            "symlink" => self.link_to_target(&place),
            "hard link" => {
                let target = match self.dice.below(3) {
                    0 if mode == Mode::Wild => {
                        // The other names of a file of the server are never written to.
                        let place = place.with_file_name(format!("evil-link-{}", self.made));
                        return fs_err::hard_link(self.server_entry(), place).is_ok();
                    }
                    1 => self.dice.pick(&self.targets).join("secret"),
                    _ => self.dice.pick(&self.targets).join("public"),
                };
                fs_err::hard_link(target, place).is_ok()
            }
            "special file" if self.dice.percent(50) => UnixListener::bind(place).is_ok(),
            "special file" => make_node(&place, FileType::Fifo, 0),
            "device" => make_node(&place, FileType::BlockDevice, 0x0801),
            "fill" => {
                let size = self.dice.pick(&[4_000, 400_000, 8_000_000]);
                write(place, vec![b'e'; *size]).is_ok()
            }
            "many names" => {
                let made = fs_err::create_dir(&place).is_ok();
                (0..200).all(|name| write(place.join(name.to_string()), EVIL).is_ok()) && made
            }
            "sparse file" => {
                open_to_write(&place).is_ok_and(|file| rustix::fs::ftruncate(file, 1 << 36).is_ok())
            }
            "long name" => {
                let name = format!("evil{}", "é".repeat(125));
                write(place.with_file_name(name), EVIL).is_ok()
            }
            "deep folders" => make_deep(&place, 120),
            "modes" => self.change_modes(&place, mode),
            "swap a folder" => self.swap_a_folder(&place, mode),
            "ignore file" => self.write_ignore_file(),
            "lease" => lease(&place),
            _ => mount(&self.folder(mode)),
        }
    }

    fn link_to_target(&mut self, place: &Path) -> bool {
        let target = match self.dice.below(6) {
            0 => PathBuf::from("../../../../../../../../etc/shadow"),
            1 => PathBuf::from(".."),
            2 => PathBuf::from("/proc/self/environ"),
            3 => self.dice.pick(&self.targets).join("secret"),
            _ => self.dice.pick(&self.targets).clone(),
        };
        symlink(target, place).is_ok()
    }

    fn change_modes(&mut self, place: &Path, mode: Mode) -> bool {
        let mut bits = vec![0, 0o400, 0o777];
        let place = match mode {
            Mode::Wild if self.dice.percent(70) => self.server_entry(),
            _ => {
                bits.extend([0o4755, 0o2777, 0o1777]);
                let _ = write(place, EVIL);
                place.to_owned()
            }
        };
        if self.dice.percent(10) {
            let acl = Command::new("setfacl")
                .args(["-m", "d:u:65533:rwx,u:65533:rwx"])
                .arg(&self.directory)
                .stderr(Stdio::null())
                .status();
            return acl.is_ok_and(|status| status.success());
        }
        let bits = *self.dice.pick(&bits);
        fs_err::set_permissions(place, std::fs::Permissions::from_mode(bits)).is_ok()
    }

    /// Puts a link in the place of a folder for a moment, as often as it takes to be met.
    fn swap_a_folder(&mut self, place: &Path, mode: Mode) -> bool {
        let folder = match mode {
            Mode::Wild => {
                let below = self.dice.pick(&["world", "world/region", "plugins"]);
                self.directory.join(below)
            }
            _ => {
                let own = self.directory.join("evil-folder");
                let _ = fs_err::create_dir_all(own.join("below"));
                own
            }
        };
        // The folder is put away beside itself: a folder that cannot come back would be lost.
        let aside = folder.with_file_name(format!(
            "evil-aside-{}",
            place.file_name().unwrap_or_default().display()
        ));
        let mut swapped = false;
        for _ in 0..20 {
            if fs_err::rename(&folder, &aside).is_err() {
                break;
            }
            swapped = symlink(self.dice.pick(&self.targets), &folder).is_ok();
            std::thread::sleep(Duration::from_micros(self.dice.below(300)));
            let _ = fs_err::remove_file(&folder);
            let _ = fs_err::rename(&aside, &folder);
        }
        swapped
    }

    fn write_ignore_file(&mut self) -> bool {
        let place = self.directory.join(".pteroignore");
        let _ = fs_err::remove_file(&place);
        match self.dice.below(4) {
            0 => symlink(self.dice.pick(&self.targets).join("secret"), place).is_ok(),
            1 => make_node(&place, FileType::Fifo, 0),
            2 => write(place, "*a*a*a*a*a*a*a*a*b\n[\n!\u{0}\n").is_ok(),
            _ => write(place, "evil-*\n").is_ok(),
        }
    }

    /// Removes its own things, so that the directory stays small.
    fn clear(&mut self, mode: Mode) {
        // A folder of the server that is spared keeps even what the attacker left in it.
        let folders = match mode {
            Mode::Wild => &FOLDERS[..],
            _ => &FOLDERS[..1],
        };
        for folder in folders {
            let Ok(entries) = fs_err::read_dir(self.directory.join(folder)) else {
                continue;
            };
            for entry in entries.flatten() {
                let name = entry.file_name();
                let is_own = name.as_encoded_bytes().starts_with(b"evil");
                // Another thread may have put a folder of the server away under this name.
                if is_own && !name.as_encoded_bytes().starts_with(b"evil-aside") {
                    let _ = fs_err::remove_file(entry.path());
                    let _ = fs_err::remove_dir_all(entry.path());
                }
            }
        }
        let _ = fs_err::remove_file(self.directory.join(".pteroignore"));
    }
}

impl Attacks for Vandal {
    fn attack(&mut self, mode: Mode, record: &Record) {
        let attack = *self.dice.pick(&ATTACKS);
        // Those that start a process are rare.
        if matches!(attack, "lease" | "mount") && self.dice.percent(85) {
            return;
        }
        let succeeded = self.try_one(attack, mode);
        record.count(attack, succeeded);
        if self.dice.percent(6) {
            self.clear(mode);
        }
    }
}

/// Writes a file. A FIFO or a leased file must not make the attacker wait.
pub(super) fn write(place: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
    let file = open_to_write(place.as_ref())?;
    std::io::Write::write_all(&mut std::fs::File::from(file), bytes.as_ref())
}

fn open_to_write(place: &Path) -> std::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NONBLOCK;
    let file = rustix::fs::open(place, flags | OFlags::NOFOLLOW, FileMode::RWXU)?;
    Ok(file)
}

fn make_node(place: &Path, kind: FileType, device: u64) -> bool {
    rustix::fs::mknodat(CWD, place, kind, FileMode::RWXU, device).is_ok()
}

/// Makes folders below each other, one name at a time.
fn make_deep(place: &Path, levels: u32) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let _ = fs_err::create_dir(place);
    let Ok(mut folder) = rustix::fs::open(place, flags, FileMode::empty()) else {
        return false;
    };
    for _ in 0..levels {
        let _ = rustix::fs::mkdirat(&folder, "evil-level", FileMode::RWXU);
        match rustix::fs::openat(&folder, "evil-level", flags, FileMode::empty()) {
            Ok(below) => folder = below,
            Err(_) => return false,
        }
    }
    true
}

/// Takes a lease on a file for some seconds. Opening the file takes until the lease is given up.
fn lease(place: &Path) -> bool {
    // The child has the lease as long as it has the file.
    // `fcntl(…, F_SETLEASE, F_WRLCK)`.
    const HOLD: &str = r#"$SIG{IO} = "IGNORE"; use Fcntl;
        sysopen(my $file, $ARGV[0], O_RDWR | O_CREAT | O_NONBLOCK) or exit 1;
        fcntl($file, 1024, 1) or exit 1;
        alarm 3; $| = 1; print "held\n"; close(STDOUT); sleep 3"#;
    let child = Command::new("perl")
        .args(["-e", HOLD])
        .arg(place)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    let mut said = String::new();
    let output = child.stdout.take();
    let read = output.map(|mut output| std::io::Read::read_to_string(&mut output, &mut said));
    // It ends by its alarm. This process does not wait for it.
    read.is_some_and(|read| read.is_ok()) && said == "held\n"
}

/// Mounts something over a folder, in a namespace of its own where the kernel permits that.
fn mount(folder: &Path) -> bool {
    // As root, it would hide the files of the test that tries each attack once.
    if rustix::process::geteuid().is_root() {
        return false;
    }
    let quiet = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let mut outright = Command::new("mount");
    let outright = quiet(outright.args(["-t", "tmpfs", "evil"]).arg(folder));
    let mut apart = Command::new("unshare");
    apart.args([
        "-Urm",
        "sh",
        "-c",
        r#"mount -t tmpfs evil "$1" && sleep 0.1"#,
        "sh",
    ]);
    outright || quiet(apart.arg(folder))
}
