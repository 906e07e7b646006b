//! Download links: a JWT that says which backup, for whom and until when.
//!
//! A token must never get into a log; [`Claims`] may.

use std::fmt;

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use holdfast_domain::{BackupId, ServerId, UserId};

use crate::error::ApiError;

/// Signs download links with one key (HMAC-SHA-256), and takes those that earlier keys have signed.
#[derive(Clone)]
pub struct TokenSigner {
    encoding: EncodingKey,
    /// The newest first.
    decoding: Vec<DecodingKey>,
}

/// What a download link says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// Makes each link its own.
    pub(crate) jti: Uuid,
    /// When it ends, in seconds since 1970.
    pub(crate) exp: i64,
    /// What it downloads.
    pub(crate) backup: BackupId,
    /// Whose files that holds.
    pub(crate) server: ServerId,
    /// Who asked for it.
    pub(crate) user: UserId,
    /// The public part of the key that was used: the link ends with it.
    pub(crate) key: String,
}

impl TokenSigner {
    /// Makes a signer out of a secret of at least 32 bytes, which signs, and of those before it.
    pub fn new(secret: &[u8], previous: &[&[u8]]) -> Self {
        let all = std::iter::once(&secret).chain(previous);
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: all.map(|secret| DecodingKey::from_secret(secret)).collect(),
        }
    }

    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, ApiError> {
        encode(&Header::new(Algorithm::HS256), claims, &self.encoding).map_err(|error| {
            tracing::error!(%error, "a download link could not be signed");
            ApiError::Internal
        })
    }

    pub(crate) fn check(&self, token: &str, now: DateTime<Utc>) -> Result<Claims, ApiError> {
        let mut validation = Validation::new(Algorithm::HS256);
        // The service's own clock decides, to the second.
        validation.validate_exp = false;
        let claims = self
            .decoding
            .iter()
            .find_map(|key| decode::<Claims>(token, key, &validation).ok())
            .ok_or(ApiError::InvalidDownload)?
            .claims;
        if claims.exp <= now.timestamp() {
            return Err(ApiError::InvalidDownload);
        }
        Ok(claims)
    }
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_good_until_its_second_and_only_untouched() {
        let signer = TokenSigner::new(&[1; 32], &[]);
        let claims = Claims {
            jti: Uuid::nil(),
            exp: 1000,
            backup: BackupId(Uuid::nil()),
            server: ServerId(Uuid::nil()),
            user: UserId(Uuid::nil()),
            key: "ptlc_x".into(),
        };
        let at = |seconds| DateTime::<Utc>::from_timestamp(seconds, 0).expect("a time");
        let token = signer.sign(&claims).expect("a token");
        assert_eq!(signer.check(&token, at(999)), Ok(claims.clone()));
        assert_eq!(
            signer.check(&token, at(1000)),
            Err(ApiError::InvalidDownload)
        );
        assert_eq!(
            TokenSigner::new(&[2; 32], &[&[3; 32]]).check(&token, at(1)),
            Err(ApiError::InvalidDownload)
        );
        // The same key, once it has become an earlier one.
        let later = TokenSigner::new(&[2; 32], &[&[3; 32], &[1; 32]]);
        assert!(later.check(&token, at(999)).is_ok());
        let newest = later.sign(&claims).expect("a token");
        assert_eq!(signer.check(&newest, at(1)), Err(ApiError::InvalidDownload));
        let parts: Vec<&str> = token.split('.').collect();
        // {"alg":"none"}: the oldest trick.
        let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", parts[1]);
        assert_eq!(
            signer.check(&unsigned, at(1)),
            Err(ApiError::InvalidDownload)
        );
        for i in (0..token.len()).filter(|i| *i != token.len() - 1) {
            let mut bytes = token.clone().into_bytes();
            bytes[i] = if bytes[i] == b'A' { b'B' } else { b'A' };
            let tampered = String::from_utf8(bytes).expect("text");
            assert_eq!(
                signer.check(&tampered, at(1)),
                Err(ApiError::InvalidDownload),
                "byte {i}"
            );
        }
    }
}
