//! What can go wrong with a disk, told apart by what the caller can do about it.

use std::io;

use holdfast_domain::error_chain::chain;

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
const UNTRUSTED: &str = "the certificate of its server is not trusted: set ca_file to the \
     certificate of the authority that signed it, and check endpoint and this machine's clock";

/// What to do about a server that answers in plain text.
const PLAIN: &str =
    "its server does not speak TLS there: check the port, or let endpoint begin with http://";

/// Says what to do about a connection that came to nothing for its TLS, as rustls words it.
pub(crate) fn advice_on_tls(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let told = chain(error);
    if told.contains("invalid peer certificate") {
        return Some(UNTRUSTED);
    }
    let is_plain = told.contains("received corrupt message of type InvalidContentType");
    is_plain.then_some(PLAIN)
}

impl Error {
    /// Says whether the same call may succeed a little later.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Says in one word, out of few, what went wrong: for counting.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Full { .. } => "full",
            Self::Denied { .. } => "denied",
            Self::Misconfigured { .. } => "misconfigured",
            Self::Unavailable { .. } => "unavailable",
            Self::Damaged { .. } => "damaged",
            Self::UnknownDisk { .. } => "unknown_disk",
            Self::Exists { .. } => "exists",
        }
    }

    /// Says whether the medium itself has failed to give back what it holds: a sector that can't be read, a
    /// checksum of the file system that does not hold. A network disk that is away may look the same.
    pub fn is_unreadable(&self) -> bool {
        /// `EIO`, `EBADMSG`, `EUCLEAN` of Linux.
        const CODES: [i32; 3] = [5, 74, 117];
        let Self::Unavailable { source, .. } = self else {
            return false;
        };
        let source = source.downcast_ref::<io::Error>();
        let code = source.and_then(io::Error::raw_os_error);
        code.is_some_and(|code| CODES.contains(&code))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_medium_that_fails_is_told_from_a_disk_that_is_away() {
        for (code, expected) in [
            (5, true),
            (117, true),
            (110, false),
            (2, false),
            (13, false),
        ] {
            let error = Error::from_io("d", "o", io::Error::from_raw_os_error(code));
            assert_eq!(error.is_unreadable(), expected, "{error:?}");
        }
    }
}
