//! What has to be known of a bucket.

use std::fmt;

use crate::authorities::Authorities;

/// A bucket, how to reach it, and how to write to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Options {
    /// The bucket's name.
    pub bucket: String,
    /// Its region, such as `eu-central-1`.
    pub region: String,
    /// The server's base URL; `None` for AWS itself.
    pub endpoint: Option<String>,
    /// The base URL that download links lead to, when users reach the server by another one.
    pub public_endpoint: Option<String>,
    /// Who may sign the server's certificate, beside whom the machine trusts.
    pub authorities: Option<Authorities>,
    /// What the names of all objects begin with: empty, or with a slash at its end.
    pub prefix: String,
    /// The keys to sign with; `None` to take them from the environment or the machine's role.
    pub keys: Option<S3Keys>,
    /// Whether the bucket stands in the path of URLs and not in their host.
    pub is_path_style: bool,
    /// How the server is to encrypt what it stores.
    pub encryption: ServerSideEncryption,
    /// Whether what is sent goes with a CRC32 of its own, which some servers refuse; without one it is
    /// covered by the SHA-256 of the request's signature.
    pub has_checksums: bool,
    /// The smallest size of a part in bytes; larger ones are taken for larger archives.
    pub part_size_bytes: u64,
}

/// A pair of keys. The secret one does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Keys {
    /// Names the pair; no secret, but nobody's business either.
    pub access_key_id: String,
    /// Signs.
    pub secret_access_key: String,
}

impl fmt::Debug for S3Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("S3Keys(hidden)")
    }
}

/// How a server encrypts what it stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerSideEncryption {
    /// As the bucket is set up.
    Bucket,
    /// With a key of the server.
    Aes256,
    /// With a key of its key service: this one, or the default one.
    Kms {
        /// Names the key.
        key_id: Option<String>,
    },
}

impl S3Options {
    /// The least that servers take for any part but the last.
    pub const PART_BYTES_MIN: u64 = 5 << 20;
    /// The most that servers take for a part.
    pub const PART_BYTES_MAX: u64 = 5 << 30;
    /// The size of parts when nothing else is said: small enough for memory, and large enough for
    /// archives of 78 GiB.
    pub const PART_BYTES: u64 = 8 << 20;
    /// How many parts an upload may have, with a few kept back.
    const PARTS_MAX: u64 = 9_990;

    /// Returns the size of the parts of an object of at most `most_bytes`; `None` if no server could
    /// hold it. All parts but the last have that size, as some servers want it.
    pub(super) fn part_bytes(&self, most_bytes: u64) -> Option<usize> {
        const MEBIBYTE: u64 = 1 << 20;
        let needed = most_bytes.div_ceil(Self::PARTS_MAX);
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
            authorities: None,
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
    fn the_greatest_archive_fits_into_the_parts_that_servers_take() {
        for most in [0, 1, 10 << 30, 100 << 30, 1 << 40, 5 << 40, 45 << 40] {
            for part in [S3Options::PART_BYTES_MIN, S3Options::PART_BYTES, 1 << 30] {
                let bytes = options(part).part_bytes(most).expect("a size") as u64;
                assert!(bytes >= part && bytes * 10_000 >= most, "{most} {part}");
            }
        }
        let of_default = options(S3Options::PART_BYTES).part_bytes(10 << 30);
        assert_eq!(of_default, Some(8 << 20));
        assert_eq!(options(1).part_bytes(u64::MAX), None);
    }

    #[test]
    fn keys_show_nowhere() {
        let shown = format!("{:?}", options(1)).to_lowercase();
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
