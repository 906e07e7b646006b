//! The address of a cluster: its socket and the URLs of its databases.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::Error;

/// The maximum length of a socket path in bytes: 108 with the final zero byte.
pub(crate) const SOCKET_PATH_MAX: usize = 107;

/// The port, which is only part of the socket's file name.
pub(crate) const PORT: u16 = 5432;

/// The only role of a private cluster.
pub(crate) const ROLE: &str = "postgres";

/// The address of a private cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    folder: String,
}

impl Address {
    /// Returns the address of the cluster in an absolute folder.
    ///
    /// # Errors
    /// [`Error::PathNotUtf8`], or [`Error::PathTooLong`] for the path of the socket.
    pub(crate) fn new(directory: &Path) -> Result<Self, Error> {
        let folder = directory.to_str().ok_or_else(|| Error::PathNotUtf8 {
            path: directory.into(),
        })?;
        let address = Self {
            folder: folder.to_owned(),
        };
        let path = address.socket();
        let length = OsStr::len(path.as_os_str());
        if length > SOCKET_PATH_MAX {
            return Err(Error::PathTooLong { path, length });
        }
        Ok(address)
    }

    /// Returns the path of the socket.
    pub(crate) fn socket(&self) -> PathBuf {
        Path::new(&self.folder).join(format!(".s.PGSQL.{PORT}"))
    }

    /// Returns the folder of the socket.
    pub(crate) fn folder(&self) -> &str {
        &self.folder
    }

    /// Returns the URL of a database for sqlx and libpq: user `postgres`, no password, the socket's
    /// folder as percent-encoded host. It contains the port and `sslmode`, so that `PGPORT` and
    /// `PGSSLMODE` in the environment have no effect.
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://{ROLE}@{}:{PORT}/{}?sslmode=disable",
            percent_encode(&self.folder),
            percent_encode(database)
        )
    }
}

fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_in_the_folder_are_percent_encoded_in_the_url() {
        let address = Address::new(Path::new("/srv/my data/ü,\"x\"")).unwrap();
        assert_eq!(
            address.url("hold/fast"),
            "postgres://postgres@%2Fsrv%2Fmy%20data%2F%C3%BC%2C%22x%22:5432/hold%2Ffast\
             ?sslmode=disable"
        );
    }

    #[test]
    fn a_socket_path_has_at_most_107_bytes() {
        let socket = "/.s.PGSQL.5432".len();
        let fits = format!("/{}", "a".repeat(SOCKET_PATH_MAX - socket - 1));
        assert!(Address::new(Path::new(&fits)).is_ok());
        let error = Address::new(Path::new(&format!("{fits}b"))).unwrap_err();
        assert!(error.to_string().contains("is 108 bytes long"), "{error}");
    }
}
