//! Finds symlinks that leave the directory, by their text alone: no link is followed.
//!
//! A backup stores such a link and nothing of what it leads to. Without a note, the owner of a
//! world on another disk would believe that it is saved.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The most notes for single links. The others are counted.
const MAX_NOTES: u64 = 20;

/// The most bytes of a target in a note.
const MAX_SHOWN: usize = 200;

/// Where panels show a server's directory to the server, and so to the links that it makes.
const CONTAINER_ROOT: &[u8] = b"/home/container";

/// Recognises and counts links that leave the directory.
pub(crate) struct OutsideLinks {
    /// The absolute paths of the directory, with links and without.
    roots: Vec<Vec<u8>>,
    count: u64,
}

impl OutsideLinks {
    pub(crate) fn new(source: &Path) -> Self {
        let known = [fs_err::canonicalize(source), std::path::absolute(source)];
        let paths = known.into_iter().flatten();
        Self {
            roots: paths
                .map(|path| path.as_os_str().as_bytes().to_vec())
                .collect(),
            count: 0,
        }
    }

    /// Returns the note for a link, if it leaves the directory and there is room for the note.
    pub(super) fn note(&mut self, path: &[u8], target: &[u8]) -> Option<String> {
        if !self.leaves(path, target) {
            return None;
        }
        self.count += 1;
        (self.count <= MAX_NOTES).then(|| {
            let target = shortened(target);
            format!("it leads out of the directory, to {target}, which is not part of the backup")
        })
    }

    /// Returns the note for the links that got none of their own.
    pub(super) fn summary(&self) -> Option<String> {
        let more = self.count.checked_sub(MAX_NOTES).filter(|&more| more > 0)?;
        Some(format!(
            "{more} more links lead out of the directory; their targets are not part of the backup"
        ))
    }

    /// Returns whether a link at `path` below the directory leads out of it.
    fn leaves(&self, path: &[u8], target: &[u8]) -> bool {
        if let Some(from_root) = target.strip_prefix(b"/") {
            let mut roots = self.roots.iter().map(Vec::as_slice).chain([CONTAINER_ROOT]);
            return !roots.any(|root| is_below(from_root, root));
        }
        let parents = parts(path).count().saturating_sub(1);
        climbs_out(target, parents)
    }
}

/// Returns a target for a note, cut to a readable length.
fn shortened(target: &[u8]) -> String {
    let shown = &target[..target.len().min(MAX_SHOWN)];
    let dots = if shown.len() < target.len() {
        "…"
    } else {
        ""
    };
    format!("{}{dots}", String::from_utf8_lossy(shown))
}

/// Returns whether the absolute path `/path` stays at or below `root`.
fn is_below(path: &[u8], root: &[u8]) -> bool {
    let mut rest = parts(path);
    parts(root).all(|part| rest.next() == Some(part)) && {
        let below: Vec<&[u8]> = rest.collect();
        !climbs_out(&below.join(&b'/'), 0)
    }
}

/// Returns whether a relative path leaves the folder that is `depth` folders above its start.
fn climbs_out(path: &[u8], depth: usize) -> bool {
    let mut depth = depth;
    for part in parts(path) {
        if part != b".." {
            depth += 1;
        } else if depth == 0 {
            return true;
        } else {
            depth -= 1;
        }
    }
    false
}

fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_that_leave_the_directory_are_found() {
        let links = OutsideLinks {
            roots: vec![b"/srv/one".to_vec(), b"/srv/alias".to_vec()],
            count: 0,
        };
        for (path, target, leaves) in [
            ("world", "/mnt/big/world", true),
            ("world", "/srv/one/data/world", false),
            ("world", "/srv/one", false),
            ("world", "/srv/alias/data", false),
            ("world", "/srv/one/../two", true),
            ("world", "/srv/one/./a//../b", false),
            ("world", "/srv/one-more/world", true),
            ("world", "/home/container/data", false),
            ("world", "../two/world", true),
            ("world", "data/../..", true),
            ("a/b/c", "../../d", false),
            ("a/b/c", "../../../d", true),
            ("a/b/c", "..", false),
            ("a", "b", false),
        ] {
            assert_eq!(
                links.leaves(path.as_bytes(), target.as_bytes()),
                leaves,
                "{target}"
            );
        }
    }
}
