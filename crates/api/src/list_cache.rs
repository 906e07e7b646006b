//! A cache of backup lists, for clients that poll.
//!
//! Polled lists seldom change, and reading a list costs ten times as much as reading its versions.
//! The lookup of each request returns the current versions of the server's lists
//! ([`ListVersions`]). A cached list is used only if these versions were current when it was read.
//! So an answer is never stale, no process has to invalidate the cache of another one, and no entry
//! expires.
//!
//! The cache holds compressed JSON, about a quarter of the original size. It must never take more
//! than [`BYTES_MAX`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_db::ListVersions;
use holdfast_db::backups::PageRequest;
use holdfast_domain::Profile;

/// The largest size of all entries together, in bytes.
const BYTES_MAX: usize = 64 << 20;
/// The memory of an entry besides its JSON and its versions, in bytes.
const OVERHEAD_BYTES: usize = 256;

/// The key of a cached list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ListKey {
    /// The server and the page.
    pub(crate) page: PageRequest,
    /// The profile of the JSON.
    pub(crate) profile: Profile,
}

/// The backups of a page, as compressed JSON.
#[derive(Debug)]
pub(crate) struct CachedList {
    /// The compressed JSON array.
    backups: Vec<u8>,
    /// The length of the JSON array, in bytes.
    length: usize,
    /// The number of backups on the page.
    pub(crate) count: usize,
    /// The number of backups on all pages.
    pub(crate) total: u64,
    /// The number of backups that count towards the server's limit.
    pub(crate) backup_count: u64,
}

impl CachedList {
    /// Compresses the JSON array with the backups of a page.
    pub(crate) fn new(backups: &[u8], count: usize, total: u64, backup_count: u64) -> Self {
        Self {
            backups: lz4_flex::block::compress(backups),
            length: backups.len(),
            count,
            total,
            backup_count,
        }
    }

    /// Appends the JSON array to `answer`. Returns `None` if it cannot be decompressed, which would
    /// be a defect.
    pub(crate) fn write_to(&self, answer: &mut Vec<u8>) -> Option<()> {
        let start = answer.len();
        answer.resize(start + self.length, 0);
        let written = lz4_flex::block::decompress_into(&self.backups, answer.get_mut(start..)?);
        (written.ok()? == self.length).then_some(())
    }

    /// Returns the length of the JSON array, in bytes.
    pub(crate) fn length(&self) -> usize {
        self.length
    }
}

/// A cache of backup lists.
#[derive(Debug)]
pub struct ListCache {
    bytes_max: usize,
    generations: Mutex<Generations>,
}

/// The entries in two generations. Each use moves an entry to the younger one. When that is full,
/// it replaces the older one, whose entries are dropped.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<ListKey, CacheEntry>,
    old: HashMap<ListKey, CacheEntry>,
    young_bytes: usize,
}

#[derive(Clone, Debug)]
struct CacheEntry {
    /// The versions at which the list was read.
    versions: ListVersions,
    list: Arc<CachedList>,
}

impl Default for ListCache {
    fn default() -> Self {
        Self {
            bytes_max: BYTES_MAX,
            generations: Mutex::default(),
        }
    }
}

impl ListCache {
    /// Returns the list that was read at `versions`, if it is in the cache.
    pub(crate) fn get(&self, key: &ListKey, versions: &ListVersions) -> Option<Arc<CachedList>> {
        let mut generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = generations.young.get(key) {
            return (entry.versions == *versions).then(|| Arc::clone(&entry.list));
        }
        let entry = generations.old.remove(key)?;
        if entry.versions != *versions {
            return None;
        }
        let list = Arc::clone(&entry.list);
        generations.insert(*key, entry, self.bytes_max);
        Some(list)
    }

    /// Inserts a list. `versions` must have been read before the list.
    pub(crate) fn insert(
        &self,
        key: ListKey,
        versions: ListVersions,
        list: CachedList,
    ) -> Arc<CachedList> {
        let list = Arc::new(list);
        let entry = CacheEntry {
            versions,
            list: Arc::clone(&list),
        };
        let mut generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        generations.insert(key, entry, self.bytes_max);
        list
    }
}

