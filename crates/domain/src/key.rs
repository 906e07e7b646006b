//! API keys: their format, the hash of the secret, and the check of a key.

use std::fmt;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::id::UserId;
use crate::network;
use crate::profile::Profile;

const IDENTIFIER_LENGTH: usize = 16;
const TOKEN_LENGTH: usize = 48;
const PREFIX_LENGTH: usize = 5;
/// The 32 letters and digits of generated keys. Five random bits select one, without bias.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// The API that a key is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// The client API (`ptlc_`).
    #[default]
    Client,
    /// The application API (`ptla_`).
    Application,
}

impl KeyKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Client, Self::Application];

    /// Returns the kind's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Application => "application",
        }
    }

    /// Parses a kind's name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == text)
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Client => "ptlc_",
            Self::Application => "ptla_",
        }
    }
}

/// The public part of a key: the prefix and eleven characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyIdentifier(String);

impl KeyIdentifier {
    /// Parses an identifier of 16 characters.
    pub fn parse(text: &str) -> Option<Self> {
        let known = KeyKind::ALL
            .iter()
            .any(|kind| text.starts_with(kind.prefix()));
        let rest_is_plain = text
            .bytes()
            .skip(PREFIX_LENGTH)
            .all(|b| b.is_ascii_alphanumeric());
        (text.len() == IDENTIFIER_LENGTH && known && rest_is_plain).then(|| Self(text.to_owned()))
    }

    /// Returns the identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An API key including its secret. `Debug` shows only the public identifier.
///
/// ```
/// use holdfast_domain::key::{KeyKind, KeyToken};
///
/// let random_bytes = [7; 43]; // in a service: from the system's random generator
/// let token = KeyToken::generate(KeyKind::Client, &random_bytes);
/// assert!(token.reveal().starts_with("ptlc_"));
/// let parsed = KeyToken::parse(&token.reveal()).expect("a generated key");
/// assert_eq!(parsed.secret_hash(), token.secret_hash());
/// ```
#[derive(Clone)]
pub struct KeyToken {
    identifier: KeyIdentifier,
    secret: String,
}

impl KeyToken {
    /// Parses a key of 48 characters: the identifier, then a secret of 32 letters and digits.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != TOKEN_LENGTH || !text.is_ascii() {
            return None;
        }
        let (identifier, secret) = text.split_at(IDENTIFIER_LENGTH);
        if !secret.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        Some(Self {
            identifier: KeyIdentifier::parse(identifier)?,
            secret: secret.to_owned(),
        })
    }

    /// Generates a key from 43 random bytes of the operating system.
    pub fn generate(kind: KeyKind, random: &[u8; TOKEN_LENGTH - PREFIX_LENGTH]) -> Self {
        let text: String = random
            .iter()
            .map(|b| char::from(ALPHABET[usize::from(b & 31)]))
            .collect();
        let (public, secret) = text.split_at(IDENTIFIER_LENGTH - PREFIX_LENGTH);
        Self {
            identifier: KeyIdentifier(format!("{}{public}", kind.prefix())),
            secret: secret.to_owned(),
        }
    }

    /// Returns whether the key has only characters of [`KeyToken::generate`]. So it is one of this
    /// service. Panels generate keys of the same length from more characters: by chance, one in
    /// 2·10¹² looks like this.
    pub fn has_generated_form(&self) -> bool {
        let public = self.identifier.as_str().bytes().skip(PREFIX_LENGTH);
        let mut random = public.chain(self.secret.bytes());
        random.all(|byte| ALPHABET.contains(&byte))
    }

    /// Returns the public identifier.
    pub fn identifier(&self) -> &KeyIdentifier {
        &self.identifier
    }

    /// Returns the key as text, with its secret. Show it once, and never store it.
    pub fn reveal(&self) -> String {
        format!("{}{}", self.identifier, self.secret)
    }

    /// Returns the SHA-256 of the secret. Only this hash is stored. The secret has 160 random
    /// bits, so a slow password hash would not add security.
    pub fn secret_hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret.as_bytes()).into()
    }
}

impl fmt::Debug for KeyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyToken({}…)", self.identifier)
    }
}

/// A stored API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its public identifier.
    pub identifier: KeyIdentifier,
    /// The user it belongs to.
    pub user: UserId,
    /// The API it is for.
    pub kind: KeyKind,
    /// The dialect of answers to its requests.
    pub profile: Profile,
    /// SHA-256 of its secret.
    pub secret_hash: [u8; 32],
    /// The user's description of it.
    pub description: String,
    /// Networks it may be used from; empty means any.
    pub allowed_ips: Vec<IpNet>,
    /// When it expires; `None` means never.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

