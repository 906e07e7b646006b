//! The ignore list in a server directory: what cannot be used is left out, with a note.

use holdfast_archive::{
    Control, CreateOptions, Error, IgnoreRules, Pteroignore, create, read_pteroignore,
};

use crate::support::*;

/// A server directory with a file for each name, and its notes and entries in a backup.
struct Server(tempfile::TempDir);

impl Server {
    fn new() -> Self {
        Self(folder())
    }

    fn list(&self) -> std::path::PathBuf {
        self.0.path().join(".pteroignore")
    }

    fn read(&self) -> Pteroignore {
        read_pteroignore(self.0.path()).unwrap()
    }

    /// Returns the notes of a backup.
    fn notes(&self) -> Vec<String> {
        let own = self.read();
        let rules = IgnoreRules::new(&own.lines).unwrap().with_notes(own.notes);
        let (options, control) = (CreateOptions::default(), Control::new());
        let summary = create(
            self.0.path(),
            &rules,
            &options,
            std::io::sink(),
            std::io::sink(),
            &control,
        )
        .unwrap();
        let notes = summary.notes.first.iter();
        notes.map(ToString::to_string).collect()
    }
}

#[test]
fn a_list_is_read_without_following_symlinks_and_noted_if_unused() {
    let server = Server::new();
    let path = server.list();
    assert_eq!(server.read(), Pteroignore::default());
    assert!(server.notes().is_empty());
    write(&path, "\u{feff}*.log\r\n\n  \n# comment\n!keep.log\n");
    assert_eq!(server.read().lines, ["*.log", "# comment", "!keep.log"]);
    assert!(server.notes().is_empty());
    write(&path, "#\n".repeat(16 << 10));
    assert_eq!(server.read().lines.len(), 16 << 10);
    assert!(server.notes().is_empty());
    let unused = |reason: &str| vec![format!(".pteroignore: it was not used: {reason}")];
    write(&path, "#\n".repeat(16 << 10) + "b");
    assert_eq!(server.notes(), unused("it is larger than 32 KiB"));
    assert!(server.read().lines.is_empty());
    fs_err::rename(&path, server.0.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real", &path).unwrap();
    assert_eq!(server.notes(), unused("it is a symbolic link"));
    fs_err::remove_file(&path).unwrap();
    fs_err::create_dir(&path).unwrap();
    assert_eq!(server.notes(), unused("it is not a regular file"));
    fs_err::remove_dir(&path).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(
        server
            .notes()
            .contains(&unused("it is not a regular file")[0])
    );
    let missing = read_pteroignore(&server.0.path().join("missing"));
    assert!(matches!(missing, Err(Error::SourceMissing { .. })));
}

#[test]
fn a_list_that_may_not_be_read_is_not_used() {
    if is_root() {
        return skip("root may read every file");
    }
    let server = Server::new();
    write(server.list(), "a");
    set_mode(server.list(), 0);
    let unused = ".pteroignore: it was not used: it may not be read".to_owned();
    assert!(server.notes().contains(&unused));
}

#[test]
fn a_pelicanignore_is_read_if_there_is_no_pteroignore() {
    let server = Server::new();
    let pelican = server.0.path().join(".pelicanignore");
    write(&pelican, "a");
    assert_eq!(server.read().lines, ["a"]);
    write(server.list(), "b");
    assert_eq!(server.read().lines, ["b"]);
    fs_err::remove_file(server.list()).unwrap();
    fs_err::remove_file(&pelican).unwrap();
    std::os::unix::fs::symlink("real", &pelican).unwrap();
    assert_eq!(
        server.notes(),
        [".pelicanignore: it was not used: it is a symbolic link"]
    );
}

#[test]
fn comments_have_no_limits() {
    let server = Server::new();
    let comment = format!("#{}", "*".repeat(32_000));
    write(server.list(), format!("{comment}\na"));
    assert_eq!(server.read().lines, [&comment, "a"]);
    write(server.list(), b"#caf\xe9 \0\na");
    assert_eq!(server.read().lines, ["#caf\u{fffd} \u{fffd}", "a"]);
    assert!(server.notes().is_empty());
}

#[test]
fn lines_that_cannot_be_used_are_left_out_with_a_note() {
    let server = Server::new();
    let long = "x".repeat(1025);
    let wild = "*x".repeat(65);
    let list = [
        b"*.log",
        long.as_bytes(),
        wild.as_bytes(),
        b"caf\xe9",
        b"a\0b",
        b"#a",
        b"!keep.log",
    ]
    .join(&b'\n');
    write(server.list(), list);
    write(server.0.path().join("latest.log"), "");
    assert_eq!(server.read().lines, ["*.log", "#a", "!keep.log"]);
    assert_eq!(
        server.notes(),
        [
            format!(
                ".pteroignore: line 2 was left out: it is longer than 1024 bytes: {:?}",
                "x".repeat(80) + "…"
            ),
            format!(
                ".pteroignore: line 3 was left out: it has more than 64 wildcards: {:?}",
                "*x".repeat(40) + "…"
            ),
            ".pteroignore: line 4 was left out: it is not UTF-8: \"caf\u{fffd}\"".to_owned(),
            ".pteroignore: line 5 was left out: it holds a NUL byte: \"a\\0b\"".to_owned(),
        ]
    );
}

#[test]
fn patterns_after_the_last_allowed_one_are_left_out_with_few_notes() {
    let server = Server::new();
    write(server.list(), "a\n#\n".repeat(300));
    let read = server.read();
    assert_eq!(read.lines.len(), 256 + 300);
    let notes = server.notes();
    assert_eq!(notes.len(), 21);
    assert_eq!(
        notes[0],
        ".pteroignore: line 513 was left out: there are more than 256 patterns: \"a\""
    );
    assert_eq!(
        notes[20],
        ".pteroignore: 24 more lines were left out for reasons such as these"
    );
}
