//! Backups on every kind of disk, and disks that fail.

mod failures;
mod life_cycle;
mod reuse;
mod unfinished_uploads;
mod unmounted;

use holdfast_domain::DiskName;
use holdfast_storage::{Disk, PartialUpload, S3Keys, S3Options, ServerSideEncryption, StorageKey};

use crate::support::app::{App, Setting};
use crate::support::proxy::{Fault, Proxy};
use crate::support::s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use crate::support::{files, skipped};

/// The smallest allowed parts, so that small servers have archives of several parts.
const PART_BYTES: u64 = S3Options::PART_BYTES_MIN;

/// A bucket, as the settings of the service's default disk `offsite` name it.
#[derive(Clone)]
pub(crate) struct Bucket {
    endpoint: String,
    name: String,
    prefix: String,
    region: String,
    access_key: String,
    secret_key: String,
}

impl Bucket {
    /// The bucket of s3s-fs, reached at `endpoint`.
    pub(crate) fn at(endpoint: String) -> Self {
        Self {
            endpoint,
            name: BUCKET.to_owned(),
            prefix: "panel".to_owned(),
            region: "us-east-1".to_owned(),
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
        }
    }

    /// The bucket of the server that the environment names, as `scripts/with-ceph` sets it.
    fn outside() -> Option<Self> {
        let variable = |name: &str| std::env::var(format!("HOLDFAST_TEST_S3_{name}")).ok();
        let Some(endpoint) = variable("ENDPOINT") else {
            skipped("HOLDFAST_TEST_S3_ENDPOINT is not set; scripts/with-ceph sets it");
            return None;
        };
        Some(Self {
            endpoint,
            name: variable("BUCKET").unwrap(),
            prefix: format!("panel-{:08x}", rand::random::<u32>()),
            region: variable("REGION").unwrap(),
            access_key: variable("ACCESS_KEY").unwrap(),
            secret_key: variable("SECRET_KEY").unwrap(),
        })
    }

    pub(crate) fn settings(&self) -> [Setting<'_>; 9] {
        [
            ("storage.default", "offsite"),
            ("storage.disks.offsite.driver", "s3"),
            ("storage.disks.offsite.endpoint", &self.endpoint),
            ("storage.disks.offsite.bucket", &self.name),
            ("storage.disks.offsite.prefix", &self.prefix),
            ("storage.disks.offsite.region", &self.region),
            ("storage.disks.offsite.access_key_id", &self.access_key),
            ("storage.disks.offsite.secret_access_key", &self.secret_key),
            ("storage.disks.offsite.part_size_bytes", "5242880"),
        ]
    }

    /// The disk, past the service.
    fn disk(&self) -> Disk {
        let options = S3Options {
            bucket: self.name.clone(),
            region: self.region.clone(),
            endpoint: Some(self.endpoint.clone()),
            public_endpoint: None,
            ca_bundle: None,
            prefix: format!("{}/", self.prefix),
            keys: Some(S3Keys {
                access_key_id: self.access_key.clone(),
                secret_access_key: self.secret_key.clone(),
            }),
            is_path_style: true,
            encryption: ServerSideEncryption::Bucket,
            has_checksums: true,
            part_size_bytes: PART_BYTES,
        };
        Disk::s3(DiskName::parse("past").unwrap(), options)
    }

    /// The same bucket, reached through a proxy.
    pub(crate) fn through(&self, proxy: &Proxy) -> Self {
        Self {
            endpoint: proxy.endpoint(),
            ..self.clone()
        }
    }

    /// The address of its server, for a proxy in front of it.
    fn address(&self) -> std::net::SocketAddr {
        let address = self.endpoint.strip_prefix("http://").unwrap();
        address.parse().unwrap()
    }

    /// Starts a service on it, without a worker.
    pub(crate) async fn service(&self) -> App {
        App::without_worker(&self.settings()).await
    }
}

/// All complete objects of a disk.
async fn stored(disk: &Disk) -> Vec<StorageKey> {
    let mut listing = disk.list(None);
    let mut found = Vec::new();
    while let Some(page) = listing.next_page().await.unwrap() {
        found.extend(page.into_iter().map(|object| object.key));
    }
    found
}

/// The leftovers of unfinished uploads on a disk.
async fn partials(disk: &Disk) -> Vec<PartialUpload> {
    let mut listing = disk.partials();
    let mut found = Vec::new();
    while let Some(page) = listing.next_page().await.unwrap() {
        found.extend(page);
    }
    found
}

async fn read(disk: &Disk, key: StorageKey) -> Vec<u8> {
    let mut reader = disk.read(key, 0..u64::MAX).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    bytes
}

/// The parts of unfinished uploads, which s3s-fs shows only in its folder.
pub(crate) fn parts(server: &S3Server) -> usize {
    let files = files::files_below(server.folder());
    let is_part = |name: &&String| name.contains(".part-");
    files.iter().filter(is_part).count()
}

/// The complete objects in a server's bucket.
pub(crate) fn objects(server: &S3Server) -> Vec<String> {
    files::files_below(&server.folder().join(BUCKET))
}

/// Creates a server's directory whose archive has several parts.
pub(crate) fn make_server(app: &App) {
    files::make_server(&app.directory);
    let region = app.directory.join("world/region/r.1.1.mca");
    files::write(&region, &files::noise(16_000_000, 7));
}

/// A proxy that passes everything, until it is configured otherwise.
pub(crate) async fn open_proxy(server: &S3Server) -> Proxy {
    Proxy::start(server.address, |_, _| Fault::None).await
}
