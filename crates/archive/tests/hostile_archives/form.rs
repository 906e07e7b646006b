//! What an archive must be to be taken, whoever made it.

use super::*;

#[test]
fn an_archive_must_be_well_formed_to_its_last_byte() {
    let t = Tape::default;
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
        "there is a lone empty record between entries"
    );
    assert_eq!(
        corrupt(t().pax(&record("mtime", "1"))),
        "it ends after an extended header"
    );
    for cut in [512, 513, 1024] {
        let mut tape = t().file("a", b"x");
        tape.0.truncate(cut);
        assert!(
            matches!(outcome(&tape.packed_as_it_is()), Err(Error::Corrupt { .. })),
            "{cut}"
        );
    }
    // Filling up to whole tapes is what GNU tar does.
    outcome(&t().file("a", b"x").bytes(&[0; 10 * 512]).packed()).unwrap();
    let mut trailing = bytes(&t().file("a", b"x").packed());
    trailing.extend_from_slice(b"rubbish");
    assert!(matches!(
        outcome(&file_of(&trailing)),
        Err(Error::Corrupt { .. })
    ));
}

#[test]
fn a_folder_announced_late_or_never_is_made() {
    let folder = folder();
    let archive = Tape::default()
        .file("a/b/c", b"x")
        .folder("a/")
        .file("z", b"")
        .file("a/b/d", b"y")
        .packed();
    put_back(&archive, folder.path()).unwrap();
    let found: Vec<String> = describe(folder.path())
        .into_keys()
        .map(|path| path.display().to_string())
        .collect();
    assert_eq!(found, ["a", "a/b", "a/b/c", "a/b/d", "z"]);
    let text = &describe(folder.path())[Path::new("a")];
    assert_eq!(text, "folder 644 at 0.000000000");
}

#[test]
fn row_13_a_bomb_stops_before_the_disk_is_full() {
    let Some(disk) = Disk::mount("size=200m") else {
        return;
    };
    let target = disk.path().join("server");
    write(target.join("precious"), "precious");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let tape = Tape::default().header(b'0', "bomb", "", 5 << 30);
    packed.write_all(&tape.0).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..5 << 10 {
        packed.write_all(&zeros).unwrap();
    }
    packed.write_all(&[0; 1024]).unwrap();
    let mut bomb = packed.finish().unwrap();
    // Its trailer lies about the length, so that only unpacking can tell.
    let place = bomb.len() - 4;
    bomb[place..].fill(0);
    let error = put_back(&file_of(&bomb), &target).unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    assert_eq!(fs_err::read_dir(disk.path()).unwrap().count(), 1);
    assert_eq!(describe(&target).len(), 1);
}

#[test]
fn verify_takes_archives_of_others_and_refuses_damaged_ones() {
    let archive = Tape::default().folder("a/").file("a/b", b"hello").packed();
    let found = verify(&archive, None, &Control::new()).unwrap();
    assert_eq!((found.entries, found.files, found.source_bytes), (2, 1, 5));
    assert!(verify(&file_of(b""), None, &Control::new()).is_err());
}
