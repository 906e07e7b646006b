//! Encryption at rest: what lies on the disk is an age file, of no use to whoever takes the disk or the bucket.
//!
//! An upload needs only the public keys; reading needs a private one. age seals pieces of 64 KiB one by one, so any
//! range can be read without the rest, and a piece that was changed, moved or left out is noticed.
//! Format: <https://age-encryption.org/v1>.

mod open;
mod seal;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use age::x25519;

pub(crate) use self::open::{OpenedReader, open};
pub(crate) use self::seal::Seal;

/// How every age file begins; no gzip file does.
const MAGIC: &[u8] = b"age-encryption.org/";
/// How much a piece holds, and by how much it is longer once it is sealed.
const PIECE_BYTES: u64 = 64 * 1024;
const TAG_BYTES: u64 = 16;
/// More than a header takes, with all its recipients.
const HEADER_BYTES_MAX: u64 = 16 * 1024;

/// The keys of a disk.
#[derive(Clone)]
pub struct Encryption {
    seals: bool,
    recipients: Vec<x25519::Recipient>,
    identities: Arc<Vec<x25519::Identity>>,
}

/// Why keys can't be used. The text never holds one that is secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeysRefused {
    /// A public key that is none.
    #[error("holds what is no age recipient: those begin with age1, as age-keygen prints them")]
    Recipient,
    /// A private key that is none.
    #[error(
        "holds no age identity: a line that begins with AGE-SECRET-KEY-1, as age-keygen writes it"
    )]
    Identity,
}

impl Encryption {
    /// Takes keys. With `seals`, new objects are encrypted for all `recipients`, or, without any, for the
    /// identities themselves. `identities` is the text of an age key file: what was encrypted for one of them can be
    /// read, whether or not new objects are encrypted.
    ///
    /// # Errors
    /// [`KeysRefused`].
    pub fn new(
        seals: bool,
        recipients: &[String],
        identities: Option<&str>,
    ) -> Result<Self, KeysRefused> {
        let lines = identities.unwrap_or_default().lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let own: Vec<x25519::Identity> = lines
            .map(|line| x25519::Identity::from_str(line).map_err(|_| KeysRefused::Identity))
            .collect::<Result<_, _>>()?;
        if identities.is_some() && own.is_empty() {
            return Err(KeysRefused::Identity);
        }
        let mut named: Vec<x25519::Recipient> = recipients
            .iter()
            .map(|text| {
                x25519::Recipient::from_str(text.trim()).map_err(|_| KeysRefused::Recipient)
            })
            .collect::<Result<_, _>>()?;
        if named.is_empty() {
            named = own.iter().map(x25519::Identity::to_public).collect();
        }
        Ok(Self {
            seals,
            recipients: named,
            identities: Arc::new(own),
        })
    }

    /// Says whether there is a key to encrypt for.
    pub fn has_recipients(&self) -> bool {
        !self.recipients.is_empty()
    }

    /// Says whether new objects are encrypted.
    pub(crate) fn seals(&self) -> bool {
        self.seals
    }

    fn recipients(&self) -> impl Iterator<Item = &dyn age::Recipient> {
        self.recipients.iter().map(|key| key as &dyn age::Recipient)
    }
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encryption")
            .field("seals", &self.seals)
            .finish_non_exhaustive()
    }
}

/// The most bytes that an object of at most `plain_bytes` has once it is sealed.
pub(crate) fn sealed_bytes(plain_bytes: u64) -> u64 {
    let pieces = plain_bytes.div_ceil(PIECE_BYTES).max(1);
    plain_bytes
        .saturating_add(pieces.saturating_mul(TAG_BYTES))
        .saturating_add(HEADER_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret;

    use super::*;

    fn generate_keys() -> (String, String) {
        let identity = x25519::Identity::generate();
        let secret = identity.to_string().expose_secret().to_owned();
        (identity.to_public().to_string(), secret)
    }

    #[test]
    fn keys_are_taken_as_age_keygen_writes_them_and_refused_without_being_shown() {
        let (public, secret) = generate_keys();
        let file = format!("# created: 2026-01-01\n# public key: {public}\n{secret}\n");
        assert!(
            Encryption::new(true, &[], Some(&file))
                .expect("a key file")
                .has_recipients()
        );
        let both = Encryption::new(true, std::slice::from_ref(&public), None).expect("a recipient");
        assert!(both.has_recipients());
        assert!(!format!("{both:?}").contains("age1"));
        let none = Encryption::new(false, &[], None).expect("nothing");
        assert!(!none.has_recipients());
        for text in ["", "# only a comment", "AGE-SECRET-KEY-1QQQ"] {
            let refused = Encryption::new(true, &[], Some(text)).expect_err("no key");
            assert_eq!(refused, KeysRefused::Identity);
        }
        let refused = Encryption::new(true, &["age1x".to_owned()], None);
        assert_eq!(refused.expect_err("no key"), KeysRefused::Recipient);
        // A private key in the wrong place is no recipient, and must not get into a log.
        let refused = Encryption::new(true, &[secret.clone()], None).expect_err("no key");
        assert!(!refused.to_string().contains(&secret), "{refused}");
    }
}
