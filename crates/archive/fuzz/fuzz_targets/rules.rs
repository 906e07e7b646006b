//! Compiles and matches arbitrary patterns. It must not panic, and must take bounded time.
#![no_main]

use libfuzzer_sys::fuzz_target;

use holdfast_archive::{Control, IgnoreRules, scan};

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

fuzz_target!(|text: &str| {
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let Ok(rules) = IgnoreRules::new(&lines) else {
        return;
    };
    TREE.with(|tree| scan(tree.path(), &rules, &Control::new()).unwrap());
});
