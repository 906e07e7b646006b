//! Reads the options of the API: `http`, `downloads`, `limits`, `backup`, `schedules`, and where
//! servers may lie.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_api::{AllowedHosts, ApiOptions, StreamLimits};
use holdfast_domain::limit::Throttle;
use holdfast_domain::{DirectoryRules, NodeName};
use holdfast_worker::power::Power;

use super::values::SettingsReader;
use super::{DiskDriver, HttpSettings, StorageSettings, WingsSettings};

/// The greatest size that the database can store, in bytes.
pub(super) const BYTES_MAX: u64 = i64::MAX.unsigned_abs();

// Each method reads all of its values before it returns, so that every problem is found.
impl SettingsReader {
    pub(super) fn http(&mut self) -> Option<HttpSettings> {
        let listen = self.socket_address("http.listen");
        let rate_limit_per_minute = self.number("http.rate_limit_per_minute", 0..=1_000_000);
        let event_streams = self.number("http.event_streams", 0..=1_000_000);
        let event_streams_per_key = self.number("http.event_streams_per_key", 0..=1_000_000);
        Some(HttpSettings {
            listen: listen?,
            rate_limit_per_minute: rate_limit_per_minute?,
            streams: StreamLimits {
                in_all: event_streams?,
                by_key: event_streams_per_key?,
            },
        })
    }

    pub(super) fn api(
        &mut self,
        storage: Option<&StorageSettings>,
        power: Option<&Power>,
        wings: Option<&WingsSettings>,
    ) -> Option<ApiOptions> {
        let public_url = self.optional_url("http.public_url");
        let mut allowed_hosts = self.allowed_hosts();
        let trusted_proxies = self.networks("http.trusted_proxies");
        let max_body_bytes = self.number("http.max_body_bytes", 1024..=(1 << 30));
        let request_timeout = self.seconds("http.request_timeout_seconds", 1..=600);
        let keep_alive = self.seconds("http.keep_alive_seconds", 1..=600);
        let max_connections = self.number("http.max_connections", 16..=1_000_000);
        let hsts_seconds = self.number("http.hsts_seconds", 0..=63_072_000);

        let download_ttl_seconds = self.number("downloads.ttl_seconds", 1..=86_400);
        let downloads_public_url = self.optional_url("downloads.public_url");
        let downloads_accel_path = self.accel_path();

        let backups_per_server = self.number("limits.backups_per_server", 0..=10_000);
        let throttle_count = self.number("limits.create_throttle_count", 0..=10_000);
        let throttle_seconds = self.number("limits.create_throttle_seconds", 1..=366 * 24 * 3600);
        let max_backup_bytes = self.number("limits.max_backup_bytes", 1..=BYTES_MAX);
        let max_ignored_bytes = self.number("limits.max_ignored_bytes", 1..=(1 << 20));
        let quota_bytes_per_server = self.number("limits.quota_bytes_per_server", 0..=BYTES_MAX);
        let disk_reserve_bytes = self.number("limits.disk_reserve_bytes", 0..=BYTES_MAX);

        let reuse = self.optional_bool("backup.reuse");
        let reread_every = self.number("backup.reread_every", 0..=10_000);

        let timezone = self.timezone("schedules.timezone");

        if let Some(hosts) = &mut allowed_hosts
            && !hosts.is_empty()
        {
            for url in [&public_url, &downloads_public_url].into_iter().flatten() {
                add_host(hosts, url.as_deref());
            }
        }

        let node = self.node();
        let directory_rules = self.directory_rules(storage, wings);
        Some(ApiOptions {
            public_url: public_url?,
            downloads_public_url: downloads_public_url?,
            downloads_accel_path: downloads_accel_path?,
            allowed_hosts: allowed_hosts?,
            trusted_proxies: trusted_proxies?,
            max_body_bytes: max_body_bytes?,
            request_timeout: request_timeout?,
            keep_alive: keep_alive?,
            max_connections: max_connections?,
            hsts_seconds: hsts_seconds?,
            backups_per_server: backups_per_server?,
            create_throttle: Throttle {
                count: throttle_count?,
                seconds: throttle_seconds?,
            },
            reuse: reuse?.unwrap_or(true),
            reread_every: reread_every?,
            max_backup_bytes: max_backup_bytes?,
            quota_bytes_per_server: quota_bytes_per_server?,
            disk_reserve_bytes: disk_reserve_bytes?,
            max_ignored_bytes: max_ignored_bytes?,
            download_ttl_seconds: download_ttl_seconds?,
            timezone: timezone?,
            power_support: power?.support(),
            node: node?,
            directory_rules: directory_rules?,
            wings: wings.map(|wings| Arc::clone(&wings.node)),
            wings_has_listener: wings.is_some_and(|wings| wings.listen.is_some()),
        })
    }

    fn allowed_hosts(&mut self) -> Option<AllowedHosts> {
        let key = "http.allowed_hosts";
        let mut hosts = AllowedHosts::default();
        for text in self.list(key)? {
            if !hosts.add(&text) {
                let rule = "must be host names or addresses without a port, such as \
                            backups.example.com, *.example.com or 192.0.2.1";
                return self.reject(key, format!("{rule}, not `{text}`"));
            }
        }
        Some(hosts)
    }

    fn accel_path(&mut self) -> Option<Option<String>> {
        let text = self.string("downloads.accel_path")?;
        let path = text.trim_end_matches('/');
        if path.is_empty() {
            return Some(None);
        }
        if path.starts_with('/') && !path.contains(['?', '#', ' ', '\r', '\n']) {
            return Some(Some(path.to_owned()));
        }
        let message = format!("must be a path such as /archives, not `{path}`");
        self.reject("downloads.accel_path", message)
    }

    fn node(&mut self) -> Option<NodeName> {
        let text = self.string("worker.node")?;
        match NodeName::parse(&text) {
            Ok(node) => Some(node),
            Err(_) => {
                let rule = "must be 1 to 64 characters (A-Z, a-z, 0-9, ., _ and -), and not start \
                            with `.`";
                self.reject("worker.node", format!("{rule}, not `{text}`"))
            }
        }
    }

    /// Reads where server directories may lie: below `worker.roots`, and not on a disk.
    fn directory_rules(
        &mut self,
        storage: Option<&StorageSettings>,
        wings: Option<&WingsSettings>,
    ) -> Option<DirectoryRules> {
        let roots = self.list("worker.roots")?;
        let roots: Option<Vec<PathBuf>> = roots
            .iter()
            .map(|root| self.absolute_path("worker.roots", Path::new(root)))
            .collect();
        let local_disks = storage?.disks.iter().filter_map(|(name, disk)| {
            let DiskDriver::Local(options) = &disk.driver else {
                return None;
            };
            Some((name.clone(), options.root.clone()))
        });
        Some(DirectoryRules {
            roots: roots?,
            disks: local_disks.collect(),
            wings_data: wings.map(|wings| wings.node.data.clone()),
        })
    }
}

/// Adds the host of one of the service's own URLs, which links lead to.
fn add_host(hosts: &mut AllowedHosts, url: Option<&str>) {
    let url = url.and_then(|url| reqwest::Url::parse(url).ok());
    if let Some(host) = url.as_ref().and_then(|url| url.host_str()) {
        hosts.add(host);
    }
}
