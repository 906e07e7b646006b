//! Archives made to do harm: refused, with nothing outside of the destination touched.

mod form;

use std::io::Write as _;
use std::path::Path;

use holdfast_archive::{Control, Error, RestoreOptions, restore, verify};

use crate::support::*;

/// Builds tar archives that no honest writer makes.
#[derive(Default)]
struct Tape(Vec<u8>);

impl Tape {
    fn header(mut self, kind: u8, name: &str, link: &str, size: u64) -> Self {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[108..115].copy_from_slice(b"0000000");
        header[116..123].copy_from_slice(b"0000000");
        header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        header[136..147].copy_from_slice(b"00000000000");
        header[148..156].fill(b' ');
        header[156] = kind;
        header[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0.extend_from_slice(&header);
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, bytes: &[u8]) -> Self {
        self.header(b'0', name, "", bytes.len() as u64).bytes(bytes)
    }

    fn folder(self, name: &str) -> Self {
        self.header(b'5', name, "", 0)
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.header(b'2', name, target, 0)
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.header(b'1', name, target, 0)
    }

    fn pax(self, records: &[u8]) -> Self {
        self.header(b'x', "PaxHeader", "", records.len() as u64)
            .bytes(records)
    }

    fn packed(mut self) -> std::fs::File {
        self.0.resize(self.0.len() + 1024, 0);
        self.packed_as_it_is()
    }

    fn packed_as_it_is(self) -> std::fs::File {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&self.0).unwrap();
        file_of(&packed.finish().unwrap())
    }
}

fn record(key: &str, value: &str) -> Vec<u8> {
    let bare = key.len() + value.len() + 3;
    let mut length = bare + 1;
    while length.to_string().len() + bare != length {
        length += 1;
    }
    format!("{length} {key}={value}\n").into_bytes()
}

/// Restores into a server with neighbours, and says what came of it.
fn outcome(archive: &std::fs::File) -> Result<(), Error> {
    let folder = folder();
    let target = folder.path().join("servers/target");
    write(target.join("precious"), "precious");
    write(folder.path().join("servers/neighbour/file"), "neighbour");
    write(folder.path().join("outside"), "outside");
    let before = describe(folder.path());
    let mut last = Ok(());
    for truncate in [true, false] {
        let options = RestoreOptions {
            truncate,
            apply_owner: true,
            special_modes: true,
            ..Default::default()
        };
        last = restore(
            archive,
            None,
            &target,
            &options,
            &Control::new(),
            &mut || Ok(()),
        )
        .map(|_| ());
        let after = describe(folder.path());
        let target = Path::new("servers/target");
        for (path, text) in &before {
            // The folder around the server has other times now, and the server may be a new one.
            if path != Path::new("servers") && (last.is_err() || !path.starts_with(target)) {
                assert_eq!(after.get(path), Some(text), "{}", path.display());
            }
        }
        for path in after.keys() {
            assert!(
                before.contains_key(path) || path.starts_with(target),
                "{}",
                path.display()
            );
        }
    }
    last
}

fn hostile(tape: Tape) -> String {
    match outcome(&tape.packed()) {
        Err(Error::Hostile { reason, .. }) => reason,
        other => panic!("not refused as hostile: {other:?}"),
    }
}

fn corrupt(tape: Tape) -> String {
    match outcome(&tape.packed()) {
        Err(Error::Corrupt { reason }) => reason,
        other => panic!("not refused as corrupt: {other:?}"),
    }
}

#[test]
fn row_13_names_that_leave_the_root_are_refused() {
    let t = Tape::default;
    assert_eq!(
        hostile(t().file("/etc/cron.d/evil", b"x")),
        "its name is absolute"
    );
    assert_eq!(
        hostile(t().file("../outside", b"x")),
        "its name leaves the root"
    );
    assert_eq!(
        hostile(t().file("a/../../outside", b"x")),
        "its name leaves the root"
    );
    assert_eq!(
        hostile(t().folder("../neighbour/")),
        "its name leaves the root"
    );
    assert_eq!(
        hostile(t().symlink("a/../../x", "y")),
        "its name leaves the root"
    );
    assert_eq!(
        hostile(t().pax(&record("path", "../../outside")).file("fine", b"x")),
        "its name leaves the root"
    );
    assert_eq!(
        hostile(t().pax(&record("path", "a\0b")).file("fine", b"x")),
        "its name holds a NUL byte"
    );
    assert_eq!(hostile(t().file(".", b"x")), "it has no name");
    let long = "n".repeat(300);
    assert_eq!(
        hostile(t().pax(&record("path", &long)).file("x", b"x")),
        "a part of its name is too long"
    );
    let sparse = [
        record("GNU.sparse.major", "1"),
        record("GNU.sparse.name", "../outside"),
    ]
    .concat();
    let tape = t()
        .pax(&sparse)
        .file("x", &[b"0\n".as_slice(), &[0; 510]].concat());
    assert!(
        ["its name leaves the root", "its map does not fit its size"]
            .contains(&hostile(tape).as_str())
    );
}

