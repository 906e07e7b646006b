//! Everything that can be set, read once at the start and passed on as plain values.
//!
//! Nothing else in the project reads settings or environment variables. Whatever is wrong with them
//! is collected and told at once, with the names that the reader would change: see [`Problems`].

mod disks;
mod layers;
mod power;
mod problem;
mod read;
mod retention;
mod secret;
mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use holdfast_domain::retention::RetentionPolicy;
use holdfast_storage::{Encryption, GcsOptions, S3Options};
use holdfast_worker::power::Power;
pub use layers::SettingSource;
pub use problem::{Problem, Problems};
pub use secret::SecretString;

/// The settings of one process, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the API is reached.
    pub http: HttpSettings,
    /// Which database is used.
    pub database: DatabaseSettings,
    /// What tokens are signed with.
    pub auth: AuthSettings,
    /// How download links look.
    pub downloads: DownloadSettings,
    /// What a server may use.
    pub limits: LimitSettings,
    /// How long backups stay.
    pub retention: RetentionPolicy,
    /// What is done without being asked for.
    pub maintenance: MaintenanceSettings,
    /// Where archives are kept.
    pub storage: StorageSettings,
    /// How often archives are read back.
    pub verify: VerifySettings,
    /// How jobs run.
    pub worker: WorkerSettings,
    /// Who sees figures, and where.
    pub metrics: MetricsSettings,
    /// How servers are stopped before they are restored.
    pub power: Power,
    /// What is logged, and how.
    pub log: LogSettings,
}

/// How the API is reached.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Address and port to listen on; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// Base URL for links, without a slash at its end; `None` to take it from each request.
    pub public_url: Option<String>,
    /// Networks whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The largest request body that is read, in bytes.
    pub max_body_bytes: NonZeroUsize,
    /// How long a request may take to come in.
    pub request_timeout: Duration,
    /// How long a connection without a request is kept.
    pub keep_alive: Duration,
    /// How many connections there may be.
    pub max_connections: NonZeroUsize,
    /// For how long browsers are told to come by TLS alone, in seconds; 0 to say nothing.
    pub hsts_seconds: u32,
    /// How many requests one key may make in a minute; 0 for any number.
    pub rate_limit_per_minute: u32,
    /// How many streams of events this process keeps open.
    pub event_streams: usize,
    /// How many of those one key may have.
    pub event_streams_per_key: usize,
}

/// Who sees figures, and where.
#[derive(Clone, Debug)]
pub struct MetricsSettings {
    /// Networks whose callers may see them.
    pub allowed_networks: Vec<IpNet>,
    /// An address that only they are served on; `None` for that of the API alone.
    pub listen: Option<SocketAddr>,
    /// For how many servers the last backup is shown.
    pub servers: u32,
}

/// Which database is used.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    /// Its URL; `None` for a private cluster in the data folder.
    pub url: Option<SecretString>,
    /// How many connections one process opens at most.
    pub max_connections: NonZeroU32,
}

/// What tokens are signed with.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// The key, at least 32 bytes; `None` to make one and keep it in the data folder.
    pub signing_key: Option<SecretString>,
    /// Keys that have signed before, whose links stay good.
    pub previous_signing_keys: Vec<SecretString>,
}

/// How download links look.
#[derive(Clone, Debug)]
pub struct DownloadSettings {
    /// How long a link is good for, in whole seconds.
    pub ttl: Duration,
    /// Base URL of links, without a slash at its end; `None` for that of the API.
    pub public_url: Option<String>,
    /// Below which path a proxy hands out the files of local disks, without a slash at its end; `None` when none
    /// does.
    pub accel_path: Option<String>,
}

/// What a server may use when its own record does not say.
#[derive(Clone, Debug)]
pub struct LimitSettings {
    /// How many backups it may have; 0 for none at all.
    pub backups_per_server: u32,
    /// How many backups it may ask for in `create_throttle_seconds`; 0 for any number.
    pub create_throttle_count: u32,
    /// The span of time of that, in seconds.
    pub create_throttle_seconds: u32,
    /// The largest archive, in bytes.
    pub max_backup_bytes: NonZeroU64,
    /// All its archives together, in bytes; 0 for no quota.
    pub quota_bytes_per_server: u64,
    /// What is kept free on a disk, in bytes.
    pub disk_reserve_bytes: u64,
    /// How many jobs that move archives run at once on a node, over all its workers; 0 for any number.
    pub jobs_per_node: u32,
    /// The same with a disk.
    pub jobs_per_disk: u32,
    /// The longest list of ignored files, in bytes.
    pub max_ignored_bytes: NonZeroUsize,
}

