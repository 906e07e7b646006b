//! All settings, read once at the start and passed on as plain values.
//!
//! No other part of the project reads settings or environment variables. All problems are reported
//! at once, with the names of the settings: see [`SettingsError`].
//!
//! A new setting needs three edits: its key in `config/default.toml`, its reader here, and the code
//! that uses it. So the readers fill the options of the crates directly.

mod api;
mod disks;
mod groups;
mod layers;
mod panel_auth;
mod power;
mod problem;
mod read;
mod retention;
mod schedules;
mod secret;
mod values;
mod wings;
mod worker;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use holdfast_api::{ApiOptions, PanelAuthOptions, StreamLimits};
use holdfast_domain::DiskName;
use holdfast_storage::{Encryption, GcsOptions, LocalOptions, S3Options};
use holdfast_worker::WorkerOptions;

pub use problem::{SettingProblem, SettingSource, SettingsError};
pub use secret::SecretString;
pub use wings::WingsSettings;

/// The checked settings of one process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The API's socket, and limits of this process.
    pub http: HttpSettings,
    /// The database.
    pub database: DatabaseSettings,
    /// The keys that sign tokens, and the panel whose credentials are accepted.
    pub auth: AuthSettings,
    /// The disks.
    pub storage: StorageSettings,
    /// The options of the API: most of `http`, and `downloads`, `limits`, `backup` and `schedules`.
    pub api: ApiOptions,
    /// The options of the worker: `worker`, `verify`, `power`, `retention` and `maintenance`.
    pub worker: WorkerOptions,
    /// The panel's daemon beside which this service runs; `None` if there is no panel.
    pub wings: Option<WingsSettings>,
    /// The metrics.
    pub metrics: MetricsSettings,
    /// The log.
    pub log: LogSettings,
}

/// The API's socket, and limits of this process.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Address and port to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Requests per minute for each API key; 0 for no limit.
    pub rate_limit_per_minute: u32,
    /// The number of event streams.
    pub streams: StreamLimits,
}

/// Access to metrics.
#[derive(Clone, Debug)]
pub struct MetricsSettings {
    /// Networks that may read metrics.
    pub allowed_networks: Vec<IpNet>,
    /// A separate address for metrics; `None` for the API's address alone.
    pub listen: Option<SocketAddr>,
    /// The number of servers with a metric for their last backup.
    pub servers: u32,
}

/// The database.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    /// Its URL; `None` for a private cluster in the data folder.
    pub url: Option<SecretString>,
    /// The maximum number of connections of one process.
    pub max_connections: NonZeroU32,
}

/// The keys that sign tokens, and the panel whose credentials are accepted.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// The current key, at least 32 bytes; `None` for a generated one in the data folder.
    pub signing_key: Option<SecretString>,
    /// Earlier keys, whose links stay valid.
    pub previous_signing_keys: Vec<SecretString>,
    /// The panel whose credentials are accepted; `None` for none.
    pub panel: Option<PanelAuthOptions>,
}

/// The disks.
#[derive(Clone, Debug)]
pub struct StorageSettings {
    /// The disk for new backups, one of `disks`.
    pub default: DiskName,
    /// Every disk by its name.
    pub disks: BTreeMap<DiskName, DiskSettings>,
}

impl StorageSettings {
    /// Returns the disks that every node reaches: those in buckets.
    pub fn shared_disks(&self) -> Vec<DiskName> {
        let shared = self.disks.iter().filter(|(_, disk)| match disk.driver {
            DiskDriver::Local(_) => false,
            DiskDriver::S3(_) | DiskDriver::Gcs(_) => true,
        });
        shared.map(|(name, _)| name.clone()).collect()
    }
}

/// A disk: a place for archives.
#[derive(Clone, Debug)]
pub struct DiskSettings {
    /// The kind of disk, with its options.
    pub driver: DiskDriver,
    /// The encryption keys; `None` when nothing on the disk is encrypted.
    pub encryption: Option<Encryption>,
}

/// The kinds of disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskDriver {
    /// A folder of this machine.
    Local(LocalOptions),
    /// A bucket of an S3-compatible server.
    S3(Box<S3Options>),
    /// A bucket of Google Cloud Storage.
    Gcs(Box<GcsOptions>),
}

/// The log.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// The format of log lines.
    pub format: LogFormat,
    /// The directives of a `tracing_subscriber::EnvFilter`, checked.
    pub filter: String,
    /// The URL of an OTLP collector for spans, without a final slash; `None` to send no spans.
    pub otlp_endpoint: Option<String>,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

impl Settings {
    /// Reads the defaults, then each file in order, then the environment, and checks the result.
    ///
    /// Only names in `environment` that start with `HOLDFAST__` are read. Relative paths are
    /// relative to the current directory. `data` is the data folder, which contains the disk
    /// `local` by default.
    ///
    /// # Errors
    /// [`SettingsError`] with every problem.
    pub fn load(
        config_files: &[PathBuf],
        environment: impl IntoIterator<Item = (String, String)>,
        data: &Path,
    ) -> Result<Self, SettingsError> {
        read::settings(config_files, environment, data).map(|(settings, _)| settings)
    }
}

/// Returns the environment variables of this process that are settings, for [`Settings::load`].
///
/// Bytes that are not UTF-8 are replaced by `U+FFFD`, which most settings reject.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into(),
                value.to_string_lossy().into(),
            )
        })
        .filter(|(name, _): &(String, String)| name.starts_with(problem::PREFIX))
        .collect()
}

#[cfg(test)]
mod tests;
