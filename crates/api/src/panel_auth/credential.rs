//! A credential of the panel: an API key, or the cookies of a session.
//!
//! It must never be logged or stored. `Debug` shows its kind only.

use std::fmt;

use actix_web::http::header::HeaderValue;

/// The longest key, in characters. Those of panels have at most 60.
const KEY_MAX: usize = 512;
/// The longest header with the cookies of a session, in bytes.
const COOKIES_MAX: usize = 8192;
/// The most cookies of a session.
const COOKIES_COUNT_MAX: usize = 8;
/// The characters of a key, and of its public part: `ptlc_` and eleven more in Pterodactyl.
const LARAVEL_KEY_LENGTH: usize = 48;
const IDENTIFIER_LENGTH: usize = 16;
const PREFIX_LENGTH: usize = 5;

/// A credential that the panel has to judge, as it is sent on.
#[derive(Clone)]
pub(crate) enum PanelCredential {
    /// The value of `Authorization`.
    Key(HeaderValue),
    /// The value of `Cookie`, with the cookies of the session only.
    Session(HeaderValue),
}

impl PanelCredential {
    /// Reads an API key. Returns `None` if it has characters that no key has.
    pub(crate) fn key(text: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/|=".contains(&byte);
        if text.is_empty() || text.len() > KEY_MAX || !text.bytes().all(is_plain) {
            return None;
        }
        sensitive(&format!("Bearer {text}")).map(Self::Key)
    }

    /// Reads the cookies of a session from all cookies of a request, as names with values. Cookies
    /// that do not end with `session` are not the panel's business. If a name occurs twice, the
    /// first one counts, as in PHP.
    pub(crate) fn session(cookies: &[(&str, &str)]) -> Option<Self> {
        let mut kept: Vec<(&str, &str)> = Vec::new();
        for (name, value) in cookies {
            let is_of_session = name.to_ascii_lowercase().ends_with("session");
            if is_of_session && !kept.iter().any(|(known, _)| known == name) {
                kept.push((name, value));
            }
        }
        if kept.is_empty() || kept.len() > COOKIES_COUNT_MAX {
            return None;
        }
        let pairs: Vec<String> = kept
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let header = pairs.join("; ");
        let is_short = header.len() <= COOKIES_MAX;
        is_short.then(|| sensitive(&header).map(Self::Session))?
    }

    /// Returns the header's value.
    pub(super) fn value(&self) -> &HeaderValue {
        match self {
            Self::Key(value) | Self::Session(value) => value,
        }
    }

    /// Returns whether it is an API key, and no session.
    pub(crate) fn is_key(&self) -> bool {
        matches!(self, Self::Key(_))
    }

    /// Returns the public part of an API key, for the audit log. A session has none.
    pub(crate) fn identifier(&self) -> &str {
        let Self::Key(value) = self else {
            return "session";
        };
        let key = value
            .to_str()
            .ok()
            .and_then(|text| text.strip_prefix("Bearer "));
        let public = key
            .filter(|key| key.len() == LARAVEL_KEY_LENGTH)
            .and_then(|key| {
                let (prefix, rest) = key.split_at_checked(PREFIX_LENGTH)?;
                let is_prefix =
                    prefix.ends_with('_') && prefix.bytes().take(4).all(|b| b.is_ascii_lowercase());
                let is_plain = rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
                (is_prefix && is_plain).then(|| &key[..IDENTIFIER_LENGTH])
            });
        public.unwrap_or("panel")
    }
}

/// Makes a header's value that no log shows.
fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl fmt::Debug for PanelCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "PanelCredential::Key(…)",
            Self::Session(_) => "PanelCredential::Session(…)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_could_end_a_header_is_refused() {
        for text in [
            "",
            "a b",
            "a,b",
            "a\r\nX: y",
            "a\n",
            "a\u{7f}",
            "ä",
            "a;b",
            "\"a\"",
            "a:b",
        ] {
            assert!(PanelCredential::key(text).is_none(), "{text:?}");
        }
        assert!(PanelCredential::key(&"x".repeat(KEY_MAX)).is_some());
        assert!(PanelCredential::key(&"x".repeat(KEY_MAX + 1)).is_none());
        let key = PanelCredential::key("12|aB-._~+/=").expect("a key");
        assert_eq!(key.value(), "Bearer 12|aB-._~+/=");
    }

    #[test]
    fn only_the_public_part_of_a_key_is_shown() {
        let secret = "s".repeat(32);
        for (key, expected) in [
            (format!("ptlc_ABCDEfghij1{secret}"), "ptlc_ABCDEfghij1"),
            (format!("pacc_ABCDEfghij1{secret}"), "pacc_ABCDEfghij1"),
            (format!("ptlc_ABCDEfghij1{secret}x"), "panel"),
            (format!("ptlc-ABCDEfghij1{secret}"), "panel"),
            (format!("12|4_ABCDEfghij1{secret}"), "panel"),
            (secret.clone(), "panel"),
        ] {
            let credential = PanelCredential::key(&key).expect("a key");
            assert_eq!(credential.identifier(), expected);
            assert!(!format!("{credential:?}").contains("ABCDE"));
            assert!(!format!("{:?}", credential.value()).contains("sss"));
        }
        let session = PanelCredential::session(&[("a_session", "x")]).expect("a session");
        assert_eq!(session.identifier(), "session");
    }

    #[test]
    fn only_the_cookies_of_the_session_are_kept() {
        let header = |cookies: &[(&str, &str)]| {
            let session = PanelCredential::session(cookies)?;
            Some(session.value().to_str().expect("text").to_owned())
        };
        let cookies = [
            ("XSRF-TOKEN", "t"),
            ("pterodactyl_session", "one"),
            ("remember_web_59ba", "r"),
            ("pterodactyl_session", "two"),
            ("session", "three"),
            ("session_id", "s"),
            ("_ga", "g"),
        ];
        let expected = "pterodactyl_session=one; session=three";
        assert_eq!(header(&cookies).as_deref(), Some(expected));
        assert_eq!(header(&[("XSRF-TOKEN", "t")]), None);
        let long = "x".repeat(COOKIES_MAX);
        assert_eq!(header(&[("session", &long)]), None);
        let names: Vec<String> = (0..9).map(|number| format!("{number}_session")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
        assert_eq!(header(&many), None);
    }
}
