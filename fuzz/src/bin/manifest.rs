//! Reads arbitrary bytes as a manifest, and arbitrary text as the path of an object on a disk.
//!
//! What is read can be written, and is read as the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;

use holdfast_fuzz::Bounds;
use holdfast_storage::{Manifest, StorageKey};

fuzz_target!(|input: &[u8]| {
    if let Ok(manifest) = Bounds::TEXT.check(input.len(), || Manifest::from_json(input)) {
        let written = manifest.to_json().expect("JSON");
        assert_eq!(Manifest::from_json(&written).expect("a manifest"), manifest);
    }
    let path = String::from_utf8_lossy(input);
    let Some(key) = Bounds::TEXT.check(path.len(), || StorageKey::parse(&path)) else {
        return;
    };
    assert_eq!(key.path(), path);
    assert_eq!(
        StorageKey::all(key.archive())
            .iter()
            .filter(|other| **other == key)
            .count(),
        1
    );
    let (server, name) = path.split_once('/').expect("a folder");
    for part in [server, name] {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        assert!(part.bytes().all(is_plain) && !part.starts_with('.'));
    }
});
