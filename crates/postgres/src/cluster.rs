//! Making, starting, asking and stopping a cluster.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::address::{Address, PORT, ROLE};
use crate::binaries::{self, Binaries};
use crate::guard::Guard;
use crate::log::Log;
use crate::owner::Owner;
use crate::wire::{self, Refusal, Rows};
use crate::{Error, PostgresOptions, folder, postmaster};

/// How long a start may take, and how long one that recovers from a crash.
const START: Duration = Duration::from_secs(30);
const RECOVERY: Duration = Duration::from_secs(120);
/// How long backends of a killed postmaster may take to notice and let go of its memory.
const LEFT_OVERS: Duration = Duration::from_secs(10);
/// How long a fast shutdown may take, and then an immediate one.
const STOP: Duration = Duration::from_secs(20);
const STOP_AT_ONCE: Duration = Duration::from_secs(10);

/// A running cluster that this process owns.
///
/// Dropped without [`stop`](Self::stop), or when the process dies, it shuts down by itself: fast,
/// and after 20 seconds at once.
#[derive(Debug)]
pub struct PrivatePostgres {
    address: Address,
    directory: PathBuf,
    guard: Guard,
    log: Log,
    _owner: Owner,
}

/// What making and starting have in common.
struct Plan<'a> {
    options: &'a PostgresOptions,
    directory: PathBuf,
    data: PathBuf,
    address: Address,
    account: Account,
    binaries: Binaries,
}

impl PrivatePostgres {
    /// Starts the cluster of a folder, after making it if it is missing, and returns when it takes
    /// connections: within 30 seconds, or 120 while Postgres says that it recovers.
    ///
    /// A postmaster that a killed service left behind there is stopped first.
    ///
    /// # Errors
    /// Any kind of [`Error`] but `NotReady`, `Ended` and `Stop`; nothing half made is left behind.
    pub async fn start(options: &PostgresOptions) -> Result<Self, Error> {
        let directory = std::path::absolute(&options.directory)?;
        let address = Address::of(&directory)?;
        let data = directory.join("data");
        let account = Account::choose(&directory, &data)?;
        let major = folder::major_of(&data);
        let binaries = binaries::find(options.binaries.as_deref(), &directory, major).await?;
        folder::prepare(&directory, binaries.folder(), &account)?;
        let owner = Owner::take(&directory, &account).await?;
        folder::clear_unfinished(&directory)?;
        let mut log = Log::begin(&directory)?;
        let plan = Plan {
            options,
            directory,
            data,
            address,
            account,
            binaries,
        };
        if plan.data.exists() {
            postmaster::stop_orphan(&plan.data, &plan.address).await?;
            folder::adopt(&plan.directory, &plan.data, &plan.account)?;
        } else {
            plan.create(&mut log).await?;
        }
        let guard = plan.launch(&mut log).await?;
        tracing::debug!(
            directory = %plan.directory.display(),
            binaries = %plan.binaries.folder().display(),
            account = plan.account.name,
            "PostgreSQL takes connections"
        );
        let Plan {
            directory, address, ..
        } = plan;
        Ok(Self {
            address,
            directory,
            guard,
            log,
            _owner: owner,
        })
    }

    /// Writes the URL of one of its databases; see [`Address::url`].
    pub fn url(&self, database: &str) -> String {
        self.address.url(database)
    }

    /// Names the cluster by its socket, to keep beyond this value.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Runs one or more statements in a database and returns their rows, every value as text.
    ///
    /// For what must happen before sqlx is there, such as making a database or applying migrations.
    ///
    /// # Errors
    /// [`Error::Refused`] with the server's message, or what the connection says.
    pub async fn query(&self, database: &str, statements: &str) -> Result<Rows, Error> {
        wire::connect(&self.address, database)
            .await??
            .query(statements)
            .await
    }

    /// Waits for Postgres to end by itself, which it should not, and says why it did.
    ///
    /// It may be dropped and called again, as in a `select!` beside a service's other work.
    pub async fn ended(&mut self) -> Error {
        match self.guard.wait().await {
            Ok(_) => self.end(),
            Err(error) => error,
        }
    }

