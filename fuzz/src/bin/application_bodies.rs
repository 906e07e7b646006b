//! Reads arbitrary bytes as the bodies of requests of the application API.
//!
//! What a handler accepts keeps the limits, and can be sent again with the same meaning.
#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use serde_json::json;

use holdfast_api::fuzzing::{self, Refusal};
use holdfast_domain::key::ApiKey;
use holdfast_domain::{Server, network};
use holdfast_fuzz::{Bounds, FORM, JSON, check_refusal};

fn check_server(server: &Server) {
    let directory = &server.directory;
    if *directory != Path::new("") {
        let parts: Vec<Component> = directory.components().collect();
        assert_eq!(parts[0], Component::RootDir);
        assert!(
            parts[1..]
                .iter()
                .all(|part| matches!(part, Component::Normal(_)))
        );
        assert!(directory.starts_with("/srv") && *directory != Path::new("/srv"));
        assert!(!directory.starts_with("/srv/backups"));
    }
    assert!(server.name.chars().count() <= 191 && !server.name.contains('\0'));
    let limits = &server.limits;
    assert!(
        limits
            .max_backup_bytes
            .is_none_or(|bytes| (1..=i64::MAX as u64).contains(&bytes))
    );
    let mut body = json!({
        "uuid": server.id,
        "node": server.node,
        "disk": server.disk,
        "backup_limit": limits.backups,
        "max_backup_bytes": limits.max_backup_bytes,
        "quota_bytes": limits.quota_bytes,
        "retention_days": limits.retention_days,
        "keep": limits.keep.map(|keep| keep.to_string()),
        "rotate": limits.rotate,
        "state": server.state.as_str(),
        "name": server.name,
    });
    if *directory != Path::new("") {
        body["dir"] = json!(directory);
    }
    let again = fuzzing::server(body.to_string().as_bytes(), JSON);
    assert_eq!(again.as_ref(), Ok(server), "{body}");
}

fn check_key(key: &ApiKey) {
    assert!(key.description.chars().count() <= 500);
    assert!(key.expires_at.is_none_or(|time| time > key.created_at));
    for allowed in &key.allowed_ips {
        assert_eq!(network::parse(&allowed.to_string()), Some(*allowed));
        assert!(network::contains(allowed, allowed.addr()));
    }
    let body = json!({
        "kind": key.kind.as_str(),
        "profile": key.profile.as_str(),
        "description": key.description,
        "allowed_ips": key.allowed_ips,
        "expires_at": key.expires_at.map(|time| time.to_rfc3339()),
    });
    let again = fuzzing::application_key(body.to_string().as_bytes(), JSON);
    let again = again.unwrap_or_else(|refusal| panic!("{body}: {refusal:?}"));
    assert_eq!((again.kind, again.profile), (key.kind, key.profile));
    assert_eq!(again.description, key.description);
    assert_eq!(again.allowed_ips, key.allowed_ips);
    assert_eq!(again.expires_at, key.expires_at);
}

fn checked<T>(body: &[u8], read: impl FnOnce() -> Result<T, Refusal>) -> Option<T> {
    Bounds::TEXT
        .check(body.len(), read)
        .map_err(|refusal| check_refusal(&refusal))
        .ok()
}

fuzz_target!(|body: &[u8]| {
    for content_type in [JSON, FORM] {
        if let Some(server) = checked(body, || fuzzing::server(body, content_type)) {
            check_server(&server);
        }
        if let Some(key) = checked(body, || fuzzing::application_key(body, content_type)) {
            check_key(&key);
        }
        if let Some((email, admin)) = checked(body, || fuzzing::user(body, content_type)) {
            let body = json!({ "email": email, "admin": admin }).to_string();
            assert_eq!(fuzzing::user(body.as_bytes(), JSON), Ok((email, admin)));
        }
        if let Some(permissions) = checked(body, || fuzzing::subuser(body, content_type)) {
            let names: Vec<_> = permissions.iter().map(|one| one.as_str()).collect();
            let body = json!({ "permissions": names }).to_string();
            assert_eq!(fuzzing::subuser(body.as_bytes(), JSON), Ok(permissions));
        }
        if let Some(state) = checked(body, || fuzzing::server_state(body, content_type)) {
            let body = json!({ "state": state.as_str() }).to_string();
            assert_eq!(fuzzing::server_state(body.as_bytes(), JSON), Ok(state));
        }
    }
});
