//! The two dialects of API answers. Each API key selects one.

/// The dialect of API answers that a key's owner expects.
///
/// Only `api::views`, which builds the answers, may depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// As in the reference document.
    #[default]
    Documented,
    /// As existing clients of Pterodactyl's panel expect.
    Pterodactyl,
}

impl Profile {
    /// Returns the profile's name in settings and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Documented => "documented",
            Self::Pterodactyl => "pterodactyl",
        }
    }

    /// Parses a profile's name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Documented, Self::Pterodactyl]
            .into_iter()
            .find(|p| p.as_str() == text)
    }
}
