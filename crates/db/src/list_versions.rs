//! The versions of the lists of a server. They tell whether a cached list is still current.
//! Triggers replace them with every change (`migrations/0003_list_versions.sql`), so no write can
//! forget to.

use uuid::Uuid;

/// The versions of the lists of a server at one moment. A list that is read later is current while
/// the versions stay the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListVersions(Box<[Uuid]>);

impl From<Vec<Uuid>> for ListVersions {
    /// Takes the versions in any order.
    fn from(mut versions: Vec<Uuid>) -> Self {
        versions.sort_unstable();
        Self(versions.into())
    }
}

impl ListVersions {
    /// Returns whether there is no version. Then no list may be cached: every server has a version.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the memory that they use beyond the value itself, in bytes.
    pub fn size_bytes(&self) -> usize {
        size_of_val(&*self.0)
    }
}