impl Generations {
    fn insert(&mut self, key: ListKey, entry: CacheEntry, bytes_max: usize) {
        let bytes = entry.size_bytes();
        // A very large entry would displace all others.
        if bytes > bytes_max / 8 || entry.versions.is_empty() {
            return;
        }
        self.old.remove(&key);
        if let Some(before) = self.young.insert(key, entry) {
            self.young_bytes -= before.size_bytes();
        }
        self.young_bytes += bytes;
        if self.young_bytes > bytes_max / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}

impl CacheEntry {
    fn size_bytes(&self) -> usize {
        OVERHEAD_BYTES + self.list.backups.capacity() + self.versions.size_bytes()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use holdfast_domain::ServerId;

    use super::*;

    fn key(server: u128) -> ListKey {
        ListKey {
            page: PageRequest {
                server: ServerId(Uuid::from_u128(server)),
                limit: 25,
                offset: 0,
            },
            profile: Profile::Documented,
        }
    }

    fn versions(numbers: &[u128]) -> ListVersions {
        let versions = numbers.iter().map(|number| Uuid::from_u128(*number));
        versions.collect::<Vec<_>>().into()
    }

    /// Bytes that cannot be compressed.
    fn noise(length: usize) -> Vec<u8> {
        let mut noise = vec![0; length];
        rand::fill(&mut noise[..]);
        noise
    }

    fn text(list: &CachedList) -> Vec<u8> {
        let mut text = b"before ".to_vec();
        list.write_to(&mut text).expect("JSON");
        text
    }

    #[test]
    fn a_list_is_found_only_at_the_versions_at_which_it_was_read() {
        let lists = ListCache::default();
        for (count, read_at) in [&[1][..], &[1, 2], &[2], &[3]].iter().enumerate() {
            assert!(lists.get(&key(1), &versions(read_at)).is_none());
            let list = CachedList::new(b"[\"a\"]", count, 0, 0);
            lists.insert(key(1), versions(read_at), list);
            let found = lists.get(&key(1), &versions(read_at)).expect("a list");
            assert_eq!(
                (found.count, text(&found)),
                (count, b"before [\"a\"]".to_vec())
            );
            assert!(lists.get(&key(1), &versions(&[4])).is_none());
            assert!(lists.get(&key(2), &versions(read_at)).is_none());
            let pterodactyl = ListKey {
                profile: Profile::Pterodactyl,
                ..key(1)
            };
            assert!(lists.get(&pterodactyl, &versions(read_at)).is_none());
        }
    }

    #[test]
    fn a_list_without_a_version_is_not_cached() {
        let lists = ListCache::default();
        lists.insert(key(1), versions(&[]), CachedList::new(b"[]", 0, 0, 0));
        assert!(lists.get(&key(1), &versions(&[])).is_none());
    }

    #[test]
    fn memory_is_bounded_and_used_lists_stay() {
        let lists = ListCache {
            bytes_max: 200_000,
            generations: Mutex::default(),
        };
        let insert = |server, length| {
            lists.insert(
                key(server),
                versions(&[server]),
                CachedList::new(&noise(length), 0, 0, 0),
            );
        };
        let is_cached = |server| lists.get(&key(server), &versions(&[server])).is_some();
        insert(0, 1000);
        for server in 1..1000 {
            insert(server, 1000);
            assert!(is_cached(0), "{server}");
            let generations = lists.generations.lock().expect("a lock");
            let entries = generations.young.values().chain(generations.old.values());
            assert!(entries.map(CacheEntry::size_bytes).sum::<usize>() <= 200_000);
            let young = generations.young.values().map(CacheEntry::size_bytes);
            assert_eq!(young.sum::<usize>(), generations.young_bytes);
        }
        assert!(!is_cached(1));
        assert!(is_cached(999));
        insert(5000, 100_000);
        assert!(!is_cached(5000), "too large");
    }
}
