//! Who Postgres runs as: this process's own user, or another one when that is root.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;
use crate::error::context;

/// The user that a cluster belongs to and that all of its programs run as.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) name: String,
    /// User and group to change to; `None` when this process already runs as that user.
    ids: Option<(u32, u32)>,
}

/// One line of `/etc/passwd`.
struct Entry {
    name: String,
    uid: u32,
    gid: u32,
    home: PathBuf,
}

impl Account {
    /// Chooses the user for the cluster whose data is, or will be, in `data`.
    ///
    /// Root takes the owner of an existing cluster, so that an ordinary user's cluster stays
    /// theirs; otherwise `postgres`, otherwise `nobody`.
    ///
    /// # Errors
    /// [`Error::Foreign`] for an ordinary user and somebody else's cluster, [`Error::NoAccount`].
    pub(crate) fn choose(directory: &Path, data: &Path) -> Result<Self, Error> {
        let uid = rustix::process::geteuid().as_raw();
        let entries = entries();
        let name_of = |uid: u32| {
            entries
                .iter()
                .find(|entry| entry.uid == uid)
                .map_or_else(|| uid.to_string(), |entry| entry.name.clone())
        };
        // Whoever may not look into the folder still sees whose it is.
        let owner = fs_err::metadata(data)
            .or_else(|_| fs_err::metadata(directory))
            .map(|metadata| (metadata.uid(), metadata.gid()))
            .ok();
        if uid != 0 {
            return match owner {
                Some((owner, _)) if owner != uid => Err(Error::Foreign {
                    directory: directory.into(),
                    owner: name_of(owner),
                }),
                _ => Ok(Self {
                    name: name_of(uid),
                    ids: None,
                }),
            };
        }
        if let Some(ids @ (owner, _)) = owner.filter(|(owner, _)| *owner != 0 && data.exists()) {
            return Ok(Self {
                name: name_of(owner),
                ids: Some(ids),
            });
        }
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| entries.iter().find(|entry| entry.name == *name))
            .map(|entry| Self {
                name: entry.name.clone(),
                ids: Some((entry.uid, entry.gid)),
            })
            .ok_or(Error::NoAccount)
    }

    /// Whether the account is another user than the one this process runs as.
    pub(crate) fn differs(&self) -> bool {
        self.ids.is_some()
    }

    /// Makes a command run as this user, in `/`, with nothing of ours that would lead it astray.
    pub(crate) fn prepare(&self, command: &mut Command) {
        if let Some((uid, gid)) = self.ids {
            // Changing the user as root, the standard library clears the supplementary groups too.
            command.uid(uid).gid(gid);
        }
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        // Messages are quoted in our errors, so they are to be in one language.
        command.env("LC_ALL", "C").env("TZ", "UTC").current_dir("/");
    }

    /// Gives a file or folder, not what a link points to, to this user.
    ///
    /// # Errors
    /// What the operating system says, with the path.
    pub(crate) fn own(&self, path: &Path) -> Result<(), Error> {
        if let Some((uid, gid)) = self.ids {
            fs_err::os::unix::fs::lchown(path, Some(uid), Some(gid))?;
        }
        Ok(())
    }

    /// Gives a folder and everything below it to this user.
    ///
    /// # Errors
    /// What the operating system says, with the path.
    pub(crate) fn own_tree(&self, path: &Path) -> Result<(), Error> {
        if fs_err::symlink_metadata(path)?.is_dir() {
            for entry in fs_err::read_dir(path)? {
                self.own_tree(&entry?.path())?;
            }
        }
        self.own(path)
    }

    /// Finds the first of `folders` that this user cannot pass through.
    ///
    /// It asks the kernel, as that user, rather than reading modes: access lists count as well.
    ///
    /// # Errors
    /// When `/bin/sh` cannot be run as that user.
    pub(crate) fn first_closed(&self, folders: &[PathBuf]) -> Result<Option<PathBuf>, Error> {
        let mut command = Command::new("/bin/sh");
        self.prepare(&mut command);
        let status = command
            .args([
                "-c",
                "i=1; for f; do [ -x \"$f\" ] || exit $i; i=$((i + 1)); done; exit 0",
            ])
            .arg("sh")
            .args(folders)
            .status()
            .map_err(|error| {
                context(&error, format_args!("cannot run /bin/sh as {}", self.name))
            })?;
        let index = status.code().and_then(|code| usize::try_from(code).ok());
        Ok(index
            .and_then(|index| index.checked_sub(1))
            .and_then(|index| folders.get(index).cloned()))
    }
}

/// Whether `folder` is somebody's home, whose mode is not ours to widen.
pub(crate) fn is_home(folder: &Path) -> bool {
    std::env::home_dir().is_some_and(|home| home == folder)
        || entries().iter().any(|entry| entry.home == folder)
}

fn entries() -> Vec<Entry> {
    let text = fs_err::read_to_string("/etc/passwd").unwrap_or_default();
    text.lines().filter_map(parse_entry).collect()
}

fn parse_entry(line: &str) -> Option<Entry> {
    let mut fields = line.split(':');
    Some(Entry {
        name: fields.next()?.to_owned(),
        uid: fields.nth(1)?.parse().ok()?,
        gid: fields.next()?.parse().ok()?,
        home: fields.nth(1)?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_passwd_gives_name_numbers_and_home() {
        let entry = parse_entry("postgres:x:101:104:PostgreSQL,,,:/var/lib/postgresql:/bin/bash");
        let entry = entry.unwrap();
        assert_eq!(
            (entry.name.as_str(), entry.uid, entry.gid),
            ("postgres", 101, 104)
        );
        assert_eq!(entry.home, Path::new("/var/lib/postgresql"));
        assert!(parse_entry("broken:line").is_none());
    }

    #[test]
    fn every_folder_is_open_on_the_way_to_tmp() {
        let account = Account {
            name: "me".into(),
            ids: None,
        };
        let folders = ["/", "/tmp"].map(PathBuf::from);
        assert_eq!(account.first_closed(&folders).unwrap(), None);
        let missing = ["/", "/nowhere"].map(PathBuf::from);
        assert_eq!(
            account.first_closed(&missing).unwrap(),
            Some("/nowhere".into())
        );
    }
}
