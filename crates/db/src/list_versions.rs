//! Which marks stand for a server: what tells whether a list that was read earlier is still true. Triggers leave
//! them (`migrations/0003_list_versions.sql`), so that no write can forget to.

use uuid::Uuid;

/// The marks of a server at some instant. A list that is read after them is true for as long as they are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListVersions(Box<[Uuid]>);

impl From<Vec<Uuid>> for ListVersions {
    /// Takes the marks in any order.
    fn from(mut marks: Vec<Uuid>) -> Self {
        marks.sort_unstable();
        Self(marks.into())
    }
}

impl ListVersions {
    /// Says whether a list may be kept under them. Every server has a mark; what has none is no server.
    pub fn are_there(&self) -> bool {
        !self.0.is_empty()
    }

    /// Returns what they take in memory beside the value itself, in bytes.
    pub fn size_bytes(&self) -> usize {
        size_of_val(&*self.0)
    }
}
