//! Reads the storage settings: the default disk, and the tables `[storage.disks.NAME]`.

mod buckets;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use holdfast_domain::DiskName;
use holdfast_storage::{Encryption, LocalOptions};

use super::layers::DISKS;
use super::values::SettingsReader;
use super::{DiskDriver, DiskSettings, SecretString, StorageSettings, groups};

/// The drivers, each with the fields of its table beside `driver` and [`ENCRYPTION_FIELDS`].
const DRIVERS: [(&str, &[&str]); 3] = [
    ("local", &["root", "group"]),
    (
        "s3",
        &[
            "bucket",
            "region",
            "endpoint",
            "public_endpoint",
            "ca_file",
            "prefix",
            "access_key_id",
            "access_key_id_file",
            "secret_access_key",
            "secret_access_key_file",
            "path_style",
            "sse",
            "sse_kms_key_id",
            "checksums",
            "part_size_bytes",
        ],
    ),
    (
        "gcs",
        &[
            "bucket",
            "endpoint",
            "ca_file",
            "prefix",
            "service_account_file",
        ],
    ),
];
/// The fields that a disk with any driver can have.
const ENCRYPTION_FIELDS: [&str; 4] = [
    "encryption",
    "age_recipients",
    "age_identity",
    "age_identity_file",
];

// Each method reads all of its values before it returns, so that every problem is found.
impl SettingsReader {
    pub(super) fn storage(&mut self, data: &Path) -> Option<StorageSettings> {
        let names: BTreeSet<String> = self
            .values
            .keys()
            .filter_map(|key| Some(key.strip_prefix(DISKS)?.split_once('.')?.0.to_owned()))
            .collect();
        let mut disks = BTreeMap::new();
        for name in &names {
            if let Some((name, disk)) = self.disk(name, data) {
                disks.insert(name, disk);
            }
        }
        self.reject_shared_places(&disks);
        let default = self.default_disk(&names);
        (disks.len() == names.len()).then_some(())?;
        Some(StorageSettings {
            default: default?,
            disks,
        })
    }