/// What is done without being asked for, and how long things stay.
#[derive(Clone, Copy, Debug)]
pub struct MaintenanceSettings {
    /// How often what takes little is done.
    pub interval: Duration,
    /// How often whole disks are compared with the database; zero for never.
    pub sweep_interval: Duration,
    /// How old something must be that nobody needs to be removed.
    pub orphan_age: Duration,
    /// How long jobs stay that have ended.
    pub jobs: Duration,
    /// How long those stay that have failed for good, and the lines about maintenance.
    pub failed_jobs: Duration,
    /// How long the audit log's lines stay; `None` for ever.
    pub activity: Option<Duration>,
}

/// Where archives are kept.
#[derive(Clone, Debug)]
pub struct StorageSettings {
    /// The disk that new backups go to, one of `disks`.
    pub default: String,
    /// Every disk by its name.
    pub disks: BTreeMap<String, DiskSettings>,
}

/// One place for archives.
#[derive(Clone, Debug)]
pub struct DiskSettings {
    /// What kind of place it is.
    pub driver: DiskDriver,
    /// The keys of what is encrypted there; `None` when nothing is.
    pub encryption: Option<Encryption>,
}

/// The kinds of places for archives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskDriver {
    /// A folder of this machine.
    Local {
        /// Its absolute path.
        root: PathBuf,
    },
    /// A bucket of a server that speaks S3.
    S3(Box<S3Options>),
    /// A bucket at Google.
    Gcs(Box<GcsOptions>),
}

/// How often archives are read back.
#[derive(Clone, Debug)]
pub struct VerifySettings {
    /// After how long each is; `None` for only when somebody asks.
    pub every: Option<Duration>,
    /// The disks of which that does not hold.
    pub except_disks: Vec<String>,
}

/// How jobs run.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// The node whose jobs this worker takes.
    pub node: String,
    /// How many jobs run at once.
    pub concurrency: NonZeroUsize,
    /// The level of gzip, from 0 to 9.
    pub compression_level: u32,
    /// How many threads one job compresses with; the number of cores when it was set to 0.
    pub compression_threads: NonZeroUsize,
    /// How fast one job reads servers' files, or an archive to verify, in bytes a second; `None` for no limit.
    pub read_limit_bytes_per_second: Option<NonZeroU64>,
    /// How long a job stays with a worker that gives no sign of life, in whole seconds.
    pub lease: Duration,
    /// The absolute folder that archives are unpacked in; `None` for beside the server's folder.
    pub staging_dir: Option<PathBuf>,
    /// Absolute folders that servers must lie in; empty when nothing was said.
    pub roots: Vec<PathBuf>,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// How lines look.
    pub format: LogFormat,
    /// Which lines are written: directives of `tracing_subscriber::EnvFilter` that it takes.
    pub filter: String,
    /// Where spans are sent, without a slash at its end; `None` for nowhere.
    pub otlp_endpoint: Option<String>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person at a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

impl Settings {
    /// Reads the defaults, then each file in order, then the environment, and checks the result.
    ///
    /// Of `environment` only names that begin with `HOLDFAST__` count. Relative paths are taken from
    /// the current directory; `data` is the data folder, below which defaults lie.
    ///
    /// # Errors
    /// [`Problems`] with everything that is wrong, never only the first.
    pub fn load(
        config_files: &[PathBuf],
        environment: impl IntoIterator<Item = (String, String)>,
        data: &Path,
    ) -> Result<Self, Problems> {
        read::settings(config_files, environment, data).map(|(settings, _)| settings)
    }
}

/// Takes the variables of this process that are settings, for [`Settings::load`].
///
/// What is not UTF-8 is replaced by question marks and so refused by most settings, not by a panic.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into(),
                value.to_string_lossy().into(),
            )
        })
        .filter(|(name, _): &(String, String)| name.starts_with(layers::PREFIX))
        .collect()
}

#[cfg(test)]
mod tests;
