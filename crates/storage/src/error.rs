//! What can go wrong with a disk, told apart by what the caller can do about it.

use std::io;

use holdfast_domain::report::chain;

/// What lies behind an error: the system's word, or a server's.
type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a disk could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such object.
    #[error("{object} is not there")]
    NotFound {
        /// What was asked for.
        object: String,
    },
    /// The disk has no room left, or the quota of its user is used up.
    #[error("disk `{disk}` is full while writing {object}")]
    Full {
        /// The disk's name.
        disk: String,
        /// What was written.
        object: String,
    },
    /// The disk refuses: permissions, a read-only file system, credentials.
    #[error("disk `{disk}` refuses access to {object}: {advice}")]
    Denied {
        /// The disk's name.
        disk: String,
        /// What was touched.
        object: String,
        /// What whoever runs the service should look at.
        advice: String,
        /// The system's word.
        source: Source,
    },
    /// The disk's settings can't be right: no such bucket, another region, a wrong clock.
    #[error("disk `{disk}` is set up wrongly: {advice}")]
    Misconfigured {
        /// The disk's name.
        disk: String,
        /// What is wrong, and what to look at.
        advice: String,
        /// The server's word.
        source: Source,
    },
    /// The disk can't be used now: gone, broken, out of reach.
    #[error("disk `{disk}` failed on {object}")]
    Unavailable {
        /// The disk's name.
        disk: String,
        /// What was touched.
        object: String,
        /// The system's word.
        source: Source,
    },
    /// The object is there, but not as it was written.
    #[error("{object} on disk `{disk}` is damaged")]
    Damaged {
        /// The disk's name.
        disk: String,
        /// What was read.
        object: String,
        /// What is wrong with it.
        source: Source,
    },
    /// No disk of that name is configured here.
    #[error("no disk named `{disk}` is configured on this node")]
    UnknownDisk {
        /// The name that was asked for.
        disk: String,
    },
    /// An object of that key exists already.
    #[error("{object} exists already on disk `{disk}`")]
    Exists {
        /// The disk's name.
        disk: String,
        /// What was to be written.
        object: String,
    },
}

/// What to do about a certificate that nobody here trusts.
pub(crate) const UNTRUSTED: &str = "the certificate of its server is not trusted: set ca_file to the \
     certificate of the authority that signed it, and check endpoint and this machine's clock";

/// Says whether a connection came to nothing for the server's certificate, as rustls words it.
pub(crate) fn is_about_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    chain(error).contains("invalid peer certificate")
}

impl Error {
    /// Says whether the same call may succeed a little later.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    pub(crate) fn from_io(disk: &str, object: impl ToString, source: io::Error) -> Self {
        let (disk, object) = (disk.to_owned(), object.to_string());
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { object },
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full { disk, object },
            io::ErrorKind::AlreadyExists => Self::Exists { disk, object },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Denied {
                disk,
                object,
                advice: "the service's user must be able to write there".to_owned(),
                source: source.into(),
            },
            _ => Self::Unavailable {
                disk,
                object,
                source: source.into(),
            },
        }
    }
}
