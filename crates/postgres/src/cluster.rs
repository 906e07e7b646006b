//! Creates, starts, queries and stops a cluster.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::address::{Address, PORT, ROLE};
use crate::binaries::{self, Binaries};
use crate::child::GuardedChild;
use crate::connection::{self, TextRows};
use crate::log::Log;
use crate::ownership::OwnerLock;
use crate::user::ClusterUser;
use crate::{Error, PostgresOptions, folder, postmaster};

/// How long a start may take.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a start may take while Postgres reports that it recovers from a crash.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the backends of a killed postmaster may keep its shared memory.
const SHARED_MEMORY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a fast shutdown may take.
const FAST_STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an immediate shutdown may take after that.
const IMMEDIATE_STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// SQLSTATE `cannot_connect_now`: Postgres is starting up or shutting down.
const CANNOT_CONNECT_NOW: &str = "57P03";
/// SQLSTATE `invalid_catalog_name`: there is no such database.
const NO_SUCH_DATABASE: &str = "3D000";

/// The words of `initdb` about a user ID without a name.
const NO_ACCOUNT: &str = "could not look up effective user ID";

/// A running cluster that this process owns.
///
/// If it is dropped without [`stop`](Self::stop), or the process dies, Postgres shuts down by
/// itself: a fast shutdown, and after 20 seconds an immediate one.
#[derive(Debug)]
pub struct PrivatePostgres {
    plan: StartPlan,
    child: GuardedChild,
    log: Log,
    _lock: OwnerLock,
}

/// The values that creating and starting a cluster share.
#[derive(Debug)]
struct StartPlan {
    options: PostgresOptions,
    directory: PathBuf,
    data: PathBuf,
    address: Address,
    user: ClusterUser,
    binaries: Binaries,
}

impl PrivatePostgres {
    /// Starts the cluster of a folder, and creates it first if it is missing. Returns when it
    /// accepts connections: within 30 seconds, or 120 while Postgres reports that it recovers.
    ///
    /// The postmaster of a killed service in that folder is stopped first.
    ///
    /// # Errors
    /// Any [`Error`] except `NotReady`, `Ended` and `Stop`. No incomplete cluster is left behind.
    pub async fn start(options: &PostgresOptions) -> Result<Self, Error> {
        let directory = std::path::absolute(&options.directory)?;
        let address = Address::new(&directory)?;
        let data = directory.join("data");
        let user = ClusterUser::choose(&directory, &data)?;
        let major = folder::major_of(&data);
        let binaries = binaries::find(options.binaries.as_deref(), &directory, major).await?;
        folder::prepare(&directory, binaries.folder(), &user)?;
        let lock = OwnerLock::acquire(&directory, &user).await?;
        folder::clear_unfinished(&directory)?;
        let mut log = Log::open(&directory)?;
        let plan = StartPlan {
            options: options.clone(),
            directory,
            data,
            address,
            user,
            binaries,
        };
        if plan.data.exists() {
            postmaster::stop_orphan(&plan.data, &plan.address).await?;
            folder::repair_owner(&plan.directory, &plan.data, &plan.user)?;
        } else {
            plan.create(&mut log).await?;
        }
        let child = plan.launch(&mut log).await?;
        tracing::debug!(
            directory = %plan.directory.display(),
            binaries = %plan.binaries.folder().display(),
            user = plan.user.name,
            "PostgreSQL accepts connections"
        );
        Ok(Self {
            plan,
            child,
            log,
            _lock: lock,
        })
    }

    /// Returns the URL of one of its databases; see [`Address::url`].
    pub fn url(&self, database: &str) -> String {
        self.plan.address.url(database)
    }

    /// Returns the address of the cluster.
    pub fn address(&self) -> &Address {
        &self.plan.address
    }

    /// Runs one or more statements in a database and returns their rows, every value as text.
    ///
    /// # Errors
    /// [`Error::Refused`] with the server's message, or [`Error::Connection`].
    pub async fn query(&self, database: &str, statements: &str) -> Result<TextRows, Error> {
        let mut connection = connection::connect(&self.plan.address, database).await?;
        connection::query(&mut connection, statements).await
    }

    /// Waits until Postgres ends unexpectedly, and returns the reason.
    ///
    /// The future can be dropped and created again, as in a `select!`.
    pub async fn ended(&mut self) -> Error {
        match self.child.wait().await {
            Ok(_) => self.ended_error(),
            Err(error) => error,
        }
    }

    /// Starts Postgres again, after it has ended unexpectedly, at the same address. Returns when it
    /// accepts connections, as [`start`](Self::start) does.
    ///
    /// # Errors
    /// [`Error::Start`] if it ends again, [`Error::Orphan`] if the old one does not stop.
    pub async fn restart(&mut self) -> Result<(), Error> {
        // If the guard script was killed, Postgres may still be running.
        postmaster::stop_orphan(&self.plan.data, &self.plan.address).await?;
        self.child = self.plan.launch(&mut self.log).await?;
        Ok(())
    }

    /// Shuts Postgres down, and waits until it has ended. A fast shutdown may take 20 seconds.
    /// After that, Postgres is terminated, and recovers at its next start.
    ///
    /// # Errors
    /// [`Error::Stop`] if it was terminated, [`Error::Ended`] if it was not running.
    pub async fn stop(mut self) -> Result<(), Error> {
        if self.child.ended()?.is_some() {
            let error = self.ended_error();
            // If the guard script was killed, Postgres may still be running.
            postmaster::stop_orphan(&self.plan.data, &self.plan.address).await?;
            return Err(error);
        }
        self.child.signal("INT").await;
        if let Ok(status) = tokio::time::timeout(FAST_STOP_TIMEOUT, self.child.wait()).await {
            return if status?.success() {
                Ok(())
            } else {
                Err(self.ended_error())
            };
        }
        self.child.signal("QUIT").await;
        if tokio::time::timeout(IMMEDIATE_STOP_TIMEOUT, self.child.wait())
            .await
            .is_err()
        {
            self.child.signal("KILL").await;
            self.child.wait().await?;
        }
        Err(Error::Stop {
            directory: self.plan.directory,
            seconds: FAST_STOP_TIMEOUT.as_secs(),
        })
    }

