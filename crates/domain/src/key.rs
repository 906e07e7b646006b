//! API keys: their form, their secret's hash, and whether one may be used.

use std::fmt;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::id::UserId;
use crate::profile::Profile;

const IDENTIFIER_LENGTH: usize = 16;
const TOKEN_LENGTH: usize = 48;
const PREFIX_LENGTH: usize = 5;
/// Thirty-two letters and digits: five random bits make one, without bias.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Which API a key opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// The client API (`ptlc_`).
    #[default]
    Client,
    /// The application API (`ptla_`).
    Application,
}

impl KeyKind {
    /// Every kind there is.
    pub const ALL: [Self; 2] = [Self::Client, Self::Application];

    /// Returns the kind's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Application => "application",
        }
    }

    /// Reads a kind's name.
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

/// The public part of a key: its prefix and eleven characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyIdentifier(String);

impl KeyIdentifier {
    /// Reads an identifier of sixteen characters.
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

/// A whole key as its holder sends it. It can't be printed by accident.
#[derive(Clone)]
pub struct KeyToken {
    identifier: KeyIdentifier,
    secret: String,
}

impl KeyToken {
    /// Reads a key of 48 characters: identifier, then 32 secret letters and digits.
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

    /// Makes a new key out of 43 random bytes, which the caller takes from the system.
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

    /// Returns the public part.
    pub fn identifier(&self) -> &KeyIdentifier {
        &self.identifier
    }

    /// Returns the key as its holder will send it: to be shown once, stored never.
    pub fn reveal(&self) -> String {
        format!("{}{}", self.identifier, self.secret)
    }

    /// Returns the SHA-256 of the secret part, which is all that is stored. The secret has 160
    /// random bits, so a slow hash would add nothing but load.
    pub fn secret_hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret.as_bytes()).into()
    }
}

impl fmt::Debug for KeyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyToken({}…)", self.identifier)
    }
}

/// A key as the database holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its public part.
    pub identifier: KeyIdentifier,
    /// Whose it is.
    pub user: UserId,
    /// Which API it opens.
    pub kind: KeyKind,
    /// In which dialect it is answered.
    pub profile: Profile,
    /// SHA-256 of its secret part.
    pub secret_hash: [u8; 32],
    /// What its owner noted about it.
    pub description: String,
    /// Where it may be used from; empty means anywhere.
    pub allowed_ips: Vec<IpNet>,
    /// When it ends; `None` means never.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Why a key does not open the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRefused {
    /// The secret is wrong, or the key has expired. Callers answer both alike.
    Invalid,
    /// It may not be used from this address.
    AddressNotAllowed,
}

impl ApiKey {
    /// Checks that `token` is this key, is still good at `now`, and may come from `address`.
    ///
    /// # Errors
    /// [`KeyRefused`], the secret first, so that a stranger learns nothing about the allow-list.
    pub fn check(
        &self,
        token: &KeyToken,
        now: DateTime<Utc>,
        address: Option<IpAddr>,
    ) -> Result<(), KeyRefused> {
        let same = bool::from(self.secret_hash.ct_eq(&token.secret_hash()));
        if !same || !self.is_live(now) {
            return Err(KeyRefused::Invalid);
        }
        if self.allowed_ips.is_empty() {
            return Ok(());
        }
        let address = address.map(|a| a.to_canonical());
        if address.is_some_and(|a| self.allowed_ips.iter().any(|net| net.contains(&a))) {
            Ok(())
        } else {
            Err(KeyRefused::AddressNotAllowed)
        }
    }

    /// Says whether the key has not expired at `now`.
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
    fn a_generated_key_has_48_characters_and_is_read_back() {
        for kind in KeyKind::ALL {
            let token = KeyToken::generate(kind, &[7; 43]);
            let text = token.reveal();
            assert_eq!(text.len(), 48);
            assert_eq!(&text[..5], kind.prefix());
            let read = KeyToken::parse(&text).expect("a key");
            assert_eq!(read.identifier().as_str(), &text[..16]);
            assert_eq!(read.secret_hash(), token.secret_hash());
            assert!(
                !format!("{token:?}").contains(&text[16..]),
                "Debug shows the secret"
            );
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
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
