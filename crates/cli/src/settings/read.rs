//! Turns texts and numbers into checked settings, collecting whatever is wrong on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::layers::{DISKS, Layers};
use super::values::{Reader, is_name};
use super::{
    AuthSettings, DatabaseSettings, DiskDriver, DownloadSettings, HttpSettings, LimitSettings,
    LogFormat, LogSettings, MetricsSettings, Problems, Settings, StorageSettings, VerifySettings,
    WorkerSettings,
};

/// The greatest size, in bytes, that the database can hold.
const HUGE: u64 = i64::MAX.unsigned_abs();

/// Reads all settings; returns with them the keys that were looked at.
pub(super) fn settings(
    config_files: &[PathBuf],
    environment: impl IntoIterator<Item = (String, String)>,
    data: &Path,
) -> Result<(Settings, BTreeSet<String>), Problems> {
    let mut layers = Layers::new();
    for path in config_files {
        layers.file(path);
    }
    layers.environment(environment);
    let Layers {
        entries, problems, ..
    } = layers;
    let mut reader = Reader {
        entries,
        problems,
        looked_at: BTreeSet::new(),
    };
    let settings = reader.settings(data);
    let Reader {
        problems,
        looked_at,
        ..
    } = reader;
    match settings {
        Some(settings) if problems.is_empty() => Ok((settings, looked_at)),
        _ => Err(Problems(problems)),
    }
}

// Each function first reads everything, so that every problem is noted, and only then gives up.
impl Reader {
    fn settings(&mut self, data: &Path) -> Option<Settings> {
        let http = self.http();
        let database = self.database();
        let auth = self.auth();
        let downloads = self.downloads();
        let limits = self.limits();
        let retention = self.retention();
        let maintenance = self.maintenance();
        let storage = self.storage(data);
        let verify = self.verify(storage.as_ref());
        let worker = self.worker(storage.as_ref());
        let metrics = self.metrics();
        let power = self.power();
        let log = self.log();
        Some(Settings {
            http: http?,
            database: database?,
            auth: auth?,
            downloads: downloads?,
            limits: limits?,
            retention: retention?,
            maintenance: maintenance?,
            storage: storage?,
            verify: verify?,
            worker: worker?,
            metrics: metrics?,
            power: power?,
            log: log?,
        })
    }

    fn http(&mut self) -> Option<HttpSettings> {
        let listen = self.text("http.listen");
        let listen = listen.and_then(|text| self.address("http.listen", &text));
        let public_url = self.web_url("http.public_url");
        let trusted_proxies = self.networks("http.trusted_proxies");
        let max_body_bytes = self
            .number("http.max_body_bytes", 1024..=(1 << 30))
            .and_then(NonZeroUsize::new);
        let request_timeout = self.number("http.request_timeout_seconds", 1..=600);
        let keep_alive = self.number("http.keep_alive_seconds", 1..=600);
        let max_connections = self
            .number("http.max_connections", 16..=1_000_000)
            .and_then(NonZeroUsize::new);
        let hsts_seconds = self.number("http.hsts_seconds", 0..=63_072_000);
        let rate_limit_per_minute = self.number("http.rate_limit_per_minute", 0..=1_000_000);
        let event_streams = self.number("http.event_streams", 0..=1_000_000);
        let event_streams_per_key = self.number("http.event_streams_per_key", 0..=1_000_000);
        Some(HttpSettings {
            request_timeout: Duration::from_secs(request_timeout?),
            keep_alive: Duration::from_secs(keep_alive?),
            max_connections: max_connections?,
            hsts_seconds: hsts_seconds?,
            event_streams: event_streams?,
            event_streams_per_key: event_streams_per_key?,
            rate_limit_per_minute: rate_limit_per_minute?,
            listen: listen?,
            public_url: public_url?,
            trusted_proxies: trusted_proxies?,
            max_body_bytes: max_body_bytes?,
        })
    }

    fn database(&mut self) -> Option<DatabaseSettings> {
        let url = self.secret("database.url", |url| {
            let is_postgres =
                |url: &reqwest::Url| matches!(url.scheme(), "postgres" | "postgresql");
            if reqwest::Url::parse(url).is_ok_and(|url| is_postgres(&url)) {
                Ok(())
            } else {
                Err("must be a URL such as postgres://user:password@host/database".to_owned())
            }
        });
        // Two of them listen, one for the API and one for the worker.
        let max_connections = self
            .number("database.max_connections", 4..=1000)
            .and_then(NonZeroU32::new);
        Some(DatabaseSettings {
            url: url?,
            max_connections: max_connections?,
        })
    }

