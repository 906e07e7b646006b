//! Lists of backups as they were answered a moment ago, for those who ask again and again.
//!
//! A list hardly ever changes while it is polled, and costs ten times what it costs to see whether it has. With each
//! request the database says which marks stand for the server (`holdfast_db::Marks`); what is kept here is answered
//! only while they are those that stood before it was read. So an answer is as new as its request, whoever wrote
//! meanwhile and through which process, and nothing has to be told to anybody.
//!
//! Kept is the text of the backups, compressed: a quarter of it. It must never be more than [`BYTES_MAX`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_db::ListVersions;
use holdfast_db::backups::PageRequest;
use holdfast_domain::Profile;

/// How much memory all lists together may take, in bytes.
const BYTES_MAX: usize = 64 << 20;
/// What a list takes beside its text: its places in a map and on the heap.
const OVERHEAD_BYTES: usize = 256;

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    /// Which backups.
    pub(crate) wanted: PageRequest,
    /// In which shape.
    pub(crate) profile: Profile,
}

/// The backups of a page, as text.
#[derive(Debug)]
pub(crate) struct Listed {
    /// A JSON array, compressed.
    backups: Vec<u8>,
    /// The length of the array as text.
    length: usize,
    /// How many are in it.
    pub(crate) count: usize,
    /// How many the server has, those of other pages among them.
    pub(crate) total: u64,
    /// How many of them count against its limit.
    pub(crate) kept: u64,
}

impl Listed {
    /// Takes the JSON array of a page's backups.
    pub(crate) fn new(backups: &[u8], count: usize, total: u64, kept: u64) -> Self {
        Self {
            backups: lz4_flex::block::compress(backups),
            length: backups.len(),
            count,
            total,
            kept,
        }
    }

    /// Appends the JSON array to `answer`; nothing where it can't be read, which would be a defect.
    pub(crate) fn write_to(&self, answer: &mut Vec<u8>) -> Option<()> {
        let begin = answer.len();
        answer.resize(begin + self.length, 0);
        let written = lz4_flex::block::decompress_into(&self.backups, answer.get_mut(begin..)?);
        (written.ok()? == self.length).then_some(())
    }

    /// Returns the length of the JSON array, in bytes.
    pub(crate) fn length(&self) -> usize {
        self.length
    }
}

/// Lists that may be answered again.
#[derive(Debug)]
pub struct ListCache {
    bytes_max: usize,
    kept: Mutex<Kept>,
}

/// Two generations: what is asked for passes into the younger one, and when that is full, the older one goes.
#[derive(Debug, Default)]
struct Kept {
    young: HashMap<Asked, Entry>,
    old: HashMap<Asked, Entry>,
    young_bytes: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    marks: ListVersions,
    listed: Arc<Listed>,
}

impl Default for ListCache {
    fn default() -> Self {
        Self {
            bytes_max: BYTES_MAX,
            kept: Mutex::default(),
        }
    }
}

impl ListCache {
    /// Returns the list that was read after these marks, if it is still kept.
    pub(crate) fn find(&self, asked: &Asked, marks: &ListVersions) -> Option<Arc<Listed>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = kept.young.get(asked) {
            return (entry.marks == *marks).then(|| Arc::clone(&entry.listed));
        }
        let entry = kept.old.remove(asked)?;
        if entry.marks != *marks {
            return None;
        }
        let listed = Arc::clone(&entry.listed);
        kept.put(*asked, entry, self.bytes_max);
        Some(listed)
    }

    /// Keeps a list that was read after these marks.
    pub(crate) fn keep(&self, asked: Asked, marks: ListVersions, listed: Listed) -> Arc<Listed> {
        let listed = Arc::new(listed);
        let entry = Entry {
            marks,
            listed: Arc::clone(&listed),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.put(asked, entry, self.bytes_max);
        listed
    }
}

