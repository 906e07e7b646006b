//! Archives of other programs are read, or named in the error.

use holdfast_archive::{Control, Error, list, verify};

use crate::interop::{contents, run};
use crate::support::*;

/// A tree and its archive by another program; `None` if the program is missing.
fn by_others(tool: &str, script: &str) -> Option<(tempfile::TempDir, std::fs::File)> {
    let folder = folder();
    write(folder.path().join("source/world/level.dat"), noise(3000, 1));
    write(folder.path().join("source/motd"), "hello");
    run(tool, folder.path(), script)?;
    let archive = open(&folder.path().join("made"));
    Some((folder, archive))
}

#[test]
fn plain_tars_labels_and_dumps_are_read() {
    for (tool, script) in [
        ("tar", "tar -cf made -C source ."),
        ("tar", "tar --format=v7 -cf made -C source world motd"),
        ("bsdtar", "bsdtar -cf made -C source ."),
        ("tar", "tar --label='of monday' -czf made -C source ."),
        (
            "tar",
            "tar --format=pax --label='of monday' -czf made -C source .",
        ),
        (
            "tar",
            "tar --format=gnu --listed-incremental=state -czf made -C source .",
        ),
        (
            "tar",
            "tar --format=pax --listed-incremental=state -cf made -C source .",
        ),
    ] {
        let Some((folder, archive)) = by_others(tool, script) else {
            continue;
        };
        let (source, target) = (folder.path().join("source"), folder.path().join("target"));
        let verified = verify(&archive, None, &Control::new()).expect(script);
        assert_eq!(verified.files, 2, "{script}");
        let mut listed = 0;
        list(&archive, None, &Control::new(), &mut |_| {
            listed += 1;
            Ok(())
        })
        .expect(script);
        assert_eq!(listed, verified.entries, "{script}");
        put_back(&archive, &target).expect(script);
        assert!(contents(&target) == contents(&source), "{script}");
    }
}

#[test]
fn a_part_of_an_archive_of_several_volumes_is_refused_by_its_name() {
    for format in ["gnu", "pax"] {
        let script = format!(
            "head -c 30000 /dev/zero > source/large && \
             tar --format={format} --multi-volume --tape-length=20 --file=first --file=made \
             --file=third -C source large"
        );
        let script = script.replace("--file=first", "--create --file=first");
        let Some((folder, archive)) = by_others("tar", &script) else {
            return;
        };
        let error = put_back(&archive, &folder.path().join("target")).unwrap_err();
        assert!(matches!(error, Error::Hostile { .. }), "{error}");
        assert!(error.to_string().contains("another volume"), "{error}");
        let verified = verify(&archive, None, &Control::new()).unwrap_err();
        assert_eq!(verified.to_string(), error.to_string());
    }
}

#[test]
fn other_compressions_are_named() {
    for (tool, command, format) in [
        (
            "zstd",
            "zstd -q",
            "compressed with zstd: decompress it with `zstd -d` first",
        ),
        (
            "xz",
            "xz",
            "compressed with xz: decompress it with `xz -d` first",
        ),
        (
            "bzip2",
            "bzip2",
            "compressed with bzip2: decompress it with `bzip2 -d` first",
        ),
        (
            "lz4",
            "lz4 -q",
            "compressed with lz4: decompress it with `lz4 -d` first",
        ),
    ] {
        let script = format!("tar -cf - -C source . | {command} > made");
        let Some((folder, archive)) = by_others(tool, &script) else {
            continue;
        };
        let wanted = format!("the archive is {format}");
        let target = folder.path().join("target");
        let restored = put_back(&archive, &target).unwrap_err();
        assert_eq!(restored.to_string(), wanted);
        let verified = verify(&archive, None, &Control::new()).unwrap_err();
        assert_eq!(verified.to_string(), wanted);
        let listed = list(&archive, None, &Control::new(), &mut |_| Ok(()));
        assert_eq!(listed.unwrap_err().to_string(), wanted);
        assert!(!target.exists());
    }
    for bytes in [
        &b"PK\x03\x04 and more"[..],
        b"age-encryption.org/v1\n",
        b"7z\xbc\xaf\x27\x1c",
    ] {
        let error = verify(&file_of(bytes), None, &Control::new()).unwrap_err();
        assert!(matches!(error, Error::OtherFormat { .. }), "{error}");
    }
    for bytes in [&b"text\n"[..], b"", b"\x1f\x8b"] {
        let error = verify(&file_of(bytes), None, &Control::new()).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    }
}

#[test]
fn entries_of_unknown_types_are_regular_files_and_metadata_is_skipped() {
    let archive = crate::tar_builder::TarBuilder::default()
        .header(b'V', "a label", "", 0)
        .header(b'7', "contiguous", "", 4)
        .bytes(b"data")
        .header(b'Z', "vendor", "", 3)
        .bytes(b"own")
        .header(b'N', "old-gnu-names", "", 2)
        .bytes(b"x\n")
        .header(b'A', "with-list", "", 5)
        .bytes(b"a:b:c")
        .file("with-list", b"x")
        .header(b'0', "old-folder/", "", 0)
        .header(b'D', "dumped/", "", 8)
        .bytes(b"Yfile\0\0\0")
        .file("dumped/file", b"x")
        .packed();
    let folder = folder();
    let target = folder.path().join("target");
    assert_eq!(verify(&archive, None, &Control::new()).unwrap().entries, 7);
    put_back(&archive, &target).unwrap();
    let found: Vec<(String, String)> = contents(&target)
        .into_iter()
        .map(|(path, bytes)| {
            (
                path.display().to_string(),
                String::from_utf8(bytes).unwrap(),
            )
        })
        .collect();
    let wanted = [
        ("contiguous", "data"),
        ("dumped", "folder"),
        ("dumped/file", "x"),
        ("old-folder", "folder"),
        ("old-gnu-names", "x\n"),
        ("vendor", "own"),
        ("with-list", "x"),
    ];
    assert_eq!(
        found,
        wanted.map(|(path, text)| (path.to_owned(), text.to_owned()))
    );
    let changed = crate::tar_builder::TarBuilder::default().header(b'I', "inode", "", 0);
    let error = put_back(&changed.packed(), &target).unwrap_err();
    assert!(
        error.to_string().contains("only changes since another one"),
        "{error}"
    );
}
