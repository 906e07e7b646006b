//! Reads, compiles and matches an arbitrary `.pteroignore`. It must not panic or fail, and must
//! take bounded time.
#![no_main]

use libfuzzer_sys::fuzz_target;

use holdfast_archive::{Control, IgnoreRules, read_pteroignore, scan};

thread_local! {
    static TREE: tempfile::TempDir = {
        let folder = tempfile::Builder::new().tempdir_in("/dev/shm").unwrap();
        for path in ["a/b/c", "keep/sub/x.log", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        folder
    };
}

fuzz_target!(|text: &[u8]| {
    TREE.with(|tree| {
        std::fs::write(tree.path().join(".pteroignore"), text).unwrap();
        let own = read_pteroignore(tree.path()).unwrap();
        let rules = IgnoreRules::new(&own.lines).unwrap();
        scan(tree.path(), &rules, &Control::new()).unwrap();
    });
    // A request is refused as a whole.
    let lines: Vec<String> = String::from_utf8_lossy(text)
        .lines()
        .map(str::to_owned)
        .collect();
    if let Ok(rules) = IgnoreRules::new(&lines) {
        TREE.with(|tree| scan(tree.path(), &rules, &Control::new()).unwrap());
    }
});