impl Kept {
    fn put(&mut self, asked: Asked, entry: Entry, bytes_max: usize) {
        let bytes = entry.size_bytes();
        // One that would push out all others is not worth it.
        if bytes > bytes_max / 8 || entry.marks.is_empty() {
            return;
        }
        self.old.remove(&asked);
        if let Some(before) = self.young.insert(asked, entry) {
            self.young_bytes -= before.size_bytes();
        }
        self.young_bytes += bytes;
        if self.young_bytes > bytes_max / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}

impl Entry {
    fn size_bytes(&self) -> usize {
        OVERHEAD_BYTES + self.listed.backups.capacity() + self.marks.size_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_domain::ServerId;
    use uuid::Uuid;

    fn asked(server: u128) -> Asked {
        Asked {
            wanted: PageRequest {
                server: ServerId(Uuid::from_u128(server)),
                limit: 25,
                offset: 0,
            },
            profile: Profile::Documented,
        }
    }

    fn marks(marks: &[u128]) -> ListVersions {
        let marks = marks.iter().map(|mark| Uuid::from_u128(*mark));
        marks.collect::<Vec<_>>().into()
    }

    /// A text that can't be compressed.
    fn noise(length: usize) -> Vec<u8> {
        let mut noise = vec![0; length];
        rand::fill(&mut noise[..]);
        noise
    }

    fn text(listed: &Listed) -> Vec<u8> {
        let mut text = b"before ".to_vec();
        listed.write_to(&mut text).expect("it can be read");
        text
    }

    #[test]
    fn a_list_is_found_only_under_the_very_marks_that_it_was_read_after() {
        let lists = ListCache::default();
        for (place, stood) in [&[1][..], &[1, 2], &[2], &[3]].iter().enumerate() {
            assert!(lists.find(&asked(1), &marks(stood)).is_none());
            let listed = Listed::new(b"[\"a\"]", place, 0, 0);
            lists.keep(asked(1), marks(stood), listed);
            let found = lists.find(&asked(1), &marks(stood)).expect("just kept");
            assert_eq!(
                (found.count, text(&found)),
                (place, b"before [\"a\"]".to_vec())
            );
            assert!(lists.find(&asked(1), &marks(&[4])).is_none());
            assert!(lists.find(&asked(2), &marks(stood)).is_none());
            let pterodactyl = Asked {
                profile: Profile::Pterodactyl,
                ..asked(1)
            };
            assert!(lists.find(&pterodactyl, &marks(stood)).is_none());
        }
    }

    #[test]
    fn nothing_is_kept_without_a_mark() {
        let lists = ListCache::default();
        lists.keep(asked(1), marks(&[]), Listed::new(b"[]", 0, 0, 0));
        assert!(lists.find(&asked(1), &marks(&[])).is_none());
    }

    #[test]
    fn memory_is_bounded_and_what_is_asked_for_stays() {
        let lists = ListCache {
            bytes_max: 200_000,
            kept: Mutex::default(),
        };
        let put = |server, length| {
            lists.keep(
                asked(server),
                marks(&[server]),
                Listed::new(&noise(length), 0, 0, 0),
            );
        };
        put(0, 1000);
        for server in 1..1000 {
            put(server, 1000);
            assert!(lists.find(&asked(0), &marks(&[0])).is_some(), "{server}");
            let kept = lists.kept.lock().expect("nobody panicked");
            let entries = kept.young.values().chain(kept.old.values());
            assert!(entries.map(Entry::size_bytes).sum::<usize>() <= 200_000);
            let young = kept.young.values().map(Entry::size_bytes);
            assert_eq!(young.sum::<usize>(), kept.young_bytes);
        }
        assert!(lists.find(&asked(1), &marks(&[1])).is_none());
        assert!(lists.find(&asked(999), &marks(&[999])).is_some());
        put(5000, 100_000);
        assert!(
            lists.find(&asked(5000), &marks(&[5000])).is_none(),
            "too large"
        );
    }
}
