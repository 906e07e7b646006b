//! The options of a disk in an S3 bucket.

use std::fmt;

use crate::ca_bundle::CaBundle;

/// The options of a disk in an S3 bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Options {
    /// The bucket's name.
    pub bucket: String,
    /// Its region, such as `eu-central-1`.
    pub region: String,
    /// The server's base URL; `None` for AWS.
    pub endpoint: Option<String>,
    /// The base URL of presigned URLs, if users reach the server by a different one.
    pub public_endpoint: Option<String>,
    /// Trusted authorities for the server's certificate, in addition to those of the machine.
    pub ca_bundle: Option<CaBundle>,
    /// The prefix of all objects' names: empty, or with a slash at the end.
    pub prefix: String,
    /// The static credentials; `None` means those of the environment or the machine's role.
    pub keys: Option<S3Keys>,
    /// Whether URLs have the bucket in their path, instead of their host.
    pub is_path_style: bool,
    /// How the server encrypts stored objects.
    pub encryption: ServerSideEncryption,
    /// Whether sent data carries a CRC32, which some servers refuse. Without one, the SHA-256 of
    /// the request's signature protects the data.
    pub has_checksums: bool,
    /// The minimum size of a part, in bytes. Large archives get larger parts.
    pub part_size_bytes: u64,
}

/// Static credentials. `Debug` hides them.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Keys {
    /// The ID of the key pair. Not secret, but not logged either.
    pub access_key_id: String,
    /// The secret that signs requests.
    pub secret_access_key: String,
}

impl fmt::Debug for S3Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("S3Keys(hidden)")
    }
}

/// How a server encrypts stored objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerSideEncryption {
    /// As configured for the bucket.
    Bucket,
    /// With a key of the server (SSE-S3).
    Aes256,
    /// With a key of the server's key service (SSE-KMS).
    Kms {
        /// The key's ID; `None` means the default key.
        key_id: Option<String>,
    },
}

impl S3Options {
    /// The minimum size of a part that servers accept, except for the last one.
    pub const PART_BYTES_MIN: u64 = 5 << 20;
    /// The maximum size of a part that servers accept.
    pub const PART_BYTES_MAX: u64 = 5 << 30;
    /// The default size of parts. It allows archives of 78 GiB without larger parts.
    pub const PART_BYTES: u64 = 8 << 20;
    /// The maximum number of parts: the 10,000 that servers accept, less a reserve.
    const PARTS_MAX: u64 = 9_990;

    /// Returns the part size for an object of at most `size_max_bytes`, or `None` if no server can
    /// store it. All parts but the last have the same size, as some servers require.
    pub(super) fn part_bytes(&self, size_max_bytes: u64) -> Option<usize> {
        const MEBIBYTE: u64 = 1 << 20;
        let needed = size_max_bytes.div_ceil(Self::PARTS_MAX);
        let needed = needed.div_ceil(MEBIBYTE) * MEBIBYTE;
        let bytes = needed.max(self.part_size_bytes);
        let fits = bytes <= Self::PART_BYTES_MAX;
        fits.then_some(usize::try_from(bytes).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(part_size_bytes: u64) -> S3Options {
        S3Options {
            bucket: "b".to_owned(),
            region: "us-east-1".to_owned(),
            endpoint: None,
            public_endpoint: None,
            ca_bundle: None,
            prefix: String::new(),
            keys: Some(S3Keys {
                access_key_id: "AKIDHUNTER2".to_owned(),
                secret_access_key: "hunter2".to_owned(),
            }),
            is_path_style: false,
            encryption: ServerSideEncryption::Bucket,
            has_checksums: true,
            part_size_bytes,
        }
    }

    #[test]
    fn the_largest_archive_fits_into_the_allowed_number_of_parts() {
        for size_max in [0, 1, 10 << 30, 100 << 30, 1 << 40, 5 << 40, 45 << 40] {
            for part in [S3Options::PART_BYTES_MIN, S3Options::PART_BYTES, 1 << 30] {
                let bytes = options(part).part_bytes(size_max).expect("a size") as u64;
                assert!(
                    bytes >= part && bytes * 10_000 >= size_max,
                    "{size_max} {part}"
                );
            }
        }
        let of_default = options(S3Options::PART_BYTES).part_bytes(10 << 30);
        assert_eq!(of_default, Some(8 << 20));
        assert_eq!(options(1).part_bytes(u64::MAX), None);
    }

    #[test]
    fn debug_hides_keys() {
        let shown = format!("{:?}", options(1)).to_lowercase();
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
