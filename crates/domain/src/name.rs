//! Names chosen by people: backups, disks, nodes, email addresses.
//!
//! A name is checked once, where it enters the service. A value of one of these types has passed
//! the check.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The maximum length of a backup's name, in characters.
pub const BACKUP_NAME_MAX: usize = 191;

/// A backup's name: trimmed, not empty, at most [`BACKUP_NAME_MAX`] characters, no NUL.
///
/// ```
/// use holdfast_domain::BackupName;
///
/// let name = BackupName::parse("  Before the update ")?.expect("not blank");
/// assert_eq!(name.as_str(), "Before the update");
/// assert_eq!(BackupName::parse("  ")?, None);
/// # Ok::<(), holdfast_domain::name::NameRefused>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupName(String);

/// Why a backup name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameRefused {
    /// It has more than [`BACKUP_NAME_MAX`] characters after trimming.
    #[error("name is longer than {BACKUP_NAME_MAX} characters")]
    TooLong,
    /// It contains a NUL character, which Postgres can't store.
    #[error("name holds a NUL character")]
    Nul,
}

impl BackupName {
    /// Parses and trims a name. Returns `None` for a blank one.
    ///
    /// # Errors
    /// [`NameRefused`] if it is too long or contains a NUL character.
    pub fn parse(text: &str) -> Result<Option<Self>, NameRefused> {
        let trimmed = text.trim();
        if trimmed.contains('\0') {
            return Err(NameRefused::Nul);
        }
        if trimmed.chars().count() > BACKUP_NAME_MAX {
            return Err(NameRefused::TooLong);
        }
        Ok((!trimmed.is_empty()).then(|| Self(trimmed.to_owned())))
    }

    /// Returns the name of a backup without a chosen one: `Backup at 2026-01-01 00:00:00`, in UTC.
    pub fn from_time(now: DateTime<Utc>) -> Self {
        Self(format!("Backup at {}", now.format("%Y-%m-%d %H:%M:%S")))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The maximum length of an email address, in bytes.
const EMAIL_MAX: usize = 254;

/// An email address with a plausible form: a name, `@`, a host, no whitespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Parses and trims an address.
    ///
    /// # Errors
    /// A message that quotes the text, if it is not an email address.
    pub fn parse(text: &str) -> Result<Self, String> {
        let email = text.trim();
        let parts = email.split_once('@');
        let plausible = parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
            && email.len() <= EMAIL_MAX
            && !email.chars().any(|c| c.is_whitespace() || c.is_control());
        if plausible {
            Ok(Self(email.to_owned()))
        } else {
            Err(format!("`{email}` is no e-mail address"))
        }
    }

    /// Returns the address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! slug {
    ($(#[$doc:meta])* $name:ident, $max:literal, $extra:pat, $allowed:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            #[doc = concat!("Parses a name: ", $allowed, ".\n\n# Errors")]
            #[doc = "A message that quotes the text, if it is anything else."]
            pub fn parse(text: &str) -> Result<Self, String> {
                let fits = !text.is_empty()
                    && text.len() <= $max
                    && text.bytes().all(|b| {
                        b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, $extra)
                    });
                if fits && !text.starts_with('.') {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(format!("`{text}` is not a name of {}", $allowed))
                }
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

slug!(
    /// The name of a disk, which stores archives.
    DiskName,
    32,
    b'_' | b'-',
    "1 to 32 characters (a-z, 0-9, `_` and `-`)"
);
slug!(
    /// The name of a node: a machine whose workers can read its servers' files.
    NodeName,
    64,
    b'_' | b'-' | b'.' | b'A'..=b'Z',
    "1 to 64 characters (a-z, A-Z, 0-9, `_`, `-` and `.`)"
);

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn a_backup_name_is_trimmed_and_its_length_counted_in_characters() {
        let long = "é".repeat(191);
        let too_long = "é".repeat(192);
        let padded = format!("  {long}\t");
        for (text, expected) in [
            ("  Weekly  ", Ok(Some("Weekly"))),
            ("", Ok(None)),
            (" \t\n", Ok(None)),
            (long.as_str(), Ok(Some(long.as_str()))),
            (padded.as_str(), Ok(Some(long.as_str()))),
            (too_long.as_str(), Err(NameRefused::TooLong)),
            ("a\0b", Err(NameRefused::Nul)),
        ] {
            let parsed = BackupName::parse(text);
            assert_eq!(
                parsed.as_ref().map(|n| n.as_ref().map(BackupName::as_str)),
                expected.as_ref().map(|n| *n),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_backup_without_a_name_is_named_by_its_time() {
        let now = Utc
            .with_ymd_and_hms(2026, 1, 1, 0, 0, 0)
            .single()
            .expect("a time");
        assert_eq!(
            BackupName::from_time(now).as_str(),
            "Backup at 2026-01-01 00:00:00"
        );
    }

    #[test]
    fn an_email_address_has_a_name_and_a_host_and_no_whitespace() {
        for (text, expected) in [
            (" me@example.com ", Ok("me@example.com")),
            ("me", Err(())),
            ("@example.com", Err(())),
            ("me@", Err(())),
            ("m e@example.com", Err(())),
            ("me@exam\0ple.com", Err(())),
        ] {
            let parsed = EmailAddress::parse(text);
            let found = parsed.as_ref().map(EmailAddress::as_str).map_err(|_| ());
            assert_eq!(found, expected, "{text:?}");
        }
        assert!(EmailAddress::parse(&format!("{}@example.com", "a".repeat(254))).is_err());
    }

    #[test]
    fn disk_and_node_names_are_safe_in_paths() {
        for (text, disk, node) in [
            ("local", true, true),
            ("s3-eu_1", true, true),
            ("node.example", false, true),
            ("Node1", false, true),
            ("", false, false),
            ("..", false, false),
            ("a/b", false, false),
        ] {
            assert_eq!(DiskName::parse(text).is_ok(), disk, "disk {text}");
            assert_eq!(NodeName::parse(text).is_ok(), node, "node {text}");
        }
    }
}
