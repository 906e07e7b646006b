//! Reads the tables `[storage.disks.NAME]`, each by its driver.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use holdfast_storage::{
    Authorities, Encryption, GcsOptions, S3Keys, S3Options, ServerSideEncryption, ServiceAccount,
};

use super::layers::DISKS;
use super::values::{Reader, is_name};
use super::{DiskDriver, DiskSettings, SecretString};

/// The drivers that are built into this program, and the settings that each has beside `driver`.
const DRIVERS: [(&str, &[&str]); 3] = [
    ("local", &["root"]),
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
/// What a disk of any driver can have.
const ENCRYPTION_FIELDS: [&str; 4] = [
    "encryption",
    "age_recipients",
    "age_identity",
    "age_identity_file",
];
/// The region of servers that don't care, and the one of AWS's that is meant when none is named.
const REGION: &str = "us-east-1";

// Each function first reads everything, so that every problem is noted, and only then gives up.
impl Reader {
    pub(super) fn disk(&mut self, name: &str, data: &Path) -> Option<DiskSettings> {
        let own = format!("{DISKS}{name}.");
        let driver_key = format!("{own}driver");
        let given: Vec<String> = self
            .entries
            .keys()
            .filter_map(|key| key.strip_prefix(&own).map(str::to_owned))
            .collect();
        if !is_name(
            name,
            32,
            |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'),
        ) {
            let message =
                "a disk's name has 1 to 32 characters out of a-z, 0-9, _ and -".to_owned();
            let key = given.first().map(|field| format!("{own}{field}"));
            return self.wrong(&key.unwrap_or(driver_key), message);
        }
        let driver = self.text(&driver_key).unwrap_or_default();
        let Some((_, fields)) = DRIVERS.iter().find(|(known, _)| *known == driver) else {
            // Keys of a driver that is not there are no news.
            self.problems
                .retain(|problem| !problem.key.starts_with(&own));
            let there_is = DRIVERS.map(|(driver, _)| driver).join(", ");
            return self.wrong(
                &driver_key,
                match driver.as_str() {
                    "" => format!("must be set: there is {there_is}"),
                    other => {
                        format!("`{other}` is not built into this version: there is {there_is}")
                    }
                },
            );
        };
        for field in given.iter().filter(|field| field.as_str() != "driver") {
            let key = format!("{own}{field}");
            let is_empty = self
                .entries
                .get(&key)
                .is_some_and(|entry| entry.value.as_str() == Some(""));
            let is_known =
                fields.contains(&field.as_str()) || ENCRYPTION_FIELDS.contains(&field.as_str());
            if !is_known && !is_empty {
                self.note(
                    &key,
                    format!("is no setting of a disk with driver {driver}"),
                );
            }
        }
        let driver = match driver.as_str() {
            "s3" => self.s3_disk(&own),
            "gcs" => self.gcs_disk(&own),
            _ => self.local_disk(name, &own, data),
        };
        let encryption = self.disk_encryption(&own);
        Some(DiskSettings {
            driver: driver?,
            encryption: encryption?,
        })
    }

    fn disk_encryption(&mut self, own: &str) -> Option<Option<Encryption>> {
        let [kind_key, recipients_key, identity_key] =
            ["encryption", "age_recipients", "age_identity"].map(|field| format!("{own}{field}"));
        let kind = self.text(&kind_key);
        let recipients = self.list_if_given(&recipients_key);
        let identity = self.secret(&identity_key, |text| {
            Encryption::new(false, &[], Some(text))
                .map(|_| ())
                .map_err(|refused| refused.to_string())
        });
        let (recipients, identity) = (recipients?.unwrap_or_default(), identity?);
        let seals = match kind?.as_str() {
            "" | "none" => false,
            "age" => true,
            other => {
                let message = format!("must be none or age, not `{other}`");
                return self.wrong(&kind_key, message);
            }
        };
        let identity = identity.as_ref().map(SecretString::expose);
        let keys = match Encryption::new(seals, &recipients, identity) {
            Ok(keys) => keys,
            Err(refused) => return self.wrong(&recipients_key, refused.to_string()),
        };
        match (seals, keys.has_recipients()) {
            (true, false) => self.wrong(
                &recipients_key,
                format!("must name a public key, since {kind_key} is age: age-keygen makes a pair"),
            ),
            (false, false) => Some(None),
            _ => Some(Some(keys)),
        }
    }

    fn local_disk(&mut self, name: &str, own: &str, data: &Path) -> Option<DiskDriver> {
        let key = format!("{own}root");
        let root = match self.text(&key).unwrap_or_default().as_str() {
            "" if name == "local" => self.absolute(&key, &data.join("backups"))?,
            "" => return self.wrong(&key, "must be set to the disk's folder".to_owned()),
            root => self.absolute(&key, Path::new(root))?,
        };
        Some(DiskDriver::Local { root })
    }

    fn s3_disk(&mut self, own: &str) -> Option<DiskDriver> {
        let key = |field: &str| format!("{own}{field}");
        let bucket = self.bucket(own);
        let region = self.text(&key("region"));
        let endpoint = self.web_url(&key("endpoint"));
        let public_endpoint = self.web_url(&key("public_endpoint"));
        let authorities = self.authorities(&key("ca_file"));
        let prefix = self.text(&key("prefix"));
        let keys = self.s3_keys(own);
        let path_style = self.truth_if_given(&key("path_style"));
        let encryption = self.s3_encryption(own);
        let checksums = self.truth_if_given(&key("checksums"));
        let part_size_bytes = self.number_if_given(
            &key("part_size_bytes"),
            S3Options::PART_BYTES_MIN..=S3Options::PART_BYTES_MAX,
        );
        let region = region?;
        let endpoint = endpoint?;
        Some(DiskDriver::S3(Box::new(S3Options {
            bucket: bucket?,
            region: if region.is_empty() {
                REGION.to_owned()
            } else {
                region
            },
            has_checksums: checksums?.unwrap_or(!is_google(endpoint.as_deref())),
            // Few servers but AWS's have a host name for each bucket.
            is_path_style: path_style?.unwrap_or(endpoint.is_some()),
            endpoint,
            public_endpoint: public_endpoint?,
            authorities: authorities?,
            prefix: folder(&prefix?),
            keys: keys?,
            encryption: encryption?,
            part_size_bytes: part_size_bytes?.unwrap_or(S3Options::PART_BYTES),
        })))
    }

    fn gcs_disk(&mut self, own: &str) -> Option<DiskDriver> {
        let bucket = self.bucket(own);
        let endpoint = self.web_url(&format!("{own}endpoint"));
        let authorities = self.authorities(&format!("{own}ca_file"));
        let prefix = self.text(&format!("{own}prefix"));
        let account =
            self.service_account(&format!("{own}service_account_file"), endpoint.as_ref());
        Some(DiskDriver::Gcs(Box::new(GcsOptions {
            bucket: bucket?,
            prefix: folder(&prefix?),
            endpoint: endpoint?,
            authorities: authorities?,
            account: account?,
            chunk_bytes: GcsOptions::CHUNK_BYTES,
        })))
    }

    /// Google wants to know who asks; at another endpoint an emulator may not.
    fn service_account(
        &mut self,
        key: &str,
        endpoint: Option<&Option<String>>,
    ) -> Option<Option<Arc<ServiceAccount>>> {
        let path = self.text(key)?;
        if path.is_empty() {
            return match endpoint? {
                Some(_) => Some(None),
                None => self.wrong(
                    key,
                    "must be set: the JSON key file of a service account".to_owned(),
                ),
            };
        }
        let text = match fs_err::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => return self.wrong(key, error.to_string()),
        };
        match ServiceAccount::parse(&text) {
            Ok(account) => Some(Some(Arc::new(account))),
            Err(why) => self.wrong(key, format!("{path} {why}")),
        }
    }

    /// Whose certificates a disk's server may have, beside those that the machine trusts.
    fn authorities(&mut self, key: &str) -> Option<Option<Authorities>> {
        let path = self.text(key)?;
        if path.is_empty() {
            return Some(None);
        }
        let text = match fs_err::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => return self.wrong(key, error.to_string()),
        };
        match Authorities::parse(&text) {
            Ok(authorities) => Some(Some(authorities)),
            Err(why) => self.wrong(key, format!("{path} {why}")),
        }
    }

    fn bucket(&mut self, own: &str) -> Option<String> {
        let key = format!("{own}bucket");
        let bucket = self.text(&key)?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if bucket.len() >= 3 && is_name(&bucket, 255, allowed) {
            return Some(bucket);
        }
        let message = format!("must be the name of a bucket, not `{bucket}`");
        self.wrong(&key, message)
    }

    /// Both keys or neither: those of the environment or the machine's role are taken then.
    fn s3_keys(&mut self, own: &str) -> Option<Option<S3Keys>> {
        let id_key = format!("{own}access_key_id");
        let secret_key = format!("{own}secret_access_key");
        let id = self.secret(&id_key, is_no_blank);
        let secret = self.secret(&secret_key, is_no_blank);
        match (id?, secret?) {
            (None, None) => Some(None),
            (Some(id), Some(secret)) => Some(Some(S3Keys {
                access_key_id: SecretString::expose(&id).to_owned(),
                secret_access_key: SecretString::expose(&secret).to_owned(),
            })),
            (Some(_), None) => self.wrong(&secret_key, format!("must be set, since {id_key} is")),
            (None, Some(_)) => self.wrong(&id_key, format!("must be set, since {secret_key} is")),
        }
    }

    fn s3_encryption(&mut self, own: &str) -> Option<ServerSideEncryption> {
        let (sse_key, id_key) = (format!("{own}sse"), format!("{own}sse_kms_key_id"));
        let sse = self.text(&sse_key);
        let key_id = self.text(&id_key)?;
        let key_id = (!key_id.is_empty()).then_some(key_id);
        let encryption = match sse?.as_str() {
            "" | "none" => ServerSideEncryption::Bucket,
            "AES256" => ServerSideEncryption::Aes256,
            "aws:kms" => return Some(ServerSideEncryption::Kms { key_id }),
            other => {
                let message = format!("must be none, AES256 or aws:kms, not `{other}`");
                return self.wrong(&sse_key, message);
            }
        };
        match key_id {
            None => Some(encryption),
            Some(_) => self.wrong(&id_key, format!("needs {sse_key} to be aws:kms")),
        }
    }

    /// Each disk clears away what it does not know, so no two may share a place.
    pub(super) fn refuse_shared_places(&mut self, disks: &BTreeMap<String, DiskSettings>) {
        let mut owners = BTreeMap::new();
        for (name, disk) in disks {
            let (field, what, place) = match &disk.driver {
                DiskDriver::Local { root } => ("root", "folder", root.display().to_string()),
                DiskDriver::S3(options) => {
                    let endpoint = options.endpoint.as_deref().unwrap_or_default();
                    let place = format!("{endpoint} {}/{}", options.bucket, options.prefix);
                    ("bucket", "place", place)
                }
                DiskDriver::Gcs(options) => {
                    let endpoint = options.endpoint.as_deref().unwrap_or("gcs");
                    let place = format!("{endpoint} {}/{}", options.bucket, options.prefix);
                    ("bucket", "place", place)
                }
            };
            if let Some(other) = owners.insert(place, name) {
                let key = format!("{DISKS}{name}.{field}");
                self.note(&key, format!("is the {what} of disk {other} already"));
            }
        }
    }
}

/// Google's S3-compatible endpoint refuses checksums that it does not know.
fn is_google(endpoint: Option<&str>) -> bool {
    let (_, host) = endpoint
        .and_then(|url| url.split_once("://"))
        .unwrap_or_default();
    host == "storage.googleapis.com" || host.ends_with(".storage.googleapis.com")
}

/// What object names begin with in a folder of a bucket.
fn folder(prefix: &str) -> String {
    match prefix.trim_matches('/') {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    }
}

/// Keys are pasted, and a space comes with them easily.
fn is_no_blank(text: &str) -> Result<(), String> {
    match text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        true => Err("must not hold blanks".to_owned()),
        false => Ok(()),
    }
}