    fn auth(&mut self) -> Option<AuthSettings> {
        let long_enough = |key: &str| match key.len() {
            32.. => Ok(()),
            length => Err(format!("must have at least 32 bytes, not {length}")),
        };
        let signing_key = self.secret("auth.signing_key", long_enough);
        let previous_signing_keys = self.secrets("auth.previous_signing_keys", long_enough);
        Some(AuthSettings {
            signing_key: signing_key?,
            previous_signing_keys: previous_signing_keys?,
        })
    }

    fn downloads(&mut self) -> Option<DownloadSettings> {
        let ttl = self.number::<u64>("downloads.ttl_seconds", 1..=86_400);
        let public_url = self.web_url("downloads.public_url");
        let accel_path = self.text("downloads.accel_path").and_then(|path| {
            let path = path.trim_end_matches('/').to_owned();
            if path.is_empty() {
                return Some(None);
            }
            if path.starts_with('/') && !path.contains(['?', '#', ' ', '\r', '\n']) {
                return Some(Some(path));
            }
            let message = format!("must be a path such as /archives, not `{path}`");
            self.wrong("downloads.accel_path", message)
        });
        Some(DownloadSettings {
            ttl: Duration::from_secs(ttl?),
            public_url: public_url?,
            accel_path: accel_path?,
        })
    }

    fn limits(&mut self) -> Option<LimitSettings> {
        let backups_per_server = self.number("limits.backups_per_server", 0..=10_000);
        let create_throttle_count = self.number("limits.create_throttle_count", 0..=10_000);
        let create_throttle_seconds =
            self.number("limits.create_throttle_seconds", 1..=366 * 24 * 3600);
        let max_backup_bytes = self
            .number("limits.max_backup_bytes", 1..=HUGE)
            .and_then(NonZeroU64::new);
        let max_ignored_bytes = self
            .number("limits.max_ignored_bytes", 1..=(1 << 20))
            .and_then(NonZeroUsize::new);
        let quota_bytes_per_server = self.number("limits.quota_bytes_per_server", 0..=HUGE);
        let disk_reserve_bytes = self.number("limits.disk_reserve_bytes", 0..=HUGE);
        let jobs_per_node = self.number("limits.jobs_per_node", 0..=10_000);
        let jobs_per_disk = self.number("limits.jobs_per_disk", 0..=10_000);
        Some(LimitSettings {
            jobs_per_node: jobs_per_node?,
            jobs_per_disk: jobs_per_disk?,
            quota_bytes_per_server: quota_bytes_per_server?,
            disk_reserve_bytes: disk_reserve_bytes?,
            create_throttle_count: create_throttle_count?,
            create_throttle_seconds: create_throttle_seconds?,
            backups_per_server: backups_per_server?,
            max_backup_bytes: max_backup_bytes?,
            max_ignored_bytes: max_ignored_bytes?,
        })
    }

    fn storage(&mut self, data: &Path) -> Option<StorageSettings> {
        let names: BTreeSet<String> = self
            .entries
            .keys()
            .filter_map(|key| Some(key.strip_prefix(DISKS)?.split_once('.')?.0.to_owned()))
            .collect();
        let mut disks = BTreeMap::new();
        for name in &names {
            if let Some(disk) = self.disk(name, data) {
                disks.insert(name.clone(), disk);
            }
        }
        self.refuse_shared_places(&disks);
        let default = self.text("storage.default").and_then(|default| {
            if names.contains(&default) {
                return Some(default);
            }
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let there_is = names.join(", ");
            self.wrong(
                "storage.default",
                format!("names no disk: there is {there_is}, not `{default}`"),
            )
        });
        (disks.len() == names.len()).then_some(())?;
        Some(StorageSettings {
            default: default?,
            disks,
        })
    }

