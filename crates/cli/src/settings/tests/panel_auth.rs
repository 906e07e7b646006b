//! Settings of `auth.panel`.

use super::*;

#[test]
fn a_panel_is_off_by_default_and_on_with_its_url() {
    assert!(load(&[], &[]).unwrap().auth.panel.is_none());
    let text = "[auth.panel]\nurl = 'https://panel.example.com/'\ncache_seconds = 0";
    let panel = load(&[text], &[]).unwrap().auth.panel.unwrap();
    assert_eq!(panel.url, "https://panel.example.com");
    assert_eq!(
        (panel.cache_for, panel.session_cookies),
        (Duration::ZERO, true)
    );
    assert!(panel.ca_bundle.is_none());
    let url = ("HOLDFAST__AUTH__PANEL__URL", "http://10.0.0.5/panel");
    let cookies = ("HOLDFAST__AUTH__PANEL__SESSION_COOKIES", "false");
    let panel = load(&[], &[url, cookies]).unwrap().auth.panel.unwrap();
    assert_eq!(
        (panel.url.as_str(), panel.session_cookies),
        ("http://10.0.0.5/panel", false)
    );
    assert_eq!(panel.cache_for, Duration::from_secs(10));
}

#[test]
fn credentials_that_travel_in_plain_text_are_noticed() {
    for (url, expected) in [
        ("https://panel.example.com", false),
        ("http://panel.example.com", true),
        ("http://10.0.0.5:8080/panel", true),
        ("http://127.0.0.1:8080", false),
        ("http://localhost", false),
        ("http://[::1]:8080", false),
        ("http://localhost.example.com", true),
        ("http://127.example.com", true),
    ] {
        let text = format!("[auth.panel]\nurl = '{url}'");
        let panel = load(&[&text], &[]).unwrap().auth.panel.unwrap();
        assert_eq!(panel.is_readable_on_the_way(), expected, "{url}");
    }
}

#[test]
fn what_is_wrong_with_a_panel_is_said() {
    for (line, expected) in [
        ("url = 'panel.example.com'", "auth.panel.url"),
        (
            "url = 'ftp://panel.example.com'",
            "must start with http:// or https://",
        ),
        (
            "url = 'https://user:word@panel.example.com'",
            "must not contain a user or password",
        ),
        (
            "url = 'https://panel.example.com/?a=b'",
            "must not contain ? or #",
        ),
        ("cache_seconds = 61", "must be between 0 and 60, not 61"),
        ("ca_file = '/nowhere/ca.pem'", "auth.panel.ca_file"),
        ("session_cookies = 'yes'", "auth.panel.session_cookies"),
        ("key = 'x'", "auth.panel.key"),
    ] {
        let found = problems(&[&format!("[auth.panel]\n{line}")], &[]).join("\n");
        assert!(found.contains(expected), "{line}: {found}");
    }
}
