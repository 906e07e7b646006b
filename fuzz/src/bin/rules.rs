//! Reads, compiles and matches an arbitrary `.pteroignore`.
//!
//! It must not panic or fail, and takes bounded time and memory. What is left out has a note. A
//! list means the same twice in a row, and with comments and blank lines in between.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

use holdfast_archive::{Control, Error, IgnoreRules, MAX_PATTERNS, Totals, read_pteroignore, scan};
use holdfast_fuzz::Bounds;

const BOUNDS: Bounds = Bounds {
    memory: 64 << 20,
    ..Bounds::TEXT
};

thread_local! {
    static TREE: tempfile::TempDir = {
        let folder = tempfile::Builder::new().tempdir_in("/dev/shm").unwrap();
        let paths = [
            "a/b/c",
            "a/b/d",
            "keep/sub/x.log",
            "keep/y.log",
            "logs/x y",
            "\u{e9}/{a,b}",
            "[b]",
        ];
        for path in paths.into_iter().chain(["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]) {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        folder
    };
}

fn scanned(tree: &Path, lines: &[String]) -> Result<Totals, Error> {
    let rules = IgnoreRules::new(lines)?;
    Ok(scan(tree, &rules, &Control::new())
        .expect("a scan")
        .totals())
}

/// Checks lines of a request, or of a list.
fn check(tree: &Path, lines: &[String]) -> bool {
    let bytes = lines.iter().map(|line| line.len() + 1).sum();
    let Ok(totals) = BOUNDS.check(bytes, || scanned(tree, lines)) else {
        return false;
    };
    if lines.len() <= MAX_PATTERNS / 2 {
        let twice = [lines, lines].concat();
        // A byte order mark is only one at the start.
        if !lines
            .first()
            .is_some_and(|line| line.starts_with('\u{feff}'))
        {
            assert_eq!(scanned(tree, &twice).expect("rules"), totals, "{lines:?}");
        }
        let spaced: Vec<String> = lines
            .iter()
            .flat_map(|line| [line.clone(), "# comment".to_owned(), String::new()])
            .collect();
        assert_eq!(scanned(tree, &spaced).expect("rules"), totals, "{lines:?}");
    }
    true
}

fuzz_target!(|text: &[u8]| {
    TREE.with(|tree| {
        let list = tree.path().join(".pteroignore");
        std::fs::write(&list, text).unwrap();
        let own = BOUNDS.check(text.len(), || read_pteroignore(tree.path()).unwrap());
        assert!(own.notes.len() <= 21);
        assert!(own.notes.iter().all(|note| note.reason.len() < 1000));
        let lines = text.split(|&byte| byte == b'\n');
        let used = lines.filter(|line| !line.trim_ascii().is_empty()).count();
        assert!(own.lines.len() <= used);
        assert!(own.lines.len() == used || !own.notes.is_empty() || text.len() > used);
        std::fs::write(&list, "").unwrap();
        assert!(check(tree.path(), &own.lines), "a list is never refused");
        // A request is refused as a whole.
        let lines: Vec<String> = String::from_utf8_lossy(text)
            .lines()
            .map(str::to_owned)
            .collect();
        check(tree.path(), &lines);
    });
});
