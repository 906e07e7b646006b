//! Compares ignore rules with `git check-ignore` on generated lists.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use holdfast_archive::{
    Control, CreateOptions, Error, IgnoreRules, Pteroignore, create, read_pteroignore,
};

use crate::support::*;

/// Pieces of generated names and patterns.
const NAMES: [&str; 7] = ["a", "b", "ab", "foo", "x.log", "keep", "a b"];
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

struct Seed(u64);

impl Seed {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
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
                line.push('/');
            }
            line.push_str(PARTS[self.below(PARTS.len())]);
        }
        if self.below(4) == 0 {
            line.push('/');
        }
        match self.below(12) {
            0 => line.push_str("  "),
            1 => line.push('\r'),
            2 => line.insert(0, '#'),
            3 => line.insert(0, '\\'),
            _ => {}
        }
        line
    }
}

/// Creates three levels of folders with files and folders of different names. Returns their paths.
fn tree(root: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    for (number, first) in NAMES.iter().enumerate() {
        if number % 2 == 1 {
            write(root.join(first), "");
            paths.push((*first).to_owned());
            continue;
        }
        for second in NAMES {
            if second == "foo" || second == "keep" {
                for third in ["a", "b", "x.log", "keep"] {
                    let path = format!("{first}/{second}/{third}");
                    write(root.join(&path), "");
                    paths.push(path);
                }
            } else {
                let path = format!("{first}/{second}");
                write(root.join(&path), "");
                paths.push(path);
            }
        }
    }
    paths
}

/// Returns the paths that git ignores.
fn ignored_by_git(root: &Path, patterns: &[String], paths: &[String]) -> Vec<String> {
    fs_err::write(root.join(".git/info/exclude"), patterns.join("\n") + "\n").unwrap();
    let mut git = Command::new("git")
        .args(["check-ignore", "--no-index", "--stdin", "-z"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    git.stdin
        .take()
        .unwrap()
        .write_all((paths.join("\0") + "\0").as_bytes())
        .unwrap();
    let answer = git.wait_with_output().unwrap();
    let text = String::from_utf8(answer.stdout).unwrap();
    text.split('\0')
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect()
}

fn files_kept(root: &Path, patterns: &[String]) -> Vec<String> {
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    let mut kept = entries(&make(root, &patterns, &CreateOptions::default()).unwrap());
    kept.retain(|path| root.join(path).is_file());
    kept
}

fn repository() -> Option<tempfile::TempDir> {
    let folder = folder();
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
            .trim_end_matches(['\r', ' ', '/'])
            .rsplit('/')
            .next()
            .unwrap_or("")
            .to_owned();
        !line.starts_with('!') && !last.is_empty() && last.bytes().all(|byte| byte == b'*')
    };
    let takes_back = |line: &String| {
        line.starts_with('!') && line[1..].trim_end_matches(['\r', ' ', '/']).contains('/')
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
    let mut seed = Seed(20_261_122);
    let (mut compared, mut left_out) = (0, 0);
    while compared < 400 {
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
        let kept = files_kept(root, &with_git);
        left_out += ignored.len();
        for path in &paths {
            let wanted = !ignored.contains(path);
            assert_eq!(
                kept.contains(path),
                wanted,
                "{path} with {patterns:?} (git keeps it: {wanted})"
            );
        }
    }
    assert!(left_out > 2000, "too few ignored paths: {left_out}");
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
    let kept =
        |patterns: &[&str]| entries(&make(root, patterns, &CreateOptions::default()).unwrap());
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

#[test]
fn hostile_patterns_are_refused_or_matched_quickly() {
    let many: Vec<String> = (0..257).map(|number| number.to_string()).collect();
    let refused =
        |patterns: &[String]| matches!(IgnoreRules::new(patterns), Err(Error::Pattern { .. }));
    assert!(refused(&many));
    assert!(!refused(&many[..256]));
    assert!(refused(&["a".repeat(1025)]));
    assert!(refused(&["*a".repeat(65)]));
    assert!(refused(&["a\0b".to_owned()]));
    let folder = folder();
    write(folder.path().join("a".repeat(250)), "");
    let hostile = vec!["*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b".to_owned(); 256];
    let started = std::time::Instant::now();
    let hostile: Vec<&str> = hostile.iter().map(String::as_str).collect();
    make(folder.path(), &hostile, &CreateOptions::default()).unwrap();
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}

#[test]
fn a_pteroignore_is_read_without_following_symlinks_and_noted_if_unused() {
    let folder = folder();
    let path = folder.path().join(".pteroignore");
    let read = || read_pteroignore(folder.path()).unwrap();
    let noted = || {
        let own = read();
        assert!(own.lines.is_empty());
        let rules = IgnoreRules::new(&own.lines)
            .unwrap()
            .with_unused_reason(own.unused_reason);
        let (options, control) = (CreateOptions::default(), Control::new());
        let summary = create(
            folder.path(),
            &rules,
            &options,
            std::io::sink(),
            std::io::sink(),
            &control,
        )
        .unwrap();
        let notes = summary.notes.first.iter();
        notes.map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(read(), Pteroignore::default());
    assert!(noted().is_empty());
    write(&path, "*.log\r\n\n  \n# comment\n!keep.log\n");
    assert_eq!(read().lines, ["*.log", "# comment", "!keep.log"]);
    assert_eq!(read().unused_reason, None);
    write(&path, "a\n".repeat(16 << 10));
    assert_eq!(read().lines.len(), 16 << 10);
    write(&path, "a\n".repeat(16 << 10) + "b");
    assert_eq!(
        noted(),
        [".pteroignore: it was not used: it is larger than 32 KiB"]
    );
    fs_err::rename(&path, folder.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real", &path).unwrap();
    assert_eq!(
        noted(),
        [".pteroignore: it was not used: it is a symbolic link"]
    );
    fs_err::remove_file(&path).unwrap();
    fs_err::create_dir(&path).unwrap();
    assert_eq!(
        noted(),
        [".pteroignore: it was not used: it is not a regular file"]
    );
    let missing = read_pteroignore(&folder.path().join("missing"));
    assert!(matches!(missing, Err(Error::SourceMissing { .. })));
}
