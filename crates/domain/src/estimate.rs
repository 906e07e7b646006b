//! How much space the next backup of a server is expected to need.

use crate::backup::ArchiveWork;
use crate::name::{DiskName, NodeName};

/// The latest archive of a server. The next one is expected to be like it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatestArchive {
    /// Its size, in bytes.
    pub size_bytes: u64,
    /// The disk that holds it.
    pub disk: DiskName,
    /// The node that wrote it.
    pub node: Option<NodeName>,
    /// By how many bytes the disk grew. `None` if that is unknown.
    pub stored_bytes: Option<u64>,
    /// How many backups in a row, with this one, took files over without reading them. `None` for
    /// a backup of an earlier version.
    pub unread_backups: Option<u32>,
    /// Whether it is damaged or missing, or was requested before a restore began or damage of
    /// another archive was found.
    pub is_doubtful: bool,
}

/// A backup whose space is estimated.
#[derive(Clone, Copy, Debug)]
pub struct NextArchive<'a> {
    /// The disk that will hold it.
    pub disk: &'a DiskName,
    /// The node that will write it.
    pub node: &'a NodeName,
    /// Whether every file must be read and packed.
    pub is_full: bool,
    /// The maximum size of the archive, in bytes.
    pub size_bytes_max: u64,
    /// Whether a backup reuses the archive of the one before it.
    pub reuse: bool,
    /// One in this many backups reads every file; 0 means none.
    pub reread_every: u32,
}

/// The space that a backup is expected to need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpectedSpace {
    /// The size of the archive, in bytes, which counts against the quota. 0 if it is unknown.
    pub archive_bytes: u64,
    /// By how many bytes the disk will grow. Less than the size of the archive, if the disk shares
    /// what the archive takes over from an earlier one.
    pub stored_bytes: u64,
}

impl NextArchive<'_> {
    /// Returns the space that it is expected to need after `latest`.
    pub fn expect_after(&self, latest: &LatestArchive) -> ExpectedSpace {
        let is_reused = self.reuse
            && !self.is_full
            && !latest.is_doubtful
            && latest.disk == *self.disk
            && latest.node.as_ref() == Some(self.node)
            && !ArchiveWork::is_reread_due(latest.unread_backups, self.reread_every);
        let whole = self.expect(latest.size_bytes);
        let stored = latest.stored_bytes.filter(|_| is_reused);
        ExpectedSpace {
            stored_bytes: stored
                .map_or(whole.stored_bytes, |stored| stored.min(whole.stored_bytes)),
            ..whole
        }
    }

    /// Returns the space for an archive of this size, of which nothing is shared.
    pub fn expect(&self, size_bytes: u64) -> ExpectedSpace {
        let size_bytes = size_bytes.min(self.size_bytes_max);
        ExpectedSpace {
            archive_bytes: size_bytes,
            stored_bytes: size_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_backup_that_reuses_the_latest_archive_is_expected_to_store_as_little() {
        let disk = |name| DiskName::parse(name).expect("a name");
        let node = |name| NodeName::parse(name).expect("a name");
        let (local, here) = (disk("local"), node("here"));
        let latest = LatestArchive {
            size_bytes: 1000,
            disk: local.clone(),
            node: Some(here.clone()),
            stored_bytes: Some(30),
            unread_backups: Some(5),
            is_doubtful: false,
        };
        let next = NextArchive {
            disk: &local,
            node: &here,
            is_full: false,
            size_bytes_max: 10_000,
            reuse: true,
            reread_every: 14,
        };
        let (other_disk, other_node) = (disk("other"), node("there"));
        let stored = |next: NextArchive<'_>, latest: &LatestArchive| {
            let expected = next.expect_after(latest);
            assert_eq!(expected.archive_bytes, next.size_bytes_max.min(1000));
            expected.stored_bytes
        };
        let with = |change: fn(&mut LatestArchive)| {
            let mut latest = latest.clone();
            change(&mut latest);
            stored(next, &latest)
        };
        assert_eq!(stored(next, &latest), 30);
        assert_eq!(with(|latest| latest.unread_backups = Some(12)), 30);
        assert_eq!(with(|latest| latest.stored_bytes = Some(5000)), 1000);
        for whole in [
            with(|latest| latest.unread_backups = Some(13)),
            with(|latest| latest.unread_backups = None),
            with(|latest| latest.stored_bytes = None),
            with(|latest| latest.node = None),
            with(|latest| latest.is_doubtful = true),
            stored(
                NextArchive {
                    is_full: true,
                    ..next
                },
                &latest,
            ),
            stored(
                NextArchive {
                    reuse: false,
                    ..next
                },
                &latest,
            ),
            stored(
                NextArchive {
                    disk: &other_disk,
                    ..next
                },
                &latest,
            ),
            stored(
                NextArchive {
                    node: &other_node,
                    ..next
                },
                &latest,
            ),
        ] {
            assert_eq!(whole, 1000);
        }
        let never = NextArchive {
            reread_every: 0,
            ..next
        };
        let old = LatestArchive {
            unread_backups: Some(u32::MAX),
            ..latest.clone()
        };
        assert_eq!(stored(never, &old), 30);
        for (size_bytes_max, expected) in [(500, 30), (20, 20)] {
            let next = NextArchive {
                size_bytes_max,
                ..next
            };
            assert_eq!(stored(next, &latest), expected);
            assert_eq!(next.expect(1000).stored_bytes, size_bytes_max);
        }
    }
}
