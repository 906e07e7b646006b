//! IDs, a type for each kind, so that a server's ID can't be passed where a backup's is needed.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::name::EmailAddress;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Parses a hyphenated UUID, in upper or lower case. Returns `None` for anything else.
            ///
            /// Other spellings of a UUID (braces, `urn:`, no hyphens) are refused, so that each
            /// object has one URL.
            pub fn parse(text: &str) -> Option<Self> {
                parse_hyphenated(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
    };
}

uuid_id!(
    /// The ID of a server.
    ServerId
);
uuid_id!(
    /// The ID of a backup.
    BackupId
);
uuid_id!(
    /// The ID of a user.
    UserId
);

/// The ID of a job: its row in the job table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub i64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl BackupId {
    /// The nil UUID, which the job table holds for a job without a backup.
    pub const NONE: Self = Self(Uuid::nil());

    /// Returns the ID, or `None` for [`BackupId::NONE`].
    pub fn some(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }
}

impl UserId {
    /// The nil UUID, which the database holds for a server without an owner.
    pub const NONE: Self = Self(Uuid::nil());

    /// Returns the ID, or `None` for [`UserId::NONE`].
    pub fn some(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }
}

impl ServerId {
    /// Returns the short identifier: the eight characters before the first dash.
    pub fn short(self) -> String {
        self.to_string()[..8].to_owned()
    }
}

/// A server as a caller refers to it: by UUID or by short identifier.
///
/// ```
/// use holdfast_domain::ServerRef;
///
/// let short = Some(ServerRef::Short("d3aac109".into()));
/// assert_eq!(ServerRef::parse("D3AAC109"), short);
/// assert_eq!(ServerRef::parse("../../etc"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerRef {
    /// The full UUID.
    Id(ServerId),
    /// The first eight hexadecimal digits of the UUID, in lower case.
    Short(String),
}

impl ServerRef {
    /// Parses either form. Returns `None` for anything else, which callers answer as "not found".
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Some(Self::Short(text.to_ascii_lowercase()));
        }
        ServerId::parse(text).map(Self::Id)
    }
}

/// A user as a caller refers to one: by UUID or by email address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserRef {
    /// The UUID.
    Id(UserId),
    /// The email address, in any case.
    Email(EmailAddress),
}

impl UserRef {
    /// Parses either form. Returns `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let id = UserId::parse(text).map(Self::Id);
        id.or_else(|| EmailAddress::parse(text).ok().map(Self::Email))
    }
}

fn parse_hyphenated(text: &str) -> Option<Uuid> {
    let hyphens_right = text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(i, b)| (b == b'-') == matches!(i, 8 | 13 | 18 | 23));
    if !hyphens_right {
        return None;
    }
    Uuid::try_parse(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_ref_is_a_hyphenated_uuid_or_its_first_eight_digits() {
        let id = "d3aac109-45e1-4c23-9a84-c8d5f06b93a1";
        let parsed = ServerId::parse(id).expect("a UUID");
        for (text, expected) in [
            (id, Some(ServerRef::Id(parsed))),
            (
                "D3AAC109-45E1-4C23-9A84-C8D5F06B93A1",
                Some(ServerRef::Id(parsed)),
            ),
            ("d3aac109", Some(ServerRef::Short("d3aac109".into()))),
            ("D3AAC109", Some(ServerRef::Short("d3aac109".into()))),
            ("d3aac10", None),
            ("d3aac10z", None),
            ("d3aac10945e14c239a84c8d5f06b93a1", None),
            ("{d3aac109-45e1-4c23-9a84-c8d5f06b93a1}", None),
            ("urn:uuid:d3aac109-45e1-4c23-9a84-c8d5f06b93a1", None),
            ("", None),
            ("../../etc", None),
        ] {
            assert_eq!(ServerRef::parse(text), expected, "{text}");
        }
        assert_eq!(parsed.short(), "d3aac109");
    }
}
