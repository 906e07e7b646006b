//! Archives whose sizes, maps or ends are wrong.

use holdfast_archive::Error;

use crate::hostile_archives::{corrupt, hostile, outcome};
use crate::support::*;
use crate::tar_builder::{TarBuilder, record};

#[test]
fn sizes_and_counts_out_of_range_are_refused_without_allocating() {
    let t = TarBuilder::default;
    let deep = "d/".repeat(600_000);
    assert_eq!(
        hostile(t().pax(&record("path", &deep)).file("a", b"x")),
        "its name is too long"
    );
    let absurd = [record("size", "18446744073709551615"), record("mtime", "1")].concat();
    assert_eq!(
        hostile(t().pax(&absurd).file("a", b"x")),
        "its size is out of range"
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
        "a PAX time is not a number"
    );
}

#[test]
fn sparse_maps_out_of_order_or_range_are_refused() {
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
        TarBuilder::default().pax(&records).file("x", &bytes)
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
        "its sparse map does not match its size"
    );
    assert_eq!(
        hostile(sparse("1\n0\n4\n", "18446744073709551615")),
        "its sparse map does not match its size"
    );
    outcome(&sparse("1\n10\n4\n", "100").packed()).unwrap();
}

#[test]
fn an_archive_must_be_well_formed_to_its_last_byte() {
    let t = TarBuilder::default;
    assert_eq!(
        corrupt(t().file("a", b"x").bytes(&[7; 512])),
        "a tar header has a malformed number"
    );
    let mut flipped = t().file("a", b"x");
    flipped.0[0] = b'b';
    assert_eq!(corrupt(flipped), "a tar header's checksum is wrong");
    let trailing = t().file("a", b"x").bytes(&[0; 1024]).file("late", b"x");
    assert_eq!(
        corrupt(trailing),
        "something follows the end of the tar archive"
    );
    let lone = t().file("a", b"x").bytes(&[0; 512]).file("late", b"x");
    assert_eq!(
        corrupt(lone),
        "there is a single empty block between entries"
    );
    assert_eq!(
        corrupt(t().pax(&record("mtime", "1"))),
        "it ends after an extended header"
    );
    for cut in [512, 513, 1024] {
        let mut tar = t().file("a", b"x");
        tar.0.truncate(cut);
        assert!(
            matches!(outcome(&tar.packed_as_it_is()), Err(Error::Corrupt { .. })),
            "{cut}"
        );
    }
    // GNU tar pads archives with zeros like this.
    outcome(&t().file("a", b"x").bytes(&[0; 10 * 512]).packed()).unwrap();
    let mut trailing = bytes(&t().file("a", b"x").packed());
    trailing.extend_from_slice(b"rubbish");
    assert!(matches!(
        outcome(&file_of(&trailing)),
        Err(Error::Corrupt { .. })
    ));
}
