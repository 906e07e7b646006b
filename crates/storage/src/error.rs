//! Errors of a disk, by what the caller can do about them.

use std::fmt;
use std::io;

use holdfast_domain::error_chain::chain;

/// The underlying error of the operating system or the server.
type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a disk failed or refused an operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object does not exist.
    #[error("{object} does not exist")]
    NotFound {
        /// The object.
        object: String,
    },
    /// The disk has no space, inodes or quota left, or stores no files of that size.
    #[error("disk `{disk}` {shortage} while writing {object}")]
    Full {
        /// The disk's name.
        disk: String,
        /// The object that was written.
        object: String,
        /// What is used up.
        shortage: Shortage,
    },
    /// The disk denies access: file permissions, a read-only file system, or credentials.
    #[error("disk `{disk}` refuses access to {object}: {advice}")]
    Denied {
        /// The disk's name.
        disk: String,
        /// The object.
        object: String,
        /// What the operator should check.
        advice: String,
        /// The underlying error.
        source: Source,
    },
    /// The disk's configuration is wrong: bucket, region, certificate or clock.
    #[error("disk `{disk}` is misconfigured: {advice}")]
    Misconfigured {
        /// The disk's name.
        disk: String,
        /// What the operator should check.
        advice: String,
        /// The underlying error.
        source: Source,
    },
    /// The disk is unavailable at the moment: unmounted, broken, or its server unreachable.
    #[error("disk `{disk}` failed on {object}")]
    Unavailable {
        /// The disk's name.
        disk: String,
        /// The object.
        object: String,
        /// The underlying error.
        source: Source,
    },
    /// The object exists, but its content was changed or truncated.
    #[error("{object} on disk `{disk}` is damaged")]
    Damaged {
        /// The disk's name.
        disk: String,
        /// The object.
        object: String,
        /// What is wrong with it.
        source: Source,
    },
    /// The server did not copy the front of an object. The same object can be uploaded without
    /// [`Upload::copy_front`](crate::Upload::copy_front).
    #[error("disk `{disk}` cannot copy the front of {object}")]
    CopyFailed {
        /// The disk's name.
        disk: String,
        /// The object that was to be copied from.
        object: String,
        /// Whether the object is missing, or other than expected.
        is_object_bad: bool,
        /// What the server answered, or what is wrong with the copy.
        source: Source,
    },
    /// No disk of that name is configured on this node.
    #[error("no disk named `{disk}` is configured on this node")]
    UnknownDisk {
        /// The requested name.
        disk: String,
    },
    /// An object with that key exists already.
    #[error("{object} already exists on disk `{disk}`")]
    Exists {
        /// The disk's name.
        disk: String,
        /// The object that was to be written.
        object: String,
    },
}

/// What a disk ran out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// The disk has no free bytes.
    Space,
    /// The file system can store no more files and folders, although it has free bytes.
    Inodes,
    /// The quota of the service's user or group: of bytes or of inodes.
    Quota,
    /// The file system, the limit `ulimit -f` or the bucket allows no object of that size.
    FileSize,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Space => "is full",
            Self::Inodes => {
                "has no free inodes (its file system can store no more files; delete some, or make \
                 a file system with more inodes)"
            }
            Self::Quota => "has no quota left for the service's user (of bytes or of inodes)",
            Self::FileSize => {
                "can't store so large an object (a limit of its file system, of `ulimit -f` or of \
                 the bucket)"
            }
        })
    }
}

/// The advice for a server whose certificate no trusted authority signed.
const UNTRUSTED: &str = "the certificate of its server is not trusted: set ca_file to the \
     certificate of the authority that signed it, and check endpoint and this machine's clock";

/// The advice for a server without TLS.
const NOT_TLS: &str =
    "its server does not use TLS on this port: check the port, or begin endpoint with http://";

/// Returns advice if the error is a failed TLS handshake. Recognizes the messages of rustls.
pub(crate) fn tls_advice(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let message = chain(error);
    if message.contains("invalid peer certificate") {
        return Some(UNTRUSTED);
    }
    let is_plain = message.contains("received corrupt message of type InvalidContentType");
    is_plain.then_some(NOT_TLS)
}

impl Error {
    /// Returns whether the same call may succeed later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::CopyFailed { .. })
    }

    /// Returns the kind of the error as a label for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Full { .. } => "full",
            Self::Denied { .. } => "denied",
            Self::Misconfigured { .. } => "misconfigured",
            Self::Unavailable { .. } => "unavailable",
            Self::Damaged { .. } => "damaged",
            Self::CopyFailed { .. } => "copy_failed",
            Self::UnknownDisk { .. } => "unknown_disk",
            Self::Exists { .. } => "exists",
        }
    }

    /// Returns whether the hardware failed to return stored data: an unreadable sector, or a
    /// mismatched checksum of the file system. An unreachable network file system may look the
    /// same.
    pub fn is_unreadable(&self) -> bool {
        /// `EIO`, `EBADMSG` and `EUCLEAN` of Linux.
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
            io::ErrorKind::StorageFull => Self::Full {
                disk,
                object,
                shortage: Shortage::Space,
            },
            io::ErrorKind::QuotaExceeded => Self::Full {
                disk,
                object,
                shortage: Shortage::Quota,
            },
            io::ErrorKind::FileTooLarge => Self::Full {
                disk,
                object,
                shortage: Shortage::FileSize,
            },
            io::ErrorKind::AlreadyExists => Self::Exists { disk, object },
            kind @ (io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
                let advice = match kind {
                    io::ErrorKind::ReadOnlyFilesystem => {
                        "its file system is read-only; Linux does that after an error of the \
                         hardware, which `dmesg` shows: repair it, and mount it again"
                    }
                    _ => "the service's user must be able to write there",
                };
                Self::Denied {
                    disk,
                    object,
                    advice: advice.to_owned(),
                    source: source.into(),
                }
            }
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
    fn hardware_errors_are_distinguished_from_an_unreachable_disk() {
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
