//! Feeds arbitrary bytes to a connection, in pieces.
//!
//! The first two bytes of the input are the lengths of the pieces. Only line feeds change, into
//! carriage returns; what the service reads does not depend on the pieces, and has no bare line
//! feed in a line.
#![no_main]

use libfuzzer_sys::fuzz_target;

use holdfast_api::fuzzing::strict_lines;
use holdfast_fuzz::Bounds;

fuzz_target!(|input: &[u8]| {
    let [first, second, bytes @ ..] = input else {
        return;
    };
    let whole = Bounds::TEXT.check(bytes.len(), || strict_lines(bytes, &[bytes.len()]));
    assert_eq!(whole.len(), bytes.len());
    for (before, after) in bytes.iter().zip(&whole) {
        assert!(before == after || (*before, *after) == (b'\n', b'\r'));
    }
    assert_eq!(strict_lines(&whole, &[whole.len()]), whole);
    for lengths in [[*first, *second], [1, 1], [*second, 255]] {
        let lengths = lengths.map(usize::from);
        let pieces = Bounds::TEXT.check(bytes.len(), || strict_lines(bytes, &lengths));
        // From the first bare line feed on, nothing is read.
        let end = whole
            .iter()
            .zip(bytes)
            .position(|(after, before)| after != before);
        let end = end.map_or(whole.len(), |end| end + 1);
        assert_eq!(pieces[..end], whole[..end], "{lengths:?}");
    }
});
