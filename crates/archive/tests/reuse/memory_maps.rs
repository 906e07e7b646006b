//! Writes through memory maps, which may move no time of the file.

use std::io::{Read as _, Write as _};
use std::path::Path;

use holdfast_archive::CreateOptions;

use super::back_up_at;
use crate::disks::Mounted;
use crate::support::*;

/// A program that has a file in its memory, and writes to it there.
struct Mapped(std::process::Child);

impl Mapped {
    /// Returns `None` where there is no Python.
    fn open(file: &Path) -> Option<Self> {
        const PROGRAM: &str = "
import mmap, sys
with open(sys.argv[1], 'r+b') as file:
    memory = mmap.mmap(file.fileno(), 0)
for line in sys.stdin:
    memory[5000:5005] = line[:5].encode()
    print('written', flush=True)
";
        let mut command = std::process::Command::new("python3");
        command.args(["-c", PROGRAM]).arg(file);
        command.stdin(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::piped());
        command.spawn().ok().map(Self)
    }

    /// Writes five bytes, and returns when they are in the file.
    fn write(&mut self, text: &str) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{text}").unwrap();
        let mut answer = [0; 8];
        let stdout = self.0.stdout.as_mut().unwrap();
        stdout.read_exact(&mut answer).unwrap();
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes through memory before and after a backup, and looks for the second write in the next one.
fn find_a_write_through_memory(place: &Path, begun: i64, what: &str) {
    use std::os::unix::fs::MetadataExt as _;
    let source = place.join("s");
    let file = source.join("world.db");
    write(&file, noise(300_000, 2));
    let Some(mut mapped) = Mapped::open(&file) else {
        return skip("there is no python3");
    };
    let changed = || {
        let about = fs_err::metadata(&file).unwrap();
        (about.ctime(), about.ctime_nsec())
    };
    let options = CreateOptions::default();
    mapped.write("first");
    let before = changed();
    let first = back_up_at(begun, &source, &options, None).unwrap();
    mapped.write("later");
    if changed() != before {
        skip(&format!("{what}: the second write has moved the times"));
    }
    let previous = Some((&first.archive, &first.index));
    let second = back_up_at(begun, &source, &options, previous).unwrap();
    let target = place.join("t");
    put_back(&second.archive, &target).unwrap();
    let found = fs_err::read(target.join("world.db")).unwrap();
    assert_eq!(found[5000..5005], *b"later", "{what}");
}

#[test]
fn a_write_through_memory_that_moves_no_time_is_found() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = i64::try_from(now.unwrap().as_secs()).unwrap();
    find_a_write_through_memory(folder().path(), now, "the temporary folder");
    if let Some(disk) = Mounted::new("xfs", &["-q"]) {
        find_a_write_through_memory(&disk.path(), now, "XFS");
    }
    // There, such a write never moves a time. So no file is trusted, however old it is.
    if let Some(disk) = Disk::mount("size=20m") {
        find_a_write_through_memory(disk.path(), i64::MAX, "tmpfs");
    }
}
