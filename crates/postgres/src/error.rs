//! The errors of a private cluster. Each text says what to do.

use std::io;
use std::path::PathBuf;

/// An error of a private cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder [`PostgresOptions::binaries`](crate::PostgresOptions::binaries) lacks `initdb` or
    /// `postgres`.
    #[error(
        "no {program} in {}, the folder given for PostgreSQL's programs",
        folder.display()
    )]
    BinariesIncomplete {
        /// The program that is missing.
        program: &'static str,
        /// The folder that was given.
        folder: PathBuf,
    },
    /// `postgres --version` did not print a version.
    #[error(
        "{} --version did not print a version of PostgreSQL: {output}",
        program.display()
    )]
    BinariesBroken {
        /// The program.
        program: PathBuf,
        /// Its output or error, on one line.
        output: String,
    },
    /// The binaries cannot read a cluster of another major version.
    #[error(
        "the cluster in {} was made by PostgreSQL {cluster}, but only {found} is installed: \
         install PostgreSQL {cluster}, or upgrade the cluster with pg_upgrade",
        directory.display()
    )]
    OtherMajor {
        /// The cluster's folder.
        directory: PathBuf,
        /// The major version that created the cluster.
        cluster: u32,
        /// The major version of the binaries.
        found: u32,
    },
    /// No binaries are installed, and the download failed.
    #[error(
        "no PostgreSQL{} on PATH or in /usr/lib/postgresql, and downloading it failed: \
         install it (Debian: apt install postgresql), or set database.url",
        major.map(|major| format!(" {major}")).unwrap_or_default()
    )]
    Download {
        /// The major version that the cluster needs; `None` if there is no cluster yet.
        major: Option<u32>,
        /// Why the download failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The path of the socket is too long.
    #[error(
        "{} is {length} bytes long, and a socket's path may have at most {}: choose a shorter \
         folder",
        path.display(),
        crate::address::SOCKET_PATH_MAX
    )]
    PathTooLong {
        /// The path of the socket.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// The folder's path is not UTF-8, so it cannot be part of a URL.
    #[error("{} is not valid UTF-8", path.display())]
    PathNotUtf8 {
        /// The folder.
        path: PathBuf,
    },
    /// The folder contains other files, whose owner must not be changed.
    #[error(
        "{} is not empty and contains no PostgreSQL cluster of Holdfast: choose another folder",
        directory.display()
    )]
    NotACluster {
        /// The folder.
        directory: PathBuf,
    },
    /// The cluster belongs to another user.
    #[error(
        "the cluster in {} belongs to user {owner}: start as that user or as root",
        directory.display()
    )]
    Foreign {
        /// The cluster's folder.
        directory: PathBuf,
        /// The name or ID of the owner.
        owner: String,
    },
    /// This process is root, and there is no other user to run Postgres as.
    #[error(
        "PostgreSQL refuses to run as root, and there is no user postgres or nobody: \
         add one, or set database.url"
    )]
    NoUser,
    /// `initdb` looks its user up by name, and the user ID of this process has none.
    #[error(
        "this process runs as user ID {uid}, which has no entry in /etc/passwd, and PostgreSQL's \
         initdb needs one: add the line `holdfast:x:{uid}:{gid}::/:/bin/false` to that file (in a \
         container: mount such a file), start as another user, or set database.url"
    )]
    NoAccount {
        /// The user ID.
        uid: u32,
        /// The group ID.
        gid: u32,
    },
    /// The file system stores no owners or modes.
    #[error(
        "the file system of {} does not store owners and modes of files (FAT, exFAT and some \
         network file systems), so PostgreSQL cannot use it: choose a folder on another one, or \
         set database.url",
        directory.display()
    )]
    NoModes {
        /// The cluster's folder.
        directory: PathBuf,
    },
    /// The user that Postgres runs as has no search permission for a folder.
    #[error(
        "PostgreSQL runs as user {user}, who cannot enter {folder}: \
         chmod o+x {folder}, or choose another place",
        folder = folder.display()
    )]
    Inaccessible {
        /// The first folder of the path without permission.
        folder: PathBuf,
        /// The user that Postgres runs as.
        user: String,
    },
    /// A running process owns the cluster.
    #[error(
        "the cluster in {} is in use by process {pid}: stop that process first",
        directory.display()
    )]
    InUse {
        /// The cluster's folder.
        directory: PathBuf,
        /// The process that owns it.
        pid: String,
    },
    /// A running process owns the cluster, but it does not accept connections now.
    #[error(
        "the cluster in {} is being started or stopped by process {pid}: try again in a moment",
        directory.display()
    )]
    NotReady {
        /// The cluster's folder.
        directory: PathBuf,
        /// The process that owns it.
        pid: String,
    },
    /// The postmaster of a killed service does not stop.
    #[error("PostgreSQL process {pid} of a killed service does not stop: kill it manually")]
    Orphan {
        /// The process ID of the postmaster.
        pid: i32,
    },
    /// `initdb` failed, and its files were removed.
    #[error("cannot create a cluster in {}: {reason}", directory.display())]
    Create {
        /// The cluster's folder.
        directory: PathBuf,
        /// The last relevant lines of its log.
        reason: String,
    },
    /// Postgres ended before it accepted a connection.
    #[error("PostgreSQL in {} did not start: {reason}", directory.display())]
    Start {
        /// The cluster's folder.
        directory: PathBuf,
        /// The last relevant lines of its log, or the error of the connection.
        reason: String,
    },
    /// Postgres ended unexpectedly.
    #[error("PostgreSQL in {} ended unexpectedly: {reason}", directory.display())]
    Ended {
        /// The cluster's folder.
        directory: PathBuf,
        /// The last relevant lines of its log.
        reason: String,
    },
    /// Postgres did not stop in time. It was terminated, and recovers at its next start.
    #[error(
        "PostgreSQL in {} did not stop within {seconds} seconds and was terminated",
        directory.display()
    )]
    Stop {
        /// The cluster's folder.
        directory: PathBuf,
        /// The time limit, in seconds.
        seconds: u64,
    },
    /// Postgres refused a connection or a statement.
    #[error("PostgreSQL refused: {message} ({code})")]
    Refused {
        /// The message of the server.
        message: String,
        /// The SQLSTATE of the message.
        code: String,
    },
    /// A connection to Postgres failed.
    #[error("the connection to PostgreSQL failed")]
    Connection {
        /// The cause.
        source: sqlx::Error,
    },
    /// Docker did not start the container.
    #[cfg(feature = "test-containers")]
    #[error("PostgreSQL did not start in Docker: check that Docker runs and has the image")]
    Container {
        /// The error of Docker.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An operation on a file, folder or process failed; the text names it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<sqlx::Error> for Error {
    fn from(source: sqlx::Error) -> Self {
        match source.as_database_error() {
            Some(refusal) => Self::Refused {
                message: refusal.message().to_owned(),
                code: refusal.code().unwrap_or_default().into_owned(),
            },
            None => Self::Connection { source },
        }
    }
}

/// Adds the attempted operation to an error of the operating system.
pub(crate) fn context(error: &io::Error, attempt: impl std::fmt::Display) -> io::Error {
    io::Error::new(error.kind(), format!("{attempt}: {error}"))
}
