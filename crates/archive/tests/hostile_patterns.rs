//! Hostile lists of patterns are refused, or matched in a time that grows with the length of names
//! and of the list only.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use holdfast_archive::{
    Control, CreateOptions, Error, IgnoreRules, MAX_PATTERN_BYTES, MAX_PATTERNS, MAX_WILDCARDS,
    scan,
};

use crate::support::*;

/// A bound that only a cost of more than length times patterns exceeds.
const SOON: Duration = Duration::from_secs(20);

fn rules(patterns: &[String]) -> IgnoreRules {
    IgnoreRules::new(patterns).unwrap()
}

/// Nested folders with the name `a`, and a file in the last one.
struct Nest(tempfile::TempDir);

impl Nest {
    fn new(depth: usize) -> Self {
        let folder = memory_folder();
        nest(folder.path(), depth);
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Nest {
    fn drop(&mut self) {
        // The standard library removes folders recursively, which is too deep for a thread's stack.
        let removed = Command::new("rm").arg("-rf").arg(self.path()).status();
        assert!(removed.is_ok_and(|status| status.success()));
    }
}

fn nest(root: &Path, depth: usize) {
    use rustix::fs::{Mode, OFlags, mkdirat, open, openat};
    let folder = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut deepest = open(root, folder, Mode::empty()).unwrap();
    for _ in 0..depth {
        mkdirat(&deepest, "a", Mode::RWXU).unwrap();
        deepest = openat(&deepest, "a", folder, Mode::empty()).unwrap();
    }
    openat(&deepest, "end", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap();
}

#[test]
fn patterns_beyond_a_limit_are_refused_and_comments_have_none() {
    let refused =
        |patterns: &[String]| matches!(IgnoreRules::new(patterns), Err(Error::Pattern { .. }));
    let many: Vec<String> = (0..=MAX_PATTERNS)
        .map(|number| number.to_string())
        .collect();
    assert!(refused(&many));
    assert!(!refused(&many[..MAX_PATTERNS]));
    assert!(refused(&["a".repeat(MAX_PATTERN_BYTES + 1)]));
    assert!(!refused(&["a".repeat(MAX_PATTERN_BYTES)]));
    assert!(refused(&["*a".repeat(MAX_WILDCARDS + 1)]));
    assert!(!refused(&["*a".repeat(MAX_WILDCARDS)]));
    assert!(refused(&["a\0b".to_owned()]));
    assert!(!refused(&[format!("#{}", "*\0".repeat(32 << 10))]));
    assert!(!refused(&vec!["#".to_owned(); 1000]));
}

#[test]
fn deep_folders_cost_no_more_than_their_names() {
    let folder = Nest::new(700);
    let patterns: Vec<String> = (0..8)
        .map(|number| format!("/{}b{number}", "**/a/".repeat(20)))
        .collect();
    let started = Instant::now();
    let totals = scan(folder.path(), &rules(&patterns), &Control::new())
        .unwrap()
        .totals();
    assert_eq!(totals.files, 1);
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

#[test]
fn long_names_cost_no_more_than_their_length() {
    let folder = memory_folder();
    for number in 0..50 {
        let name = format!("{}{number:05}", "a".repeat(245));
        write(folder.path().join(name), "");
    }
    let patterns = vec![format!("{}b", "*a".repeat(63)); 250];
    let started = Instant::now();
    let totals = scan(folder.path(), &rules(&patterns), &Control::new())
        .unwrap()
        .totals();
    assert_eq!(totals.files, 50);
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

/// Lists of the largest size that is allowed.
fn hostile_lists() -> Vec<Vec<String>> {
    let each = |line: &dyn Fn(usize) -> String| -> Vec<String> {
        (0..MAX_PATTERNS)
            .map(|number| {
                let mut line = line(number);
                line.truncate(line.floor_char_boundary(MAX_PATTERN_BYTES));
                line
            })
            .collect()
    };
    vec![
        each(&|number| format!("/{}b{number}", "**/a/".repeat(20))),
        each(&|number| format!("{number}{}", "/a".repeat(500))),
        each(&|number| format!("**/{}{number}", "a/".repeat(500))),
        each(&|number| format!("**/{}*{}", "a/".repeat(number), "/a".repeat(500))),
        each(&|number| format!("{}b{number}", "*a".repeat(60))),
        each(&|number| format!("{}.{}", "*a".repeat(60), "a".repeat(number + 1))),
        each(&|number| format!("{number}{}", "?[a-cx-z]*aaaaaaaaaaaaa".repeat(21))),
        each(&|number| format!("*{number}{}", "a".repeat(1000))),
        each(&|number| format!("*{}{number}*", "é".repeat(500))),
        each(&|number| format!("{}{number}", "[^aceg–éikmoqsuwy]é".repeat(30))),
        each(&|number| format!("a{}{number}", "**/".repeat(30))),
        each(&|number| format!("!**/{}{number}", "a*/".repeat(60))),
    ]
}

#[test]
fn the_largest_lists_compile_and_match() {
    let folder = Nest::new(100);
    for number in 0..5 {
        write(
            folder.path().join(format!("{}{number}", "a".repeat(254))),
            "",
        );
    }
    for list in hostile_lists() {
        let started = Instant::now();
        scan(folder.path(), &rules(&list), &Control::new()).unwrap();
        assert!(
            started.elapsed() < SOON,
            "{:?}: {}",
            started.elapsed(),
            list[0]
        );
    }
}

#[test]
fn a_walk_with_hostile_patterns_stops_soon_after_a_cancel() {
    let folder = Nest::new(8000);
    for list in hostile_lists() {
        let rules = rules(&list);
        let control = Control::new();
        std::thread::scope(|scope| {
            let walk = scope.spawn(|| scan(folder.path(), &rules, &control));
            std::thread::sleep(Duration::from_millis(50));
            control.cancel();
            let cancelled = Instant::now();
            let ended = walk.join().unwrap();
            assert!(matches!(ended, Ok(_) | Err(Error::Cancelled)), "{ended:?}");
            assert!(
                cancelled.elapsed() < SOON,
                "{:?}: {}",
                cancelled.elapsed(),
                list[0]
            );
        });
    }
}

#[test]
fn many_folders_deep_and_many_patterns_need_bounded_memory() {
    // Each folder on the way has a state of 16 KiB, so this is not deep enough to be left out.
    let folder = Nest::new(2000);
    let list = hostile_lists().swap_remove(2);
    let made = make(
        folder.path(),
        &list.iter().map(String::as_str).collect::<Vec<_>>(),
        &CreateOptions::default(),
    )
    .unwrap();
    assert_eq!(made.summary.notes.count, 0);
    drop(made);
    let folder = Nest::new(6000);
    let made = make(
        folder.path(),
        &list.iter().map(String::as_str).collect::<Vec<_>>(),
        &CreateOptions::default(),
    )
    .unwrap();
    let notes = made.summary.notes.first;
    assert_eq!(notes.len(), 1);
    assert_eq!(
        notes[0].reason,
        "left out: it lies too deep for so many ignore patterns"
    );
    assert_eq!(made.summary.files, 0);
}