    /// Shuts Postgres down, fast, and waits until it is gone: up to 20 seconds, then it is ended at
    /// once and recovers at its next start.
    ///
    /// # Errors
    /// [`Error::Stop`] when it had to be ended at once, [`Error::Ended`] when it was not running.
    pub async fn stop(mut self) -> Result<(), Error> {
        if self.guard.ended()?.is_some() {
            let error = self.end();
            // The guard itself may have been killed, and Postgres still be there.
            postmaster::stop_orphan(&self.directory.join("data"), &self.address).await?;
            return Err(error);
        }
        self.guard.signal("INT").await;
        if let Ok(status) = tokio::time::timeout(STOP, self.guard.wait()).await {
            return if status?.success() {
                Ok(())
            } else {
                Err(self.end())
            };
        }
        self.guard.signal("QUIT").await;
        if tokio::time::timeout(STOP_AT_ONCE, self.guard.wait())
            .await
            .is_err()
        {
            self.guard.signal("KILL").await;
            self.guard.wait().await?;
        }
        Err(Error::Stop {
            directory: self.directory,
            seconds: STOP.as_secs(),
        })
    }

    fn end(&self) -> Error {
        Error::Ended {
            directory: self.directory.clone(),
            reason: self.log.reason(),
        }
    }
}

impl Plan<'_> {
    /// Makes the cluster beside its place and renames it there.
    async fn create(&self, log: &mut Log) -> Result<(), Error> {
        let unfinished =
            self.directory
                .join(format!("{}{}", folder::UNFINISHED, std::process::id()));
        // Minimal systems may lack the locale; C sorts alike and only folds fewer cases.
        let mut result = self.initialise(&unfinished, "C.UTF-8", log).await;
        if matches!(&result, Err(Error::Create { reason, .. }) if reason.contains("locale")) {
            result = self.initialise(&unfinished, "C", log).await;
        }
        if let Err(error) = result {
            folder::clear_unfinished(&self.directory)?;
            return Err(error);
        }
        fs_err::rename(&unfinished, &self.data)?;
        if self.options.durable {
            fs_err::File::open(&self.directory)?.sync_all()?;
        }
        Ok(())
    }

    async fn initialise(&self, place: &Path, locale: &str, log: &mut Log) -> Result<(), Error> {
        log.mark();
        let place = place.to_string_lossy();
        let locale = format!("--locale={locale}");
        let mut arguments = vec![
            "-D", &place, "-U", ROLE, "-A", "trust", "-E", "UTF8", &locale,
        ];
        if !self.options.durable {
            arguments.push("--no-sync");
        }
        let initdb = self.binaries.initdb();
        let mut guard = Guard::spawn(&self.account, &log.path, &initdb, arguments)?;
        if guard.wait().await?.success() {
            return Ok(());
        }
        Err(Error::Create {
            directory: self.directory.clone(),
            reason: log.reason(),
        })
    }

    /// Starts Postgres; tries again while the memory of a killed postmaster is still held.
    async fn launch(&self, log: &mut Log) -> Result<Guard, Error> {
        let begun = Instant::now();
        loop {
            match self.launch_once(log).await {
                Err(Error::Start { reason, .. })
                    if reason.contains("pre-existing shared memory block")
                        && begun.elapsed() < LEFT_OVERS =>
                {
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn launch_once(&self, log: &mut Log) -> Result<Guard, Error> {
        log.mark();
        let postgres = self.binaries.postgres();
        let mut guard = Guard::spawn(&self.account, &log.path, &postgres, self.arguments())?;
        let failed = |reason| Error::Start {
            directory: self.directory.clone(),
            reason,
        };
        let begun = Instant::now();
        loop {
            if guard.ended()?.is_some() {
                return Err(failed(log.reason()));
            }
            let (limit, state) = match wire::connect(&self.address, ROLE).await {
                Ok(Ok(_)) => return Ok(guard),
                // Somebody dropped the database of that name, which is theirs to do.
                Ok(Err(Refusal { code, .. })) if code == "3D000" => return Ok(guard),
                Ok(Err(Refusal { code, message })) if code == "57P03" => (RECOVERY, message),
                Ok(Err(Refusal { message, .. })) => return Err(failed(message)),
                Err(error) => (START, error.to_string()),
            };
            if begun.elapsed() > limit {
                let seconds = limit.as_secs();
                return Err(failed(format!("not within {seconds} seconds: {state}")));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn arguments(&self) -> Vec<String> {
        // The setting is a list, hence the quotes.
        let socket = format!("\"{}\"", self.address.folder().replace('"', "\"\""));
        let port = PORT.to_string();
        let mut settings = vec![
            ("listen_addresses", ""),
            ("unix_socket_directories", &socket),
            ("unix_socket_permissions", "0700"),
            ("port", &port),
            // The guard's log is read for reasons, in English.
            ("logging_collector", "off"),
            ("log_destination", "stderr"),
            ("lc_messages", "C"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
        ];
        if !self.options.durable {
            settings.extend([
                ("fsync", "off"),
                ("synchronous_commit", "off"),
                ("full_page_writes", "off"),
                // Tests run side by side, each with a pool of its own.
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
