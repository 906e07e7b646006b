//! Finds the `initdb` and `postgres` to run.
//!
//! The search order is: the folder in the options, PATH, the newest version in
//! `/usr/lib/postgresql`, an earlier download, a new download. An existing cluster needs the major
//! version that created it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Error, download};

/// The oldest major version for new clusters. Older ones are no longer supported by PostgreSQL.
const MAJOR_MIN: u32 = 14;

/// The folder of the distributions' packages, with one folder for each major version.
const SYSTEM_FOLDER: &str = "/usr/lib/postgresql";

/// A folder with `initdb` and `postgres` of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    pub(crate) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    pub(crate) fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Finds or downloads the binaries for the cluster in `directory`. `cluster` is the major version
/// of an existing cluster. Downloads go to `postgres-dist` beside `directory`.
///
/// # Errors
/// [`Error::BinariesIncomplete`], [`Error::BinariesBroken`], [`Error::OtherMajor`] or
/// [`Error::Download`].
pub(crate) async fn find(
    given: Option<&Path>,
    directory: &Path,
    cluster: Option<u32>,
) -> Result<Binaries, Error> {
    let other_major = |found| {
        let (directory, cluster) = (directory.into(), cluster.unwrap_or_default());
        Error::OtherMajor {
            directory,
            cluster,
            found,
        }
    };
    if let Some(folder) = given {
        let binaries = binaries_in(folder)?;
        let found = major_of(&binaries)?;
        return match cluster {
            Some(cluster) if cluster != found => Err(other_major(found)),
            _ => Ok(binaries),
        };
    }
    let downloads = directory.with_file_name("postgres-dist");
    let mut candidates = on_path(std::env::var_os("PATH"));
    candidates.extend(newest_first(Path::new(SYSTEM_FOLDER)));
    candidates.extend(newest_first(&downloads));
    let mut found = None;
    for binaries in candidates {
        let major = major_of(&binaries)?;
        match cluster {
            Some(cluster) if cluster == major => return Ok(binaries),
            None if major >= MAJOR_MIN => return Ok(binaries),
            _ => found = found.or(Some(major)),
        }
    }
    match (download::fetch(&downloads, cluster).await, found) {
        (Ok(folder), _) => binaries_in(&folder),
        (Err(error), Some(found)) if cluster.is_some() => {
            tracing::warn!(%error, "cannot download the PostgreSQL that the cluster needs");
            Err(other_major(found))
        }
        (Err(source), _) => Err(Error::Download {
            major: cluster,
            source,
        }),
    }
}

/// Checks that a folder has both programs.
fn binaries_in(folder: &Path) -> Result<Binaries, Error> {
    for program in ["initdb", "postgres"] {
        if !folder.join(program).is_file() {
            let folder = folder.into();
            return Err(Error::BinariesIncomplete { program, folder });
        }
    }
    let folder = std::path::absolute(folder)?;
    Ok(Binaries { folder })
}

/// Returns the binaries on PATH, with links resolved: the real folder also has `psql` and the rest.
fn on_path(path: Option<OsString>) -> Vec<Binaries> {
    let path = path.unwrap_or_default();
    let folders = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
    folders
        .filter_map(|folder| {
            let linked = binaries_in(&folder).ok()?;
            let real = fs_err::canonicalize(linked.postgres()).ok()?;
            Some(
                real.parent()
                    .and_then(|real| binaries_in(real).ok())
                    .unwrap_or(linked),
            )
        })
        .collect()
}

/// Returns the binaries in `VERSION/bin` below `folder`, newest version first.
fn newest_first(folder: &Path) -> Vec<Binaries> {
    let Ok(entries) = fs_err::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<(Vec<u32>, Binaries)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version: Result<Vec<u32>, _> = entry
                .file_name()
                .to_str()?
                .split('.')
                .map(str::parse)
                .collect();
            Some((version.ok()?, binaries_in(&entry.path().join("bin")).ok()?))
        })
        .collect();
    found.sort_by(|(one, _), (other, _)| other.cmp(one));
    found.into_iter().map(|(_, binaries)| binaries).collect()
}

/// Returns the major version that `postgres --version` prints, such as
/// `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`.
fn major_of(binaries: &Binaries) -> Result<u32, Error> {
    let program = binaries.postgres();
    let output = match Command::new(&program).arg("--version").output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let line = text.lines().last().unwrap_or_default().trim().to_owned();
            format!("{} {line}", output.status)
        }
        Err(error) => error.to_string(),
    };
    parse_major(&output).ok_or(Error::BinariesBroken { program, output })
}

fn parse_major(output: &str) -> Option<u32> {
    let version = output.split_once("(PostgreSQL) ")?.1;
    version
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_every_kind_of_output() {
        for (output, expected) in [
            (
                "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)",
                Some(15),
            ),
            ("postgres (PostgreSQL) 18.0", Some(18)),
            ("postgres (PostgreSQL) 19beta1", Some(19)),
            ("exit status: 127 not found", None),
            ("", None),
        ] {
            assert_eq!(parse_major(output), expected, "{output:?}");
        }
    }

    #[test]
    fn versions_are_compared_as_numbers_and_folders_without_initdb_are_skipped() {
        let root = tempfile::tempdir().unwrap();
        for (version, programs) in [
            ("9.6", &["initdb", "postgres"][..]),
            ("10", &["initdb", "postgres"]),
            ("15", &["initdb", "postgres"]),
            ("17", &["postgres"]),
            ("common", &["initdb", "postgres"]),
        ] {
            let bin = root.path().join(version).join("bin");
            fs_err::create_dir_all(&bin).unwrap();
            for program in programs {
                fs_err::write(bin.join(program), "").unwrap();
            }
        }
        let found: Vec<_> = newest_first(root.path())
            .iter()
            .map(|binaries| {
                binaries
                    .folder
                    .strip_prefix(root.path())
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_eq!(found, ["15/bin", "10/bin", "9.6/bin"].map(PathBuf::from));
    }

    #[test]
    fn links_on_path_lead_to_the_real_folder() {
        let root = tempfile::tempdir().unwrap();
        let (real, links) = (root.path().join("real"), root.path().join("links"));
        for folder in [&real, &links] {
            fs_err::create_dir(folder).unwrap();
        }
        for program in ["initdb", "postgres"] {
            fs_err::write(real.join(program), "").unwrap();
            fs_err::os::unix::fs::symlink(real.join(program), links.join(program)).unwrap();
        }
        let path = std::env::join_paths([Path::new("."), Path::new("/nowhere"), &links]).unwrap();
        let found = on_path(Some(path));
        assert_eq!(
            found,
            [Binaries {
                folder: fs_err::canonicalize(&real).unwrap()
            }]
        );
    }
}
