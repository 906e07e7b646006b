//! The files of a backup: folders, single files, and differences between two backups.

use serde_json::Value;

use super::Terminal;
use crate::support::app::App;
use crate::support::files::{self, make_server, set_mode, write};
use crate::support::process::run;

#[tokio::test(flavor = "multi_thread")]
async fn folders_are_listed_and_single_files_read() {
    let app = App::start().await;
    let terminal = Terminal::of(&app);
    make_server(&app.directory);
    let strange = "a\nb \u{1b}[2J\\";
    write(&app.directory.join(strange), b"strange");
    app.backup().await;

    let root = terminal.lines(&["browse", "SERVER", "latest"]);
    let line = |end: &str| root.iter().find(|line| line.ends_with(end)).unwrap();
    assert!(line(" world/").starts_with("drwx"), "{root:?}");
    assert!(line(" start.sh").starts_with("-rwxr-xr-x"), "{root:?}");
    assert!(
        line(" level -> world/level.dat").starts_with('l'),
        "{root:?}"
    );
    assert!(
        line(" zz-level.dat = world/level.dat").starts_with('-'),
        "{root:?}"
    );
    let shown = "a\\nb \\u{1b}[2J\\\\";
    line(shown);
    assert!(root.iter().all(|line| !line.contains('\u{1b}')), "{root:?}");
    let world = terminal.json(&["browse", "SERVER", "latest", "world"]);
    let names: Vec<&str> = world.as_array().unwrap().iter().map(name).collect();
    assert_eq!(names, ["level.dat", "region", "ünï"]);
    let all = terminal.lines(&["browse", "SERVER", "latest", "--recursive"]);
    assert!(
        all.iter()
            .any(|line| line.ends_with(" world/region/r.0.0.mca")),
        "{all:?}"
    );
    assert!(
        all.iter().any(|line| line.ends_with("-long-name/file")),
        "{all:?}"
    );
    let plugins = terminal.lines(&["browse", "SERVER", "latest", "plugins"]);
    assert_eq!(plugins, ["(none)"]);

    for (path, contents) in [
        ("world/region/r.0.0.mca", files::noise(300_000, 2)),
        ("world/ünï/ναι 1.txt", "κόσμε\n".as_bytes().to_vec()),
        // As it is, and as it is shown.
        (strange, b"strange".to_vec()),
        (shown, b"strange".to_vec()),
        ("zz-level.dat", files::noise(3_000, 1)),
        ("empty.txt", Vec::new()),
    ] {
        let mut command = terminal.command(&["cat", &terminal.server, "latest", path]);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{path}: {output:?}");
        assert!(output.stdout == contents, "{path}");
    }
    for (path, refusal) in [
        ("world", "The requested path is not a file of this backup."),
        ("no/such/file", "has no file `no/such/file`"),
    ] {
        let refused = terminal.failure(&["cat", "SERVER", "latest", path]);
        assert!(refused.contains(refusal), "{refused}");
    }
    let mut closed = std::process::Command::new("sh");
    let line = "\"$0\" client browse \"$1\" latest --recursive | head -n 1";
    closed.args(["-c", line, env!("CARGO_BIN_EXE_holdfast"), &terminal.server]);
    closed
        .env("HOLDFAST_URL", &terminal.url)
        .env("HOLDFAST_KEY", &terminal.key);
    assert_eq!(run(&mut closed).stderr, "", "a closed pipe is no problem");
    app.stop().await;
}

fn name(entry: &Value) -> &str {
    entry["name"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_backups_are_compared() {
    let app = App::start().await;
    let terminal = Terminal::of(&app);
    let at = |name: &str| app.directory.join(name);
    write(&at("same.txt"), b"same");
    write(&at("longer.txt"), b"short");
    write(&at("mode.txt"), b"mode");
    write(&at("gone/deep/a.txt"), b"a");
    write(&at("kind"), b"a file");
    write(&at("world/level.dat"), b"level");
    // More entries than a page has, the differences at both ends.
    for number in 0..120 {
        write(&at(&format!("many/{number:03}")), b"n");
    }
    let from = app.backup().await;
    write(&at("longer.txt"), b"much longer");
    set_mode(&at("mode.txt"), 0o700);
    fs_err::remove_dir_all(at("gone")).unwrap();
    fs_err::remove_file(at("kind")).unwrap();
    write(&at("kind/inside.txt"), b"a folder now");
    write(&at("world/new.dat"), b"new");
    fs_err::remove_file(at("many/000")).unwrap();
    write(&at("many/120"), b"n");
    app.backup().await;

    let mut lines = terminal.lines(&["compare", "SERVER", &from, "latest"]);
    assert_eq!(lines.pop().unwrap(), "3 added, 3 changed, 4 removed");
    lines.sort();
    assert_eq!(
        lines,
        [
            "+ kind/inside.txt  (12 B)",
            "+ many/120  (1 B)",
            "+ world/new.dat  (3 B)",
            "- gone/",
            "- gone/deep/",
            "- gone/deep/a.txt  (1 B)",
            "- many/000  (1 B)",
            "M kind/",
            "M longer.txt  (5 B before, 11 B now)",
            "M mode.txt  (4 B)",
        ]
    );
    let back = terminal.json(&["compare", "SERVER", "latest", &from]);
    let back = back.as_array().unwrap();
    let kinds = |kind: &str| back.iter().filter(|row| row["change"] == kind).count();
    assert_eq!(
        (kinds("added"), kinds("changed"), kinds("removed")),
        (4, 3, 3)
    );
    let longer = back.iter().find(|row| row["path"] == "longer.txt").unwrap();
    assert_eq!(
        (&longer["bytes_before"], &longer["bytes_after"]),
        (&11.into(), &5.into())
    );
    let same = terminal.lines(&["compare", "SERVER", &from, &from]);
    assert_eq!(same, ["0 added, 0 changed, 0 removed"]);
    app.stop().await;
}
