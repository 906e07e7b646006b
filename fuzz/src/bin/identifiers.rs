//! Reads arbitrary text as each of the names, identifiers and rules that a request can hold.
//!
//! What is accepted has one form, which is read as the same value again.
#![no_main]

use std::path::Component;

use libfuzzer_sys::fuzz_target;

use holdfast_api::fuzzing::bearer;
use holdfast_domain::key::{KeyIdentifier, KeyToken};
use holdfast_domain::retention::KeepRules;
use holdfast_domain::{
    BackupId, BackupName, DiskName, EmailAddress, NodeName, RequestId, ServerId, ServerRef,
    TraceParent, UserRef, server_directory,
};
use holdfast_fuzz::Bounds;

/// Letters, digits and these characters.
fn is_plain(text: &str, others: &str) -> bool {
    text.chars()
        .all(|char| char.is_ascii_alphanumeric() || others.contains(char))
}

fn check_ids(text: &str) {
    match ServerRef::parse(text) {
        Some(ServerRef::Id(id)) => {
            assert_eq!(id.to_string(), text.to_ascii_lowercase());
            assert_eq!(ServerId::parse(text), Some(id));
            assert!(text.to_ascii_lowercase().starts_with(&id.short()));
        }
        Some(ServerRef::Short(short)) => {
            assert_eq!(short, text.to_ascii_lowercase());
            assert!(short.len() == 8 && short.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
        None => assert_eq!(BackupId::parse(text), None),
    }
    if let Some(UserRef::Email(email)) = UserRef::parse(text) {
        assert_eq!(EmailAddress::parse(email.as_str()), Ok(email));
    }
    if let Some(id) = RequestId::parse(text) {
        assert_eq!(id.as_str(), text);
        assert!(is_plain(text, "._-") && (1..=64).contains(&text.len()));
    }
    if let Some(parent) = TraceParent::parse(text) {
        assert!(text.starts_with(parent.as_str()));
        assert!(RequestId::parse(parent.trace_id()).is_some());
    }
}

fn check_keys(text: &str) {
    if let Some(token) = KeyToken::parse(text) {
        assert_eq!(token.reveal(), text);
        assert_eq!(
            KeyIdentifier::parse(&text[..16]).as_ref(),
            Some(token.identifier())
        );
        assert!(!format!("{token:?}").contains(&text[16..]));
    }
    let header = format!("Bearer {text}");
    if let Some(key) = bearer(&[header.as_bytes()]) {
        assert_eq!(key, text.trim());
    }
    // With a second header, nobody knows which one a proxy has checked.
    assert_eq!(bearer(&[header.as_bytes(), header.as_bytes()]), None);
    if let Some(key) = bearer(&[text.as_bytes()]) {
        assert!(text.ends_with(&key) || text.trim_end().ends_with(&key));
        assert!(text[..7].eq_ignore_ascii_case("bearer "));
    }
}

fn check_names(text: &str) {
    for name in [
        NodeName::parse(text).map(|name| name.to_string()),
        DiskName::parse(text).map(|name| name.to_string()),
    ] {
        // Names become parts of paths.
        let is_safe = |name: &str| {
            is_plain(name, "_-.") && !name.starts_with('.') && (1..=64).contains(&name.len())
        };
        assert!(
            name.is_err()
                || name
                    .as_ref()
                    .is_ok_and(|name| is_safe(name) && name == text)
        );
    }
    if let Ok(Some(name)) = BackupName::parse(text) {
        assert_eq!(BackupName::parse(name.as_str()), Ok(Some(name)));
    }
    if let Some(rules) = KeepRules::parse(text) {
        assert!(rules.is_on());
        assert_eq!(KeepRules::parse(&rules.to_string()), Some(rules));
    }
    if let Ok(directory) = server_directory::parse(text) {
        let mut parts = directory.components();
        assert_eq!(parts.next(), Some(Component::RootDir));
        assert!(parts.clone().count() > 0);
        assert!(parts.all(|part| matches!(part, Component::Normal(_))));
        let text = directory.to_str().expect("text");
        assert_eq!(
            server_directory::parse(text).as_deref(),
            Ok(directory.as_path())
        );
    }
}

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    Bounds::TEXT.check(text.len(), || {
        check_ids(&text);
        check_keys(&text);
        check_names(&text);
    });
});
