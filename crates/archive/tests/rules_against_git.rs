//! Compares ignore rules with `git check-ignore` on generated lists.
//!
//! `HOLDFAST_GIT_LISTS=N` sets how many lists are compared.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use holdfast_archive::{Control, CreateOptions, list};

use crate::support::*;

/// Generated names. Some hold what is special in a pattern, or are not UTF-8.
const NAMES: [&[u8]; 24] = [
    b"a",
    b"b",
    b"ab",
    b"foo",
    b"x.log",
    b"keep",
    b"a b",
    "é".as_bytes(),
    b"\xe9",
    b"a\xe9b",
    "a–b".as_bytes(),
    b"{a,b}",
    b"a{",
    b"a]b",
    b"-",
    b"[",
    b"a\\",
    b"!a",
    b"#a",
    b"*",
    b"a*b",
    b"^",
    b"x\ny",
    b"..a",
];
/// The names among them that are folders, with names of their own below.
const FOLDERS: [&[u8]; 6] = [b"a", b"ab", b"foo", b"keep", "é".as_bytes(), b"\xe9"];
/// Parts of generated patterns, between slashes.
const PARTS: [&str; 24] = [
    "a",
    "b",
    "ab",
    "foo",
    "x.log",
    "keep",
    "*",
    "?",
    "a*",
    "*b",
    "*.log",
    "[ab]",
    "[!a]",
    "[a-f]*",
    "**",
    "fo?",
    "\\a",
    "k[[:alpha:]]ep",
    "a\\ b",
    "a b",
    "[",
    "f**o",
    "[]a]",
    "x.[^a-k]og",
];
/// Smaller pieces, of which parts are put together.
const PIECES: [&str; 56] = [
    "a",
    "b",
    "o",
    "x",
    ".",
    "-",
    "é",
    "–",
    "{",
    "}",
    ",",
    "{a,b}",
    "{}",
    "*",
    "**",
    "***",
    "?",
    "??",
    "\\*",
    "\\?",
    "\\[",
    "\\\\",
    "\\{",
    "\\é",
    "\\!",
    "[b-a]",
    "[a-]",
    "[-a]",
    "[--0]",
    "[]-a]",
    "[!]a]",
    "[^]-]",
    "[^^]",
    "[\\]]",
    "[\\]-a]",
    "[a-\\c]",
    "[[:digit:]a]",
    "[[:bad:]]",
    "[[:alpha:]-z]",
    "[[:]",
    "[[:a]",
    "[é]",
    "[^é]",
    "[a-é]",
    "[é-ü]",
    "[ü-a]",
    "[é-¢]",
    "[–-a-]",
    "[a-é-z]",
    "[^–é]",
    "[/]",
    "[^/]",
    "[{,}]",
    "]",
    "[!!]",
    "[#-*]",
];

struct Seed(u64);

impl Seed {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn part(&mut self) -> String {
        if self.below(2) == 0 {
            return PARTS[self.below(PARTS.len())].to_owned();
        }
        let pieces = 1 + self.below(3);
        (0..pieces)
            .map(|_| PIECES[self.below(PIECES.len())])
            .collect()
    }

    fn pattern(&mut self) -> String {
        let mut line = String::new();
        if self.below(3) == 0 {
            line.push('!');
        }
        if self.below(4) == 0 {
            line.push('/');
        }
        for number in 0..=self.below(3) {
            if number > 0 {
                line.push_str(["/", "/", "/", "/", "/", "//", "\\/"][self.below(7)]);
            }
            line.push_str(&self.part());
        }
        if self.below(4) == 0 {
            line.push('/');
        }
        match self.below(16) {
            0 => line.push_str("  "),
            1 => line.push('\r'),
            2 => line.insert(0, '#'),
            3 => line.insert(0, '\\'),
            4 => line.push('\\'),
            5 => line.push_str("\\ "),
            _ => {}
        }
        line
    }
}

