//! Download tokens: signed JWTs with the backup, the user and the expiry time of a download link.
//!
//! A token must never be logged. [`Claims`] may be.

use std::fmt;

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use holdfast_domain::{BackupId, ServerId, UserId};

use crate::error::ApiError;

/// Signs download tokens with one key (HMAC-SHA-256). Also accepts tokens signed with earlier keys.
#[derive(Clone)]
pub struct TokenSigner {
    encoding: EncodingKey,
    /// The current key, then the earlier ones.
    decoding: Vec<DecodingKey>,
}

/// The claims of a download token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// A random ID, which makes each token unique.
    pub(crate) jti: Uuid,
    /// The expiry time, in seconds since 1970.
    pub(crate) exp: i64,
    pub(crate) backup: BackupId,
    pub(crate) server: ServerId,
    /// The user who requested the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<UserId>,
    /// The identifier of the key that requested the link. The link is invalid once the key is.
    /// `None`: the panel has allowed the download.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
}

impl TokenSigner {
    /// Creates a signer. `secret` signs, and must have at least 32 bytes; `previous` are the
    /// earlier secrets.
    pub fn new(secret: &[u8], previous: &[&[u8]]) -> Self {
        let all = std::iter::once(&secret).chain(previous);
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: all.map(|secret| DecodingKey::from_secret(secret)).collect(),
        }
    }

    /// Returns the signed token of `claims`.
    ///
    /// # Errors
    /// [`ApiError::Internal`] if signing fails, which would be a defect.
    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, ApiError> {
        encode(&Header::new(Algorithm::HS256), claims, &self.encoding).map_err(|error| {
            tracing::error!(%error, "cannot sign a download token");
            ApiError::Internal
        })
    }

    /// Verifies the signature and the expiry time of a token, and returns its claims.
    ///
    /// # Errors
    /// [`ApiError::InvalidDownload`] if the token is invalid or has expired.
    pub(crate) fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Claims, ApiError> {
        let mut validation = Validation::new(Algorithm::HS256);
        // Checked below, with the clock of the service and without leeway.
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

/// Returns whether a token has the claims of this service. The signature is not checked. Such a
/// token gets the errors of this service, not those of a panel's node.
pub(crate) fn is_own(token: &str) -> bool {
    let claims = jsonwebtoken::dangerous::insecure_decode::<Claims>(token);
    claims.is_ok()
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSigner(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_valid_until_it_expires_and_only_if_unmodified() {
        let signer = TokenSigner::new(&[1; 32], &[]);
        let claims = Claims {
            jti: Uuid::nil(),
            exp: 1000,
            backup: BackupId(Uuid::nil()),
            server: ServerId(Uuid::nil()),
            user: Some(UserId(Uuid::nil())),
            key: Some("ptlc_x".into()),
        };
        let at = |seconds| DateTime::<Utc>::from_timestamp(seconds, 0).expect("a time");
        let token = signer.sign(&claims).expect("a token");
        assert_eq!(signer.verify(&token, at(999)), Ok(claims.clone()));
        assert_eq!(
            signer.verify(&token, at(1000)),
            Err(ApiError::InvalidDownload)
        );
        assert_eq!(
            TokenSigner::new(&[2; 32], &[&[3; 32]]).verify(&token, at(1)),
            Err(ApiError::InvalidDownload)
        );
        // After a rotation, the first key is an earlier one.
        let rotated = TokenSigner::new(&[2; 32], &[&[3; 32], &[1; 32]]);
        assert!(rotated.verify(&token, at(999)).is_ok());
        let newest = rotated.sign(&claims).expect("a token");
        assert_eq!(
            signer.verify(&newest, at(1)),
            Err(ApiError::InvalidDownload)
        );
        let parts: Vec<&str> = token.split('.').collect();
        // A token with {"alg":"none"} and no signature.
        let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", parts[1]);
        assert_eq!(
            signer.verify(&unsigned, at(1)),
            Err(ApiError::InvalidDownload)
        );
        for i in (0..token.len()).filter(|i| *i != token.len() - 1) {
            let mut bytes = token.clone().into_bytes();
            bytes[i] = if bytes[i] == b'A' { b'B' } else { b'A' };
            let tampered = String::from_utf8(bytes).expect("text");
            assert_eq!(
                signer.verify(&tampered, at(1)),
                Err(ApiError::InvalidDownload),
                "byte {i}"
            );
        }
    }
}
