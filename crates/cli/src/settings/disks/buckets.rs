//! Reads the tables of disks in buckets: drivers `s3` and `gcs`.

use std::sync::Arc;

use holdfast_storage::{
    CaBundle, GcsOptions, S3Keys, S3Options, ServerSideEncryption, ServiceAccount,
};

use super::super::values::SettingsReader;
use super::super::{DiskDriver, SecretString};

/// The region when none is set: the default of AWS. Most other servers ignore it.
const REGION: &str = "us-east-1";

// Each method reads all of its values before it returns, so that every problem is found.
impl SettingsReader {
    pub(super) fn s3_disk(&mut self, table: &str) -> Option<DiskDriver> {
        let key = |field: &str| format!("{table}{field}");
        let bucket = self.bucket(table);
        let region = self.string(&key("region"));
        let endpoint = self.optional_url(&key("endpoint"));
        let public_endpoint = self.optional_url(&key("public_endpoint"));
        let ca_bundle = self.ca_bundle(&key("ca_file"));
        let prefix = self.string(&key("prefix"));
        let keys = self.s3_keys(table);
        let path_style = self.optional_bool(&key("path_style"));
        let encryption = self.server_side_encryption(table);
        let checksums = self.optional_bool(&key("checksums"));
        let part_size_bytes = self.optional_number(
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
            // Few servers except AWS have a host name for each bucket.
            is_path_style: path_style?.unwrap_or(endpoint.is_some()),
            endpoint,
            public_endpoint: public_endpoint?,
            ca_bundle: ca_bundle?,
            prefix: object_prefix(&prefix?),
            keys: keys?,
            encryption: encryption?,
            part_size_bytes: part_size_bytes?.unwrap_or(S3Options::PART_BYTES),
        })))
    }

    pub(super) fn gcs_disk(&mut self, table: &str) -> Option<DiskDriver> {
        let bucket = self.bucket(table);
        let endpoint = self.optional_url(&format!("{table}endpoint"));
        let ca_bundle = self.ca_bundle(&format!("{table}ca_file"));
        let prefix = self.string(&format!("{table}prefix"));
        let account_key = format!("{table}service_account_file");
        let account = self.service_account(&account_key, endpoint.as_ref());
        Some(DiskDriver::Gcs(Box::new(GcsOptions {
            bucket: bucket?,
            prefix: object_prefix(&prefix?),
            endpoint: endpoint?,
            ca_bundle: ca_bundle?,
            account: account?,
            chunk_bytes: GcsOptions::CHUNK_BYTES,
        })))
    }

    /// Reads the service account. Google requires one; an emulator at another endpoint may not.
    fn service_account(
        &mut self,
        key: &str,
        endpoint: Option<&Option<String>>,
    ) -> Option<Option<Arc<ServiceAccount>>> {
        let path = self.string(key)?;
        if path.is_empty() {
            return match endpoint? {
                Some(_) => Some(None),
                None => self.reject(key, "must be set to the JSON key file of a service account"),
            };
        }
        let text = self.read_file(key, &path)?;
        match ServiceAccount::parse(&text) {
            Ok(account) => Some(Some(Arc::new(account))),
            Err(reason) => self.reject(key, format!("{path} {reason}")),
        }
    }

    /// Reads the certificate authorities that a disk trusts beside those of the machine.
    pub(in crate::settings) fn ca_bundle(&mut self, key: &str) -> Option<Option<CaBundle>> {
        let path = self.string(key)?;
        if path.is_empty() {
            return Some(None);
        }
        let text = self.read_file(key, &path)?;
        match CaBundle::parse(&text) {
            Ok(ca_bundle) => Some(Some(ca_bundle)),
            Err(reason) => self.reject(key, format!("{path} {reason}")),
        }
    }

    fn bucket(&mut self, table: &str) -> Option<String> {
        let key = format!("{table}bucket");
        let bucket = self.string(&key)?;
        let is_allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if (3..=255).contains(&bucket.len()) && bucket.bytes().all(is_allowed) {
            return Some(bucket);
        }
        let message =
            format!("must be 3 to 255 characters (A-Z, a-z, 0-9, ., _ and -), not `{bucket}`");
        self.reject(&key, message)
    }

    /// Reads the access keys: both or neither. Without them, the disk uses the keys of the
    /// environment or of the machine's role.
    fn s3_keys(&mut self, table: &str) -> Option<Option<S3Keys>> {
        let id_key = format!("{table}access_key_id");
        let secret_key = format!("{table}secret_access_key");
        let id = self.optional_secret(&id_key, check_no_whitespace);
        let secret = self.optional_secret(&secret_key, check_no_whitespace);
        match (id?, secret?) {
            (None, None) => Some(None),
            (Some(id), Some(secret)) => Some(Some(S3Keys {
                access_key_id: SecretString::expose(&id).to_owned(),
                secret_access_key: SecretString::expose(&secret).to_owned(),
            })),
            (Some(_), None) => {
                self.reject(&secret_key, format!("must be set, because {id_key} is set"))
            }
            (None, Some(_)) => {
                self.reject(&id_key, format!("must be set, because {secret_key} is set"))
            }
        }
    }

    fn server_side_encryption(&mut self, table: &str) -> Option<ServerSideEncryption> {
        let (sse_key, id_key) = (format!("{table}sse"), format!("{table}sse_kms_key_id"));
        let sse = self.string(&sse_key);
        let key_id = self.string(&id_key)?;
        let key_id = (!key_id.is_empty()).then_some(key_id);
        let encryption = match sse?.as_str() {
            "" | "none" => ServerSideEncryption::Bucket,
            "AES256" => ServerSideEncryption::Aes256,
            "aws:kms" => return Some(ServerSideEncryption::Kms { key_id }),
            other => {
                let message = format!("must be none, AES256 or aws:kms, not `{other}`");
                return self.reject(&sse_key, message);
            }
        };
        match key_id {
            None => Some(encryption),
            Some(_) => self.reject(&id_key, format!("requires {sse_key} to be aws:kms")),
        }
    }
}

/// Says whether an endpoint is Google's, which refuses checksums that it does not know.
fn is_google(endpoint: Option<&str>) -> bool {
    let (_, host) = endpoint
        .and_then(|url| url.split_once("://"))
        .unwrap_or_default();
    host == "storage.googleapis.com" || host.ends_with(".storage.googleapis.com")
}

/// Returns the prefix of object names for a folder in a bucket.
fn object_prefix(folder: &str) -> String {
    match folder.trim_matches('/') {
        "" => String::new(),
        folder => format!("{folder}/"),
    }
}

/// Rejects whitespace in an access key: it is easily pasted along with the key.
fn check_no_whitespace(text: &str) -> Result<(), String> {
    match text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        true => Err("must not contain whitespace".to_owned()),
        false => Ok(()),
    }
}
