//! Where a cluster answers: its socket and the URLs that lead there.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::Error;

/// The longest path that fits into a socket address: 108 bytes with the zero that ends it.
pub(crate) const LONGEST_SOCKET_PATH: usize = 107;

/// The port that only numbers the socket's file; nothing listens on the network.
pub(crate) const PORT: u16 = 5432;

/// The one role of a private cluster.
pub(crate) const ROLE: &str = "postgres";

/// Names a private cluster by its socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    folder: String,
}

impl Address {
    /// Takes the absolute folder of a cluster.
    ///
    /// # Errors
    /// [`Error::PathNotUtf8`], or [`Error::PathTooLong`] when the socket would not fit.
    pub(crate) fn of(directory: &Path) -> Result<Self, Error> {
        let folder = directory.to_str().ok_or_else(|| Error::PathNotUtf8 {
            path: directory.into(),
        })?;
        let address = Self {
            folder: folder.to_owned(),
        };
        let path = address.socket();
        let length = OsStr::len(path.as_os_str());
        if length > LONGEST_SOCKET_PATH {
            return Err(Error::PathTooLong { path, length });
        }
        Ok(address)
    }

    /// The file that Postgres listens on.
    pub(crate) fn socket(&self) -> PathBuf {
        Path::new(&self.folder).join(format!(".s.PGSQL.{PORT}"))
    }

    /// The folder that holds the socket.
    pub(crate) fn folder(&self) -> &str {
        &self.folder
    }

    /// Writes the URL of one database, as sqlx and libpq take it: user `postgres`, no password, the
    /// socket's folder as percent-encoded host. It names port and `sslmode`, so that `PGPORT` or
    /// `PGSSLMODE` in somebody's shell cannot lead it astray.
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
    fn a_url_names_the_socket_whatever_its_folder_is_called() {
        let address = Address::of(Path::new("/srv/my data/ü,\"x\"")).unwrap();
        assert_eq!(
            address.url("hold/fast"),
            "postgres://postgres@%2Fsrv%2Fmy%20data%2F%C3%BC%2C%22x%22:5432/hold%2Ffast?sslmode=disable"
        );
    }

    #[test]
    fn a_socket_path_has_at_most_107_bytes() {
        let socket = "/.s.PGSQL.5432".len();
        let fits = format!("/{}", "a".repeat(LONGEST_SOCKET_PATH - socket - 1));
        assert!(Address::of(Path::new(&fits)).is_ok());
        let error = Address::of(Path::new(&format!("{fits}b"))).unwrap_err();
        assert!(error.to_string().contains("is 108 bytes long"), "{error}");
    }
}
