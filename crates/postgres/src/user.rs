//! The system user that Postgres runs as: the user of this process, or another one if that is root.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;
use crate::error::context;

/// The user that owns a cluster and runs its programs.
#[derive(Clone, Debug)]
pub(crate) struct ClusterUser {
    pub(crate) name: String,
    /// The user and group ID to change to; `None` if this process already runs as that user.
    ids: Option<(u32, u32)>,
}

/// A line of `/etc/passwd`.
struct PasswdEntry {
    name: String,
    uid: u32,
    gid: u32,
    home: PathBuf,
}

impl ClusterUser {
    /// Chooses the user for the cluster whose data is, or will be, in `data`.
    ///
    /// If this process is root, it is the owner of an existing cluster, otherwise `postgres`,
    /// otherwise `nobody`.
    ///
    /// # Errors
    /// [`Error::Foreign`] if this process is not root and the cluster belongs to another user;
    /// [`Error::NoUser`].
    pub(crate) fn choose(directory: &Path, data: &Path) -> Result<Self, Error> {
        let uid = rustix::process::geteuid().as_raw();
        let entries = passwd_entries();
        let name_of = |uid: u32| {
            entries
                .iter()
                .find(|entry| entry.uid == uid)
                .map_or_else(|| uid.to_string(), |entry| entry.name.clone())
        };
        // Without access to the folder, its owner is still visible.
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
            .ok_or(Error::NoUser)
    }

    /// Returns the user ID.
    pub(crate) fn uid(&self) -> u32 {
        self.ids
            .map_or_else(|| rustix::process::geteuid().as_raw(), |(uid, _)| uid)
    }

    /// Returns the error for a user ID without a name.
    pub(crate) fn no_account(&self) -> Error {
        let gid = rustix::process::getegid().as_raw();
        Error::NoAccount {
            uid: self.uid(),
            gid: self.ids.map_or(gid, |(_, gid)| gid),
        }
    }

    /// Says whether this is another user than that of this process.
    pub(crate) fn differs(&self) -> bool {
        self.ids.is_some()
    }

    /// Sets up a command to run as this user, in `/`, without the `PG…` variables of this process.
    pub(crate) fn prepare(&self, command: &mut Command) {
        if let Some((uid, gid)) = self.ids {
            // As root, the standard library also clears the supplementary groups.
            command.uid(uid).gid(gid);
        }
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        // Errors quote the messages of the program, and the code searches them for English words.
        command.env("LC_ALL", "C").env("TZ", "UTC").current_dir("/");
    }

    /// Changes the owner of a file or folder to this user. Does not follow links.
    ///
    /// # Errors
    /// The operating system's error, with the path.
    pub(crate) fn chown(&self, path: &Path) -> Result<(), Error> {
        if let Some((uid, gid)) = self.ids {
            fs_err::os::unix::fs::lchown(path, Some(uid), Some(gid))?;
        }
        Ok(())
    }

    /// Changes the owner of a folder and everything below it to this user.
    ///
    /// # Errors
    /// The operating system's error, with the path.
    pub(crate) fn chown_tree(&self, path: &Path) -> Result<(), Error> {
        if fs_err::symlink_metadata(path)?.is_dir() {
            for entry in fs_err::read_dir(path)? {
                self.chown_tree(&entry?.path())?;
            }
        }
        self.chown(path)
    }

    /// Returns the first of `folders` that this user has no search permission for.
    ///
    /// A shell tests this as that user, because access control lists also apply, not only modes.
    ///
    /// # Errors
    /// When `/bin/sh` cannot be run as that user.
    pub(crate) fn first_inaccessible(&self, folders: &[PathBuf]) -> Result<Option<PathBuf>, Error> {
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

/// Says whether `folder` is a home directory, whose mode must not be changed.
pub(crate) fn is_home(folder: &Path) -> bool {
    std::env::home_dir().is_some_and(|home| home == folder)
        || passwd_entries().iter().any(|entry| entry.home == folder)
}

fn passwd_entries() -> Vec<PasswdEntry> {
    let text = fs_err::read_to_string("/etc/passwd").unwrap_or_default();
    text.lines().filter_map(parse_entry).collect()
}

fn parse_entry(line: &str) -> Option<PasswdEntry> {
    let mut fields = line.split(':');
    Some(PasswdEntry {
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
    fn a_line_of_passwd_has_name_ids_and_home() {
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
    fn the_path_to_tmp_is_accessible_and_a_missing_folder_is_not() {
        let user = ClusterUser {
            name: "me".into(),
            ids: None,
        };
        let folders = ["/", "/tmp"].map(PathBuf::from);
        assert_eq!(user.first_inaccessible(&folders).unwrap(), None);
        let missing = ["/", "/nowhere"].map(PathBuf::from);
        assert_eq!(
            user.first_inaccessible(&missing).unwrap(),
            Some("/nowhere".into())
        );
    }
}