    fn default_disk(&mut self, names: &BTreeSet<String>) -> Option<DiskName> {
        let text = self.string("storage.default")?;
        if let (true, Ok(name)) = (names.contains(&text), DiskName::parse(&text)) {
            return Some(name);
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let names = names.join(", ");
        let message = format!("must be the name of a disk ({names}), not `{text}`");
        self.reject("storage.default", message)
    }

    fn disk(&mut self, name: &str, data: &Path) -> Option<(DiskName, DiskSettings)> {
        let table = format!("{DISKS}{name}.");
        let disk_name = self.disk_name(name, &table)?;
        let (driver, fields) = self.driver(&table)?;
        self.reject_unknown_fields(&table, driver, fields);
        let driver = match driver {
            "s3" => self.s3_disk(&table),
            "gcs" => self.gcs_disk(&table),
            _ => self.local_disk(name, &table, data),
        };
        let encryption = self.encryption(&table);
        let disk = DiskSettings {
            driver: driver?,
            encryption: encryption?,
        };
        Some((disk_name, disk))
    }

    fn disk_name(&mut self, name: &str, table: &str) -> Option<DiskName> {
        match DiskName::parse(name) {
            Ok(name) => Some(name),
            Err(_) => {
                let key = self.fields(table).first().map_or_else(
                    || format!("{table}driver"),
                    |field| format!("{table}{field}"),
                );
                let message = "the name of a disk must be 1 to 32 characters (a-z, 0-9, _ and -)";
                self.reject(&key, message)
            }
        }
    }

    /// Reads the driver of a disk, and returns it with its fields.
    fn driver(&mut self, table: &str) -> Option<(&'static str, &'static [&'static str])> {
        let key = format!("{table}driver");
        let text = self.string(&key).unwrap_or_default();
        if let Some(driver) = DRIVERS.iter().find(|(driver, _)| *driver == text) {
            return Some(*driver);
        }
        // Without its driver, the other problems of the disk mean nothing.
        self.problems
            .retain(|problem| !problem.key.starts_with(table));
        let drivers = DRIVERS.map(|(driver, _)| driver).join(", ");
        let message = match text.as_str() {
            "" => format!("must be set to one of {drivers}"),
            other => format!("must be one of {drivers}, not `{other}`"),
        };
        self.reject(&key, message)
    }

    fn reject_unknown_fields(&mut self, table: &str, driver: &str, known: &[&str]) {
        for field in self.fields(table) {
            let key = format!("{table}{field}");
            let is_empty = self
                .values
                .get(&key)
                .is_some_and(|found| found.value.as_str() == Some(""));
            let field = field.as_str();
            let is_known =
                field == "driver" || known.contains(&field) || ENCRYPTION_FIELDS.contains(&field);
            if !is_known && !is_empty {
                let message = format!("is not a setting of a disk with driver {driver}");
                self.add_problem(&key, message);
            }
        }
    }

    /// Returns the fields of a table that have a value.
    fn fields(&self, table: &str) -> Vec<String> {
        let keys = self.values.keys();
        keys.filter_map(|key| key.strip_prefix(table).map(str::to_owned))
            .collect()
    }

    fn local_disk(&mut self, name: &str, table: &str, data: &Path) -> Option<DiskDriver> {
        let key = format!("{table}root");
        let root = match self.string(&key).unwrap_or_default().as_str() {
            "" if name == "local" => self.absolute_path(&key, &data.join("backups")),
            "" => self.reject(&key, "must be set to the disk's folder"),
            root => self.absolute_path(&key, Path::new(root)),
        };
        let group = self.group(&format!("{table}group"));
        Some(DiskDriver::Local(LocalOptions {
            root: root?,
            group: group?,
        }))
    }

    /// Reads the group that may read the files of a disk, by name or number.
    fn group(&mut self, key: &str) -> Option<Option<u32>> {
        let text = self.string(key)?;
        if text.is_empty() {
            return Some(None);
        }
        match groups::usable_group(&text) {
            Ok(group) => Some(Some(group)),
            Err(message) => self.reject(key, message),
        }
    }

    fn encryption(&mut self, table: &str) -> Option<Option<Encryption>> {
        let [kind_key, recipients_key, identity_key] =
            ["encryption", "age_recipients", "age_identity"].map(|field| format!("{table}{field}"));
        let kind = self.string(&kind_key);
        let recipients = self.optional_list(&recipients_key);
        let identity = self.optional_secret(&identity_key, |text| {
            Encryption::new(false, &[], Some(text))
                .map(|_| ())
                .map_err(|error| error.to_string())
        });
        let (recipients, identity) = (recipients?.unwrap_or_default(), identity?);
        let encrypts = match kind?.as_str() {
            "" | "none" => false,
            "age" => true,
            other => {
                let message = format!("must be none or age, not `{other}`");
                return self.reject(&kind_key, message);
            }
        };
        let identity = identity.as_ref().map(SecretString::expose);
        let encryption = match Encryption::new(encrypts, &recipients, identity) {
            Ok(encryption) => encryption,
            Err(error) => return self.reject(&recipients_key, error.to_string()),
        };
        match (encrypts, encryption.has_recipients()) {
            (true, false) => {
                let message = format!(
                    "must contain a public key, because {kind_key} is age: \
                     create a key pair with age-keygen"
                );
                self.reject(&recipients_key, message)
            }
            (false, false) => Some(None),
            _ => Some(Some(encryption)),
        }
    }

    /// Rejects two disks in one place: each would remove the other's objects as unknown.
    fn reject_shared_places(&mut self, disks: &BTreeMap<DiskName, DiskSettings>) {
        let mut owners = BTreeMap::new();
        for (name, disk) in disks {
            let in_bucket = |endpoint: &str, bucket: &str, prefix: &str| {
                (
                    "bucket",
                    "bucket and prefix",
                    format!("{endpoint} {bucket}/{prefix}"),
                )
            };
            let (field, what, place) = match &disk.driver {
                DiskDriver::Local(options) => {
                    ("root", "folder", options.root.display().to_string())
                }
                DiskDriver::S3(options) => {
                    let endpoint = options.endpoint.as_deref().unwrap_or_default();
                    in_bucket(endpoint, &options.bucket, &options.prefix)
                }
                DiskDriver::Gcs(options) => {
                    let endpoint = options.endpoint.as_deref().unwrap_or("gcs");
                    in_bucket(endpoint, &options.bucket, &options.prefix)
                }
            };
            if let Some(other) = owners.insert(place, name) {
                let key = format!("{DISKS}{name}.{field}");
                self.add_problem(&key, format!("is already the {what} of disk {other}"));
            }
        }
    }
}
