//! Other programs read archives of the engine, and the engine reads theirs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::*;

/// Runs a shell command in a folder. Returns `None` if the tool is missing.
pub(crate) fn run(tool: &str, folder: &Path, script: &str) -> Option<Vec<u8>> {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {tool}")])
        .output()
        .unwrap();
    if !found.status.success() {
        skip(&format!("{tool} is not installed"));
        return None;
    }
    let output = Command::new("sh")
        .args(["-c", script])
        .current_dir(folder)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool}: {error}");
    Some(output.stdout)
}

struct Case {
    folder: tempfile::TempDir,
    made: Made,
    source: PathBuf,
}

impl Case {
    fn new() -> Self {
        let folder = folder();
        let source = folder.path().join("source");
        server(&source);
        // bsdtar 3.6 does not read fractions of seconds before 1970 correctly.
        set_mtime(source.join("start.sh"), -5, 0);
        let made = make_simply(&source);
        fs_err::write(folder.path().join("a.tar.gz"), bytes(&made.archive)).unwrap();
        fs_err::create_dir(folder.path().join("out")).unwrap();
        Self {
            folder,
            made,
            source,
        }
    }

    fn run(&self, tool: &str, script: &str) -> Option<Vec<u8>> {
        run(tool, self.folder.path(), script)
    }
}

/// Returns the contents only, for readers that do not keep times or holes.
pub(crate) fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    describe(root)
        .into_keys()
        .map(|path| {
            let full = root.join(&path);
            let bytes = if full.is_symlink() {
                fs_err::read_link(&full)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes()
            } else if full.is_dir() {
                b"folder".to_vec()
            } else {
                fs_err::read(&full).unwrap()
            };
            (path, bytes)
        })
        .collect()
}

#[test]
fn gnu_tar_unpacks_everything_exactly() {
    let case = Case::new();
    let script =
        "tar --version | grep -q GNU && tar -xpzf a.tar.gz -C out --warning=no-timestamp 2>&1";
    let Some(said) = case.run("tar", script) else {
        return;
    };
    assert_eq!(String::from_utf8_lossy(&said), "");
    assert_same(&case.folder.path().join("out"), &case.source);
    let listed = case
        .run("tar", "tar -tzf a.tar.gz --quoting-style=literal")
        .unwrap();
    let lines = listed
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .count();
    assert_eq!(lines as u64, case.made.summary.entries);
    let compared = case
        .run(
            "tar",
            "cd source && tar -dzf ../a.tar.gz --warning=no-timestamp",
        )
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&compared), "");
}

#[test]
fn bsdtar_unpacks_everything_exactly() {
    let case = Case::new();
    if case.run("bsdtar", "bsdtar -xpf a.tar.gz -C out").is_none() {
        return;
    }
    assert_same(&case.folder.path().join("out"), &case.source);
}

#[test]
fn python_unpacks_everything_from_a_stream() {
    let case = Case::new();
    let script = r#"python3 - <<'END'
import tarfile, zlib, gzip
raw = open("a.tar.gz", "rb").read()
assert len(zlib.decompress(raw, 31)) == len(gzip.decompress(raw))
with tarfile.open("a.tar.gz", "r|gz") as archive:
    archive.extractall("out")
END"#;
    if case.run("python3", script).is_none() {
        return;
    }
    let (found, wanted) = (
        contents(&case.folder.path().join("out")),
        contents(&case.source),
    );
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        wanted.keys().collect::<Vec<_>>()
    );
    assert!(found == wanted);
}