#[test]
fn row_13_a_link_is_never_a_way_out() {
    let t = Tape::default;
    let through = "it lies below something that is no folder";
    assert_eq!(
        hostile(t().symlink("door", "..").file("door/outside", b"x")),
        through
    );
    assert_eq!(
        hostile(t().symlink("door", "/etc").file("door/cron.d/evil", b"x")),
        through
    );
    assert_eq!(
        hostile(t().symlink("a", "b").symlink("b", "..").folder("a/b/")),
        through
    );
    assert_eq!(
        hostile(t().symlink("door", "..").symlink("door/x", "y")),
        through
    );
    let twice = "it is in the archive twice";
    // Which of the two is met first is a matter of threads.
    assert!(
        [through, twice]
            .contains(&hostile(t().file("file", b"").file("file/below", b"x")).as_str())
    );
    assert_eq!(
        hostile(t().symlink("door", "../outside").file("door", b"x")),
        twice
    );
    assert_eq!(
        hostile(t().symlink("door", "../neighbour").folder("door/")),
        twice
    );
    let missing = "it links to a file that is not in the archive";
    assert_eq!(hostile(t().hard_link("x", "outside")), missing);
    assert_eq!(
        hostile(t().symlink("door", "../..").hard_link("x", "door/outside")),
        missing
    );
    assert_eq!(
        hostile(t().hard_link("x", "../../outside")),
        "its name leaves the root"
    );
    assert_eq!(
        hostile(t().hard_link("x", "/etc/passwd")),
        "its name is absolute"
    );
    assert_eq!(
        hostile(t().symlink("door", "/etc/passwd").hard_link("x", "door")),
        "it links to something that is no file"
    );
    assert_eq!(
        hostile(t().folder("d/").hard_link("x", "d")),
        "it links to something that is no file"
    );
    assert_eq!(hostile(t().hard_link("x", ".")), "it links to the root");
}

#[test]
fn row_13_devices_pipes_and_duplicates_are_refused() {
    let t = Tape::default;
    assert_eq!(hostile(t().header(b'3', "null", "", 0)), "it is a device");
    assert_eq!(hostile(t().header(b'4', "disk", "", 0)), "it is a device");
    assert_eq!(
        hostile(t().header(b'6', "pipe", "", 0)),
        "it is a named pipe"
    );
    assert_eq!(
        hostile(t().header(b'Z', "what", "", 0)),
        "it is of an unknown kind"
    );
    let twice = "it is in the archive twice";
    assert_eq!(hostile(t().file("a", b"1").file("a", b"2")), twice);
    assert_eq!(hostile(t().file("a", b"1").file("./a", b"2")), twice);
    assert_eq!(hostile(t().folder("a/").folder("a/")), twice);
    assert_eq!(
        hostile(t().file("a", &[1; 200_000]).file("a", &[1; 200_000])),
        twice
    );
    assert_eq!(
        hostile(t().file("a", b"").hard_link("b", "a").hard_link("b", "a")),
        twice
    );
}

#[test]
fn row_13_absurd_sizes_and_counts_cost_nothing() {
    let t = Tape::default;
    let absurd = [record("size", "18446744073709551615"), record("mtime", "1")].concat();
    assert_eq!(
        hostile(t().pax(&absurd).file("a", b"x")),
        "its size is absurd"
    );
    assert_eq!(
        corrupt(
            t().pax(&record("size", "9999999999999999999999"))
                .file("a", b"")
        ),
        "a PAX number is too large"
    );
    assert_eq!(
        corrupt(t().pax(&record("size", "4000000000")).file("a", b"x")),
        "it ends too early"
    );
    assert_eq!(
        corrupt(t().header(b'x', "PaxHeader", "", 5 << 20)),
        "an extended header is too large"
    );
    assert_eq!(
        corrupt(t().header(b'L', "././@LongLink", "", 0o77_777_777_777)),
        "an extended header is too large"
    );
    assert_eq!(
        corrupt(t().pax(b"99 path=short\n")),
        "a PAX record is malformed"
    );
    assert_eq!(corrupt(t().pax(b"path=a\n")), "a PAX record is malformed");
    assert_eq!(
        corrupt(t().pax(&record("mtime", "soon")).file("a", b"")),
        "a PAX time is no number"
    );
    let sparse = |map: &str, size: &str| {
        let records = [
            record("GNU.sparse.major", "1"),
            record("GNU.sparse.minor", "0"),
            record("GNU.sparse.name", "holes"),
            record("GNU.sparse.realsize", size),
        ]
        .concat();
        let mut bytes = map.as_bytes().to_vec();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes.extend_from_slice(b"data");
        Tape::default().pax(&records).file("x", &bytes)
    };
    let order = "the map of a sparse file is out of order or range";
    assert_eq!(
        corrupt(sparse("1\n18446744073709551615\n4\n", "100")),
        order
    );
    assert_eq!(corrupt(sparse("2\n8\n2\n0\n2\n", "100")), order);
    assert_eq!(corrupt(sparse("1\n0\n4\n", "3")), order);
    assert_eq!(
        corrupt(sparse("99999999999\n0\n4\n", "100")),
        "the map of a sparse file is too long"
    );
    assert_eq!(
        corrupt(sparse("1\n0\n", "100")),
        "the map of a sparse file is malformed"
    );
    assert_eq!(
        hostile(sparse("1\n0\n5\n", "100")),
        "its map does not fit its size"
    );
    assert_eq!(
        hostile(sparse("1\n0\n4\n", "18446744073709551615")),
        "its map does not fit its size"
    );
    outcome(&sparse("1\n10\n4\n", "100").packed()).unwrap();
}
