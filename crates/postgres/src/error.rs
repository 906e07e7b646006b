//! Everything that can go wrong around a private cluster, each with what to do about it.

use std::io;
use std::path::PathBuf;

/// Says why a private cluster could not be found, made, started, reached or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder given as `ApiOptions::binaries` lacks `initdb` or `postgres`.
    #[error("no {program} in {}, which was given as the folder of PostgreSQL's programs", folder.display())]
    BinariesIncomplete {
        /// The program that is missing.
        program: &'static str,
        /// The folder that was given.
        folder: PathBuf,
    },
    /// A program that was found does not say which PostgreSQL it is.
    #[error("{} --version did not answer with a version of PostgreSQL: {answer}", program.display())]
    BinariesBroken {
        /// The program that was asked.
        program: PathBuf,
        /// What it answered, on one line.
        answer: String,
    },
    /// The binaries cannot read a cluster of another major version.
    #[error(
        "the cluster in {} was made by PostgreSQL {cluster}, but only {found} is there: install PostgreSQL {cluster}, or move the data over with pg_upgrade",
        directory.display()
    )]
    OtherMajor {
        /// The cluster's folder.
        directory: PathBuf,
        /// The major version that made the cluster.
        cluster: u32,
        /// The major version of the binaries that were found or given.
        found: u32,
    },
    /// No binaries are installed and none could be fetched.
    #[error(
        "no PostgreSQL{} on PATH or in /usr/lib/postgresql, and downloading it failed: install it (Debian: apt install postgresql), or set database.url",
        major.map(|major| format!(" {major}")).unwrap_or_default()
    )]
    Download {
        /// The major version that the cluster needs; any recent one when there is no cluster yet.
        major: Option<u32>,
        /// Why the download failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The path of the socket does not fit into a socket address.
    #[error(
        "{} is {length} bytes long, and a socket's path may have at most {}: choose a shorter folder",
        path.display(),
        crate::address::LONGEST_SOCKET_PATH
    )]
    PathTooLong {
        /// The socket that would be made.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// The folder's path is not UTF-8, so no URL can name it.
    #[error("{} is not valid UTF-8", path.display())]
    PathNotUtf8 {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds something else, which must not be given to another user.
    #[error("{} is not empty and holds no cluster of ours: choose a folder of its own", directory.display())]
    NotACluster {
        /// The folder.
        directory: PathBuf,
    },
    /// The cluster belongs to another user.
    #[error("the cluster in {} belongs to user {owner}: start as that user or as root", directory.display())]
    Foreign {
        /// The cluster's folder.
        directory: PathBuf,
        /// Name or number of the user that it belongs to.
        owner: String,
    },
    /// Started as root on a machine that has nobody to run Postgres as.
    #[error(
        "PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody: add one, or set database.url"
    )]
    NoAccount,
    /// The user that Postgres runs as cannot get through a folder.
    #[error(
        "user {account} cannot pass through {folder}, and PostgreSQL runs as that user: chmod o+x {folder}, or choose another place",
        folder = folder.display()
    )]
    Impassable {
        /// The first folder on the way that is closed.
        folder: PathBuf,
        /// Who Postgres runs as.
        account: String,
    },
    /// A live process owns the cluster.
    #[error("the cluster in {} is in use by process {pid}", directory.display())]
    InUse {
        /// The cluster's folder.
        directory: PathBuf,
        /// The process that started it.
        pid: String,
    },
    /// A live process owns the cluster, but it takes no connections now.
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
    /// A postmaster that outlived a killed service does not stop.
    #[error("postmaster {pid} of a service that was killed does not stop: end it by hand")]
    Orphan {
        /// The postmaster.
        pid: i32,
    },
    /// `initdb` failed; nothing of its work was kept.
    #[error("cannot make a cluster in {}: {reason}", directory.display())]
    Create {
        /// The cluster's folder.
        directory: PathBuf,
        /// The last meaningful lines that it wrote.
        reason: String,
    },
    /// Postgres ended before it took a connection.
    #[error("PostgreSQL in {} did not start: {reason}", directory.display())]
    Start {
        /// The cluster's folder.
        directory: PathBuf,
        /// The last meaningful lines that it wrote, or what it answered.
        reason: String,
    },
    /// Postgres ended although nobody had asked it to.
    #[error("PostgreSQL in {} ended by itself: {reason}", directory.display())]
    Ended {
        /// The cluster's folder.
        directory: PathBuf,
        /// The last meaningful lines that it wrote.
        reason: String,
    },
    /// Postgres did not end in time; it was stopped the hard way and recovers at its next start.
    #[error("PostgreSQL in {} did not stop within {seconds} seconds and was ended at once", directory.display())]
    Stop {
        /// The cluster's folder.
        directory: PathBuf,
        /// How long it was given, in seconds.
        seconds: u64,
    },
    /// Postgres refused a connection or a statement.
    #[error("PostgreSQL refused: {message}")]
    Refused {
        /// Its own message.
        message: String,
    },
    /// Docker has not started a container, or it did not come up.
    #[cfg(feature = "test-containers")]
    #[error("PostgreSQL did not start in Docker: is Docker there, and the image?")]
    Container {
        /// What Docker says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file, folder, process or connection failed; the source names it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Puts what was attempted before an error of the operating system.
pub(crate) fn context(error: &io::Error, attempt: impl std::fmt::Display) -> io::Error {
    io::Error::new(error.kind(), format!("{attempt}: {error}"))
}