#[test]
fn all_gzip_readers_return_the_same_bytes() {
    let case = Case::new();
    case.run("gzip", "gzip -dc a.tar.gz > wanted.tar && gzip -t a.tar.gz")
        .unwrap();
    let wanted = fs_err::read(case.folder.path().join("wanted.tar")).unwrap();
    for (tool, script) in [
        (
            "node",
            "node -e 'const archive = require(\"fs\").readFileSync(\"a.tar.gz\"); \
             process.stdout.write(require(\"zlib\").gunzipSync(archive))'",
        ),
        ("busybox", "busybox gzip -dc a.tar.gz"),
        ("7z", "7z x -so a.tar.gz"),
        ("pigz", "pigz -dc a.tar.gz"),
        ("igzip", "igzip -dc a.tar.gz"),
        (
            "php",
            "php -d memory_limit=-1 -r 'echo gzdecode(file_get_contents(\"a.tar.gz\"));'",
        ),
        (
            "perl",
            "perl -MIO::Uncompress::Gunzip=gunzip -e 'gunzip \"a.tar.gz\" => \"-\"'",
        ),
    ] {
        if let Some(found) = case.run(tool, script) {
            assert!(
                found == wanted,
                "{tool} gives {} bytes of {}",
                found.len(),
                wanted.len()
            );
        }
    }
}

#[test]
fn busybox_and_7z_unpack_the_entries_that_they_support() {
    // Neither supports PAX sparse files, and 7z converts every name to UTF-8.
    let folder = folder();
    let source = folder.path().join("source");
    server(&source);
    fs_err::remove_file(source.join("world/map.bin")).unwrap();
    fs_err::remove_file(source.join(name(b"raw-\xff\xfe.bin"))).unwrap();
    fs_err::remove_file(source.join("dangling")).unwrap();
    let made = make_simply(&source);
    fs_err::write(folder.path().join("a.tar.gz"), bytes(&made.archive)).unwrap();
    let wanted = contents(&source);
    for (tool, script) in [
        ("busybox", "mkdir bb && busybox tar -xzf a.tar.gz -C bb"),
        ("7z", "mkdir 7z && 7z x -so a.tar.gz > a.tar && 7z t a.tar"),
    ] {
        if run(tool, folder.path(), script).is_some() && tool == "busybox" {
            assert!(contents(&folder.path().join("bb")) == wanted, "{tool}");
        }
    }
}

#[test]
fn archives_of_gnu_tar_are_restored_in_every_format() {
    for (format, sparse) in [
        ("gnu", "--sparse"),
        ("pax", "--sparse"),
        ("pax", "--sparse --sparse-version=0.0"),
        ("pax", "--sparse --sparse-version=0.1"),
        ("gnu", ""),
    ] {
        let folder = folder();
        let (source, target) = (folder.path().join("source"), folder.path().join("target"));
        server(&source);
        let pieces: Vec<(u64, &[u8])> =
            (0..40).map(|place| (place << 16, &b"island"[..])).collect();
        crate::support::sparse(&source.join("many-holes"), 3 << 20, &pieces);
        let script = format!("tar --format={format} {sparse} -czf a.tar.gz -C source .");
        if run("tar", folder.path(), &script).is_none() {
            return;
        }
        let archive = open(&folder.path().join("a.tar.gz"));
        put_back(&archive, &target).unwrap();
        let (found, wanted) = (contents(&target), contents(&source));
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            wanted.keys().collect::<Vec<_>>()
        );
        assert!(found == wanted, "{format} {sparse}");
        if format == "pax" {
            assert_same(&target, &source);
        }
    }
}

#[test]
fn tar_keeps_the_times_of_folders_with_links_that_lead_elsewhere() {
    let folder = folder();
    let source = folder.path().join("source");
    for place in ["a", "a/b", "z", "z/empty"] {
        fs_err::create_dir_all(source.join(place)).unwrap();
        write(source.join(place).join("file"), place);
        for (name, target) in [("link", "/etc/hostname"), ("up", "../../x"), ("z", "file")] {
            std::os::unix::fs::symlink(target, source.join(place).join(name)).unwrap();
        }
    }
    for (number, place) in ["z/empty", "z", "a/b", "a"].into_iter().enumerate() {
        set_mtime(source.join(place), 1_600_000_000 + number as i64, 0);
    }
    let made = make_simply(&source);
    fs_err::write(folder.path().join("a.tar.gz"), bytes(&made.archive)).unwrap();
    let script = "mkdir out && tar -xpzf a.tar.gz -C out";
    if run("tar", folder.path(), script).is_some() {
        assert_eq!(describe(&folder.path().join("out")), describe(&source));
    }
}