/// Creates three levels of folders with files and folders of different names. Returns the paths of
/// the files.
fn tree(root: &Path) -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    let mut folders = vec![(Vec::new(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        // The third level has fewer names, and no folders.
        for name in NAMES.iter().step_by(if depth == 2 { 3 } else { 1 }) {
            let path = [&folder, *name].concat();
            if depth < 2 && FOLDERS.contains(name) {
                folders.push(([&path, b"/".as_slice()].concat(), depth + 1));
                continue;
            }
            write(root.join(OsStr::from_bytes(&path)), "");
            files.push(path);
        }
    }
    files
}

/// Returns the paths that git ignores.
fn ignored_by_git(root: &Path, patterns: &[String], paths: &[Vec<u8>]) -> HashSet<Vec<u8>> {
    fs_err::write(root.join(".git/info/exclude"), patterns.join("\n") + "\n").unwrap();
    let mut git = Command::new("git")
        .args(["-c", "core.excludesFile=/dev/null", "check-ignore"])
        .args(["--no-index", "--stdin", "-z"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = git.stdin.take().unwrap();
    let asked = paths.join(&b'\0');
    let writer = std::thread::spawn(move || input.write_all(&asked));
    let answer = git.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let paths = answer.stdout.split(|&byte| byte == b'\0');
    paths.map(<[u8]>::to_vec).collect()
}

/// Returns the paths that the engine keeps.
fn kept(root: &Path, patterns: &[String]) -> HashSet<Vec<u8>> {
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    let made = make(root, &patterns, &CreateOptions::default()).unwrap();
    let mut kept = HashSet::new();
    list(
        &made.archive,
        Some(&made.index),
        &Control::new(),
        &mut |entry| {
            kept.insert(entry.path.clone());
            Ok(())
        },
    )
    .unwrap();
    kept
}

fn repository() -> Option<tempfile::TempDir> {
    let folder = memory_folder();
    let made = Command::new("git")
        .args(["init", "-q"])
        .current_dir(folder.path())
        .status();
    if made.is_ok_and(|status| status.success()) {
        return Some(folder);
    }
    skip("git is not installed");
    None
}

/// Returns whether patterns use the extension: a pattern that ends in `*`, and a negation with a
/// slash.
fn uses_extension(patterns: &[String]) -> bool {
    let sweeps = |line: &String| {
        let last = line
            .trim_end_matches(['\r', ' '])
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or("")
            .to_owned();
        !line.starts_with('!') && last.bytes().all(|byte| byte == b'*')
    };
    let takes_back = |line: &String| {
        line.starts_with('!') && line[1..].trim_end_matches(['\r', ' ']).contains('/')
    };
    let Some(first) = patterns.iter().position(sweeps) else {
        return false;
    };
    patterns[first..].iter().any(takes_back)
}

#[test]
fn patterns_match_the_same_paths_as_in_git() {
    let Some(folder) = repository() else { return };
    let root = folder.path();
    let paths = tree(root);
    let lists = std::env::var("HOLDFAST_GIT_LISTS").map_or(150, |lists| lists.parse().unwrap());
    let mut seed = Seed(20_261_122);
    let (mut compared, mut left_out) = (0, 0);
    while compared < lists {
        let patterns: Vec<String> = (0..=seed.below(5)).map(|_| seed.pattern()).collect();
        if uses_extension(&patterns) {
            continue;
        }
        compared += 1;
        let ignored = ignored_by_git(root, &patterns, &paths);
        let with_git: Vec<String> = patterns
            .iter()
            .cloned()
            .chain(["/.git".to_owned()])
            .collect();
        let kept = kept(root, &with_git);
        for path in &paths {
            let wanted = !ignored.contains(path);
            left_out += usize::from(!wanted);
            assert_eq!(
                kept.contains(path),
                wanted,
                "{} with {patterns:?} (git keeps it: {wanted})",
                path.escape_ascii()
            );
        }
    }
    assert!(left_out > 10 * lists, "too few ignored paths: {left_out}");
    assert!(left_out < paths.len() * lists / 2, "too many ignored paths");
}

#[test]
fn a_later_negation_includes_entries_of_a_folder_that_a_star_excluded() {
    let folder = folder();
    let root = folder.path();
    for path in [
        "keep/sub/deep/file",
        "keep/other",
        "top",
        "logs/important.txt",
        "logs/x.log",
    ] {
        write(root.join(path), "");
    }
    let kept = |patterns: &[&str]| {
        let mut paths = entries(&make(root, patterns, &CreateOptions::default()).unwrap());
        paths.sort();
        paths
    };
    let with_contents = ["keep", "keep/sub", "keep/sub/deep", "keep/sub/deep/file"];
    assert_eq!(kept(&["*", "!keep/sub"]), with_contents);
    assert_eq!(kept(&["*", "!/keep/sub/deep/file"]), with_contents);
    assert_eq!(
        kept(&["/*", "!keep/", "!keep/**", "keep/other"]),
        with_contents
    );
    assert_eq!(kept(&["*", "!keep/", "!keep/**"]).len(), 5);
    assert_eq!(kept(&["*", "!keep/sub", "deep/"]), ["keep", "keep/sub"]);
    // The negation matches no entry, so no folder is kept for it.
    assert_eq!(kept(&["*", "!keep/nothing"]), [""; 0]);
    // A folder that a pattern names is excluded completely, as in git.
    assert!(
        !kept(&["logs/", "!logs/important.txt"])
            .iter()
            .any(|path| path.starts_with("logs"))
    );
    // A folder whose contents are all excluded is kept as an empty folder.
    assert!(kept(&["logs/*"]).contains(&"logs".to_owned()));
}
