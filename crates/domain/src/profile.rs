//! The two dialects in which answers are given. A key carries one.

/// Which answers a key's holder expects.
///
/// Only the place that shapes answers (`api::views`) may ask for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// As the reference document says.
    #[default]
    Documented,
    /// As clients written against Pterodactyl's panel expect.
    Pterodactyl,
}

impl Profile {
    /// Returns the profile's name as settings and the database spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Documented => "documented",
            Self::Pterodactyl => "pterodactyl",
        }
    }

    /// Reads a profile's name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Documented, Self::Pterodactyl]
            .into_iter()
            .find(|p| p.as_str() == text)
    }
}