    fn verify(&mut self, storage: Option<&StorageSettings>) -> Option<VerifySettings> {
        const DAY_SECONDS: u64 = 86_400;
        let days = self.number::<u64>("verify.every_days", 0..=3650);
        let except = self.list("verify.except_disks")?;
        for name in &except {
            if storage.is_some_and(|storage| !storage.disks.contains_key(name)) {
                let message = format!("there is no disk `{name}`");
                return self.wrong("verify.except_disks", message);
            }
        }
        let days = days?;
        Some(VerifySettings {
            every: (days > 0).then(|| Duration::from_secs(days * DAY_SECONDS)),
            except_disks: except,
        })
    }

    fn worker(&mut self, storage: Option<&StorageSettings>) -> Option<WorkerSettings> {
        let node = self.text("worker.node").and_then(|node| {
            let allowed =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            if is_name(&node, 64, allowed) {
                return Some(node);
            }
            let rule = "must have 1 to 64 characters out of A-Z, a-z, 0-9, ., _ and -";
            self.wrong("worker.node", format!("{rule}, not `{node}`"))
        });
        let concurrency = self
            .number("worker.concurrency", 1..=64)
            .and_then(NonZeroUsize::new);
        let compression_level = self.number("worker.compression_level", 0..=9);
        let threads = self.number::<usize>("worker.compression_threads", 0..=256);
        let read_limit = self.number::<u64>("worker.read_limit_bytes_per_second", 0..=HUGE);
        let lease = self.number::<u64>("worker.lease_seconds", 5..=600);
        let staging_dir = self.staging_dir(storage);
        let roots = self.list("worker.roots");
        let roots: Option<Vec<PathBuf>> = roots.and_then(|roots| {
            roots
                .iter()
                .map(|root| self.absolute("worker.roots", Path::new(root)))
                .collect()
        });
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Some(WorkerSettings {
            node: node?,
            concurrency: concurrency?,
            compression_level: compression_level?,
            compression_threads: threads?.try_into().unwrap_or(cores),
            read_limit_bytes_per_second: read_limit?.try_into().ok(),
            lease: Duration::from_secs(lease?),
            staging_dir: staging_dir?,
            roots: roots?,
        })
    }

    /// Staging below a disk would be taken for archives.
    fn staging_dir(&mut self, storage: Option<&StorageSettings>) -> Option<Option<PathBuf>> {
        let key = "worker.staging_dir";
        let text = self.text(key)?;
        if text.is_empty() {
            return Some(None);
        }
        let path = self.absolute(key, Path::new(&text))?;
        for (name, disk) in storage.iter().flat_map(|storage| &storage.disks) {
            let DiskDriver::Local { root } = &disk.driver else {
                continue;
            };
            if path.starts_with(root) {
                let root = root.display();
                return self.wrong(
                    key,
                    format!("must not lie in {root}, the folder of disk {name}"),
                );
            }
        }
        Some(Some(path))
    }

    fn metrics(&mut self) -> Option<MetricsSettings> {
        let allowed_networks = self.networks("metrics.allowed_networks");
        let listen = self
            .text("metrics.listen")
            .and_then(|text| match text.is_empty() {
                true => Some(None),
                false => self.address("metrics.listen", &text).map(Some),
            });
        let servers = self.number("metrics.servers", 0..=1_000_000);
        Some(MetricsSettings {
            allowed_networks: allowed_networks?,
            listen: listen?,
            servers: servers?,
        })
    }

    /// An address and a port to listen on.
    fn address(&mut self, key: &str, text: &str) -> Option<SocketAddr> {
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) => self.wrong(
                key,
                format!("must be an address and a port such as 127.0.0.1:8080, not `{text}`"),
            ),
        }
    }

    fn log(&mut self) -> Option<LogSettings> {
        let format = self
            .text("log.format")
            .and_then(|text| match text.as_str() {
                "human" => Some(LogFormat::Human),
                "json" => Some(LogFormat::Json),
                _ => self.wrong("log.format", format!("must be human or json, not `{text}`")),
            });
        let filter =
            self.text("log.filter")
                .and_then(|text| match EnvFilter::builder().parse(&text) {
                    Ok(_) if !text.trim().is_empty() => Some(text),
                    Ok(_) => {
                        self.wrong("log.filter", "must be set, for example to info".to_owned())
                    }
                    Err(error) => {
                        self.wrong("log.filter", format!("`{text}` is no log filter: {error}"))
                    }
                });
        let otlp_endpoint = self.web_url("log.otlp_endpoint");
        Some(LogSettings {
            otlp_endpoint: otlp_endpoint?,
            format: format?,
            filter: filter?,
        })
    }
}