    fn ended_error(&self) -> Error {
        Error::Ended {
            directory: self.plan.directory.clone(),
            reason: self.log.reason(),
        }
    }
}

impl StartPlan {
    /// Creates the cluster under a temporary name, and renames it.
    async fn create(&self, log: &mut Log) -> Result<(), Error> {
        let unfinished = self.directory.join(format!(
            "{}{}",
            folder::UNFINISHED_PREFIX,
            std::process::id()
        ));
        // Minimal systems may lack the locale. C sorts the same, but only folds ASCII letters.
        let mut result = self.run_initdb(&unfinished, "C.UTF-8", log).await;
        if matches!(&result, Err(Error::Create { reason, .. }) if reason.contains("locale")) {
            result = self.run_initdb(&unfinished, "C", log).await;
        }
        if let Err(error) = result {
            folder::clear_unfinished(&self.directory)?;
            return Err(match error {
                Error::Create { reason, .. } if reason.contains(NO_ACCOUNT) => {
                    self.user.no_account()
                }
                error => error,
            });
        }
        fs_err::rename(&unfinished, &self.data)?;
        if self.options.durable {
            folder::sync(&self.directory)?;
        }
        Ok(())
    }

    async fn run_initdb(&self, data: &Path, locale: &str, log: &mut Log) -> Result<(), Error> {
        log.mark();
        let data = data.to_string_lossy();
        let locale = format!("--locale={locale}");
        let mut arguments = vec![
            "-D", &data, "-U", ROLE, "-A", "trust", "-E", "UTF8", &locale,
        ];
        if !self.options.durable {
            arguments.push("--no-sync");
        }
        let initdb = self.binaries.initdb();
        let mut child = GuardedChild::spawn(&self.user, &log.path, &initdb, arguments)?;
        if child.wait().await?.success() {
            return Ok(());
        }
        Err(Error::Create {
            directory: self.directory.clone(),
            reason: log.reason(),
        })
    }

    /// Starts Postgres. Tries again while a killed postmaster's shared memory is still in use.
    async fn launch(&self, log: &mut Log) -> Result<GuardedChild, Error> {
        let begun = Instant::now();
        loop {
            match self.launch_once(log).await {
                Err(Error::Start { reason, .. })
                    if reason.contains("pre-existing shared memory block")
                        && begun.elapsed() < SHARED_MEMORY_TIMEOUT =>
                {
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn launch_once(&self, log: &mut Log) -> Result<GuardedChild, Error> {
        log.mark();
        let postgres = self.binaries.postgres();
        let mut child = GuardedChild::spawn(&self.user, &log.path, &postgres, self.arguments())?;
        let failed = |reason| Error::Start {
            directory: self.directory.clone(),
            reason,
        };
        let begun = Instant::now();
        loop {
            if child.ended()?.is_some() {
                return Err(failed(log.reason()));
            }
            let result = connection::connect(&self.address, ROLE).await;
            let (timeout, state) = match result.map_err(Error::from) {
                Ok(_) => return Ok(child),
                // The database can be dropped by the user. The server is ready all the same.
                Err(Error::Refused { code, .. }) if code == NO_SUCH_DATABASE => return Ok(child),
                Err(Error::Refused { code, message }) if code == CANNOT_CONNECT_NOW => {
                    (RECOVERY_TIMEOUT, message)
                }
                Err(Error::Refused { message, .. }) => return Err(failed(message)),
                Err(error) => (START_TIMEOUT, error_chain(&error)),
            };
            if begun.elapsed() > timeout {
                let seconds = timeout.as_secs();
                return Err(failed(format!("not within {seconds} seconds: {state}")));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn arguments(&self) -> Vec<String> {
        // The value of unix_socket_directories is a list of quoted paths.
        let socket = format!("\"{}\"", self.address.folder().replace('"', "\"\""));
        let port = PORT.to_string();
        let mut settings = vec![
            ("listen_addresses", ""),
            ("unix_socket_directories", &socket),
            ("unix_socket_permissions", "0700"),
            ("port", &port),
            // The log is searched for English words; see `log.rs`.
            ("logging_collector", "off"),
            ("log_destination", "stderr"),
            ("dynamic_shared_memory_type", shared_memory_type()),
            ("lc_messages", "C"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
        ];
        if !self.options.durable {
            settings.extend([
                ("fsync", "off"),
                ("synchronous_commit", "off"),
                ("full_page_writes", "off"),
                // Tests run concurrently, each with a connection pool.
                ("max_connections", "300"),
            ]);
        }
        let mut arguments = vec!["-D".to_owned(), self.data.to_string_lossy().into_owned()];
        for (name, value) in settings {
            arguments.extend(["-c".to_owned(), format!("{name}={value}")]);
        }
        arguments
    }
}

/// Returns where parallel queries exchange rows: in `/dev/shm`, or in files of the cluster if
/// `/dev/shm` is missing or as small as in some containers.
fn shared_memory_type() -> &'static str {
    const BYTES_MIN: u64 = 16 << 20;
    match rustix::fs::statvfs("/dev/shm") {
        // A total of zero means that there is no limit.
        Ok(shm) if shm.f_blocks == 0 || shm.f_blocks * shm.f_frsize >= BYTES_MIN => "posix",
        _ => "mmap",
    }
}

/// Joins an error and its sources.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