/// Why a key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRefused {
    /// The secret is wrong or the key has expired. Both get the same answer.
    Invalid,
    /// The key may not be used from this address.
    AddressNotAllowed,
}

impl ApiKey {
    /// Checks that `token` is this key, that it has not expired at `now`, and that it may be used
    /// from `address`.
    ///
    /// # Errors
    /// [`KeyRefused`]. The secret is checked first, so that a caller without it learns nothing
    /// about the allowed addresses.
    pub fn check(
        &self,
        token: &KeyToken,
        now: DateTime<Utc>,
        address: Option<IpAddr>,
    ) -> Result<(), KeyRefused> {
        let is_same_secret = bool::from(self.secret_hash.ct_eq(&token.secret_hash()));
        if !is_same_secret || !self.is_live(now) {
            return Err(KeyRefused::Invalid);
        }
        if self.allowed_ips.is_empty() {
            return Ok(());
        }
        let is_allowed = |address| {
            let mut networks = self.allowed_ips.iter();
            networks.any(|allowed| network::contains(allowed, address))
        };
        if address.is_some_and(is_allowed) {
            Ok(())
        } else {
            Err(KeyRefused::AddressNotAllowed)
        }
    }

    /// Returns whether the key has not expired at `now`.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use uuid::Uuid;

    fn key(token: &KeyToken) -> ApiKey {
        ApiKey {
            identifier: token.identifier().clone(),
            user: UserId(Uuid::nil()),
            kind: KeyKind::Client,
            profile: Profile::Documented,
            secret_hash: token.secret_hash(),
            description: String::new(),
            allowed_ips: Vec::new(),
            expires_at: None,
            created_at: at(0),
        }
    }

    fn at(second: u32) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, second)
            .single()
            .expect("a time")
    }

    #[test]
    fn a_generated_key_has_48_characters_and_can_be_parsed() {
        for kind in KeyKind::ALL {
            let token = KeyToken::generate(kind, &[7; 43]);
            let text = token.reveal();
            assert_eq!(text.len(), 48);
            assert_eq!(&text[..5], kind.prefix());
            let read = KeyToken::parse(&text).expect("a key");
            assert_eq!(read.identifier().as_str(), &text[..16]);
            assert_eq!(read.secret_hash(), token.secret_hash());
            assert!(read.has_generated_form());
            for foreign in ["H", "l", "0"] {
                let of_panel = format!("{}{foreign}", &text[..47]);
                let of_panel = KeyToken::parse(&of_panel).expect("a key");
                assert!(!of_panel.has_generated_form(), "{foreign}");
            }
            assert!(
                !format!("{token:?}").contains(&text[16..]),
                "Debug shows the secret"
            );
        }
    }

    #[test]
    fn malformed_keys_are_refused() {
        let good = KeyToken::generate(KeyKind::Client, &[1; 43]).reveal();
        for text in [
            "",
            "ptlc_",
            &good[1..],
            &format!("{good}a"),
            &good.replace("ptlc", "xxxx"),
            &format!("{}!", &good[..47]),
        ] {
            assert!(KeyToken::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_key_is_checked_by_secret_then_time_then_address() {
        let token = KeyToken::generate(KeyKind::Client, &[1; 43]);
        let mut other = [1; 43];
        other[42] = 2;
        let wrong = KeyToken::generate(KeyKind::Client, &other);
        let home: IpAddr = "10.1.2.3".parse().expect("an address");
        let mapped: IpAddr = "::ffff:10.1.2.3".parse().expect("an address");
        let mut limited = key(&token);
        limited.allowed_ips = vec!["10.0.0.0/8".parse().expect("a network")];
        let mut ended = key(&token);
        ended.expires_at = Some(at(5));

        assert_eq!(key(&token).check(&token, at(1), None), Ok(()));
        assert_eq!(
            key(&token).check(&wrong, at(1), None),
            Err(KeyRefused::Invalid)
        );
        assert_eq!(ended.check(&token, at(4), None), Ok(()));
        assert_eq!(ended.check(&token, at(5), None), Err(KeyRefused::Invalid));
        assert_eq!(limited.check(&token, at(1), Some(home)), Ok(()));
        assert_eq!(limited.check(&token, at(1), Some(mapped)), Ok(()));
        assert_eq!(
            limited.check(&wrong, at(1), Some(home)),
            Err(KeyRefused::Invalid)
        );
        assert_eq!(
            limited.check(&token, at(1), None),
            Err(KeyRefused::AddressNotAllowed)
        );
        assert_eq!(
            limited.check(&token, at(1), "192.0.2.1".parse().ok()),
            Err(KeyRefused::AddressNotAllowed)
        );
    }
}
