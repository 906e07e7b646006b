//! Reads the options of the worker: `worker`, `verify`, `retention`, `maintenance`,
//! `schedules.default`, and its part of `limits`.

use std::collections::BTreeMap;
use std::num::{NonZeroU8, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_api::ApiOptions;
use holdfast_db::jobs::ConcurrencyLimits;
use holdfast_domain::DiskName;
use holdfast_storage::LocalOptions;
use holdfast_worker::power::Power;
use holdfast_worker::{IoClass, Priority, SwapMethod, WingsOptions, WorkerOptions};

use super::api::BYTES_MAX;
use super::values::SettingsReader;
use super::{DiskDriver, StorageSettings, WingsSettings};

// Each method reads all of its values before it returns, so that every problem is found.
impl SettingsReader {
    /// Reads the options of the worker. Those that it shares with the API come from `api`.
    pub(super) fn worker(
        &mut self,
        api: Option<&ApiOptions>,
        storage: Option<&StorageSettings>,
        power: Option<Power>,
        wings: Option<&WingsSettings>,
    ) -> Option<WorkerOptions> {
        let concurrency = self.number("worker.concurrency", 1..=64);
        let concurrency_limits = self.concurrency_limits(storage);
        let compression_level = self.number("worker.compression_level", 0..=9);
        let threads = self.number::<usize>("worker.compression_threads", 0..=256);
        let read_limit = self.nonzero("worker.read_limit_bytes_per_second", 0..=BYTES_MAX);
        let xattrs = self.optional_bool("worker.xattrs");
        let nice = self.number("worker.nice", 0..=19);
        let io_class = self.io_class();
        let yield_above = self.number("worker.yield_above_percent", 0..=100);
        let lease = self.seconds("worker.lease_seconds", 5..=600);
        let job_limit = self.seconds("limits.job_seconds", 0..=31_536_000);
        let staging_dir = self.staging_dir(storage);
        let swap = self.swap(power.as_ref());
        let verify_every = self.verify_every(storage);
        let maintenance = self.maintenance(api);
        let default_schedule = self.default_schedule(api);
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let api = api?;
        let downloads_url = api.downloads_public_url.as_ref();
        Some(WorkerOptions {
            node: api.node.clone(),
            downloads_url: downloads_url.or(api.public_url.as_ref()).cloned(),
            concurrency: concurrency?,
            concurrency_limits: concurrency_limits?,
            lease: lease?,
            job_limit: job_limit.map(|limit| (!limit.is_zero()).then_some(limit))?,
            compression_level: compression_level?,
            compression_threads: NonZeroUsize::new(threads?).unwrap_or(cores).get(),
            read_limit_bytes_per_second: read_limit?,
            priority: Priority {
                nice: nice?,
                io_class: io_class?,
            },
            yield_above_percent: NonZeroU8::new(yield_above?),
            proc: PathBuf::from("/proc"),
            reuse: api.reuse,
            reread_every: api.reread_every,
            xattrs: xattrs?.unwrap_or(false),
            scans_ahead: Duration::ZERO,
            verify_every: verify_every?,
            max_backup_bytes: api.max_backup_bytes,
            max_ignored_bytes: api.max_ignored_bytes,
            quota_bytes_per_server: api.quota_bytes_per_server,
            disk_reserve_bytes: api.disk_reserve_bytes,
            staging_dir: staging_dir?,
            swap: swap?,
            power: power?,
            directory_rules: api.directory_rules.clone(),
            maintenance: maintenance?,
            default_schedule: default_schedule?,
            wings: wings.map(|wings| WingsOptions {
                node: Arc::clone(&wings.node),
                forget_after: wings.forget_after,
                sync_every: wings.sync_every,
            }),
        })
    }

    fn io_class(&mut self) -> Option<Option<IoClass>> {
        let key = "worker.io_class";
        match self.string(key)?.as_str() {
            "idle" => Some(Some(IoClass::Idle)),
            "best-effort" => Some(Some(IoClass::BestEffort)),
            "none" => Some(None),
            other => {
                let message = format!("must be idle, best-effort or none, not `{other}`");
                self.reject(key, message)
            }
        }
    }

    fn swap(&mut self, power: Option<&Power>) -> Option<SwapMethod> {
        let key = "worker.swap";
        match self.string(key)?.parse::<SwapMethod>() {
            // Wings and its containers may have the directory open.
            Ok(SwapMethod::Auto) if matches!(power, Some(Power::Wings(_))) => {
                Some(SwapMethod::Children)
            }
            Ok(method) => Some(method),
            Err(error) => self.reject(key, error.to_string()),
        }
    }

    fn concurrency_limits(
        &mut self,
        storage: Option<&StorageSettings>,
    ) -> Option<ConcurrencyLimits> {
        let per_node = self.number("limits.jobs_per_node", 0..=10_000);
        let per_disk = self.number("limits.jobs_per_disk", 0..=10_000);
        Some(ConcurrencyLimits {
            per_node: per_node?,
            per_disk: per_disk?,
            shared_disks: storage?.shared_disks(),
        })
    }

    /// Reads how often the archives of each disk are verified; a disk that is not in the result is
    /// only verified on request.
    fn verify_every(
        &mut self,
        storage: Option<&StorageSettings>,
    ) -> Option<BTreeMap<DiskName, Duration>> {
        let interval = self.days("verify.every_days", 0..=3650);
        let except = self.list("verify.except_disks")?;
        let storage = storage?;
        let is_known = |text: &str| storage.disks.keys().any(|name| name.as_str() == text);
        if let Some(unknown) = except.iter().find(|name| !is_known(name)) {
            let message = format!("there is no disk `{unknown}`");
            return self.reject("verify.except_disks", message);
        }
        let interval = interval?;
        if interval.is_zero() {
            return Some(BTreeMap::new());
        }
        let names = storage.disks.keys().cloned();
        let verified = names.filter(|name| !except.iter().any(|other| other == name.as_str()));
        Some(verified.map(|name| (name, interval)).collect())
    }

    /// Reads the staging folder. It must not lie on a disk, which would list its files as archives.
    fn staging_dir(&mut self, storage: Option<&StorageSettings>) -> Option<Option<PathBuf>> {
        let key = "worker.staging_dir";
        let text = self.string(key)?;
        if text.is_empty() {
            return Some(None);
        }
        let path = self.absolute_path(key, Path::new(&text))?;
        for (name, disk) in &storage?.disks {
            let DiskDriver::Local(LocalOptions { root, .. }) = &disk.driver else {
                continue;
            };
            if path.starts_with(root) {
                let root = root.display();
                let message = format!("must not be in {root}, the folder of disk {name}");
                return self.reject(key, message);
            }
        }
        Some(Some(path))
    }
}
