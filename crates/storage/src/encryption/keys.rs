//! The encryption keys of a disk.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use age::x25519::{Identity, Recipient};

/// The encryption keys of a disk.
///
/// ```
/// use age::secrecy::ExposeSecret;
/// use holdfast_storage::Encryption;
///
/// let identity = age::x25519::Identity::generate();
/// let recipient = identity.to_public().to_string();
/// // A node that only writes needs no private key.
/// let writer = Encryption::new(true, &[recipient], None)?;
/// assert!(writer.has_recipients());
/// let key_file = identity.to_string();
/// let reader = Encryption::new(true, &[], Some(key_file.expose_secret()))?;
/// assert!(reader.has_recipients());
/// # Ok::<(), holdfast_storage::KeysRefused>(())
/// ```
#[derive(Clone)]
pub struct Encryption {
    is_on: bool,
    recipients: Vec<Recipient>,
    identities: Arc<Vec<Identity>>,
}

/// Why keys are refused. The message never contains a private key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeysRefused {
    /// A text is not a public key.
    #[error(
        "contains an invalid age recipient: recipients begin with age1, as age-keygen prints them"
    )]
    Recipient,
    /// A text is not a private key.
    #[error(
        "contains no age identity (a line that begins with AGE-SECRET-KEY-1, as age-keygen writes \
         it)"
    )]
    Identity,
}

impl Encryption {
    /// Parses keys.
    ///
    /// If `is_on`, new objects are encrypted for `recipients`, or for the identities if there are
    /// none. `identities` is the text of an age key file. Objects that were encrypted for one of
    /// them can be read, even if `is_on` is false.
    ///
    /// # Errors
    /// [`KeysRefused`] if a key is invalid, or the key file contains none.
    pub fn new(
        is_on: bool,
        recipients: &[String],
        identities: Option<&str>,
    ) -> Result<Self, KeysRefused> {
        let lines = identities.unwrap_or_default().lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let own: Vec<Identity> = lines
            .map(|line| Identity::from_str(line).map_err(|_| KeysRefused::Identity))
            .collect::<Result<_, _>>()?;
        if identities.is_some() && own.is_empty() {
            return Err(KeysRefused::Identity);
        }
        let mut recipients: Vec<Recipient> = recipients
            .iter()
            .map(|text| Recipient::from_str(text.trim()).map_err(|_| KeysRefused::Recipient))
            .collect::<Result<_, _>>()?;
        if recipients.is_empty() {
            recipients = own.iter().map(Identity::to_public).collect();
        }
        Ok(Self {
            is_on,
            recipients,
            identities: Arc::new(own),
        })
    }

    /// Returns whether there is a key to encrypt for.
    pub fn has_recipients(&self) -> bool {
        !self.recipients.is_empty()
    }

    /// Returns whether new objects are encrypted.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    pub(super) fn recipients(&self) -> impl Iterator<Item = &dyn age::Recipient> {
        self.recipients.iter().map(|key| key as &dyn age::Recipient)
    }

    pub(super) fn identities(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.identities.iter().map(|key| key as &dyn age::Identity)
    }
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encryption")
            .field("is_on", &self.is_on)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret;

    use super::*;

    fn generate_keys() -> (String, String) {
        let identity = Identity::generate();
        let secret = identity.to_string().expose_secret().to_owned();
        (identity.to_public().to_string(), secret)
    }

    #[test]
    fn key_files_of_age_keygen_are_parsed_and_invalid_keys_are_not_shown() {
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
        // A private key among the recipients must not appear in a log.
        let refused =
            Encryption::new(true, std::slice::from_ref(&secret), None).expect_err("no key");
        assert!(!refused.to_string().contains(&secret), "{refused}");
    }
}
