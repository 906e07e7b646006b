//! Service accounts of Google: the name and the RSA key that signs. `Debug` hides the key.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;

/// The type of a service account's key file.
const KEY_FILE_TYPE: &str = "service_account";
/// The scope of tokens: reading, writing, listing and deleting objects.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
/// The lifetime of tokens, in seconds. Google does not allow a longer one.
const LIFETIME_SECONDS: i64 = 3600;

/// A service account, from a JSON key file of Google's console.
pub struct ServiceAccount {
    email: String,
    key_id: String,
    token_uri: String,
    key: KeyPair,
}

#[derive(Deserialize)]
struct KeyFile {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    client_email: String,
    #[serde(default)]
    private_key_id: String,
    #[serde(default)]
    private_key: String,
    #[serde(default)]
    token_uri: String,
}

impl ServiceAccount {
    /// Parses a key file.
    ///
    /// # Errors
    /// A message that says what is wrong with it. It never contains a part of the key.
    pub fn parse(text: &str) -> Result<Self, String> {
        // The parser's own message may quote the key.
        let file: KeyFile = serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("contains no JSON key of a service account: line {line}, column {column}")
        })?;
        if file.kind != KEY_FILE_TYPE {
            let kind: String = file.kind.chars().take(40).collect();
            return Err(format!(
                "contains a key of type `{kind}`, but `{KEY_FILE_TYPE}` is needed"
            ));
        }
        let fields = [
            ("client_email", &file.client_email),
            ("private_key", &file.private_key),
            ("token_uri", &file.token_uri),
        ];
        for (name, value) in fields {
            if value.is_empty() {
                return Err(format!("has no {name}"));
            }
        }
        if reqwest::Url::parse(&file.token_uri).is_err() {
            return Err("has a token_uri that is not a URL".to_owned());
        }
        let key = parse_private_key(&file.private_key)
            .ok_or_else(|| "has a private_key that is not an RSA key in PKCS#8 PEM".to_owned())?;
        Ok(Self {
            email: file.client_email,
            key_id: file.private_key_id,
            token_uri: file.token_uri,
            key,
        })
    }

    /// Returns the account's name, which is not secret.
    pub fn email(&self) -> &str {
        &self.email
    }

    pub(super) fn token_uri(&self) -> &str {
        &self.token_uri
    }

    /// Signs a message with RSA, PKCS #1 v1.5 and SHA-256.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        let signed = self
            .key
            .sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
        signed.map_err(|_| SigningFailed)?;
        Ok(signature)
    }

    /// Returns a signed JWT, which Google exchanges for a token (RFC 7523).
    pub(super) fn assertion(&self, now: DateTime<Utc>) -> Result<String, SigningFailed> {
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.key_id });
        let claims = json!({
            "iss": self.email,
            "scope": SCOPE,
            "aud": self.token_uri,
            "iat": now.timestamp(),
            "exp": now.timestamp() + LIFETIME_SECONDS,
        });
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(message.as_bytes())?);
        Ok(format!("{message}.{signature}"))
    }
}

/// Parses the PEM block of a key file.
fn parse_private_key(pem: &str) -> Option<KeyPair> {
    let (_, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (body, _) = rest.split_once("-----END PRIVATE KEY-----")?;
    let body: String = body.split_whitespace().collect();
    KeyPair::from_pkcs8(&STANDARD.decode(body).ok()?).ok()
}

/// The key failed to sign. A valid key does not.
#[derive(Debug, thiserror::Error)]
#[error("the private key of the service account can't sign")]
pub(super) struct SigningFailed;

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ServiceAccount({})", self.email)
    }
}

/// Accounts are equal if their name, key ID and token server are.
impl PartialEq for ServiceAccount {
    fn eq(&self, other: &Self) -> bool {
        (&self.email, &self.key_id, &self.token_uri)
            == (&other.email, &other.key_id, &other.token_uri)
    }
}

impl Eq for ServiceAccount {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_key_files_are_refused_without_showing_the_key() {
        let good = super::super::tests::KEY_FILE;
        ServiceAccount::parse(good).expect("a key");
        let hidden = "MIIhunter2";
        let table = [
            (
                format!("{{\"private_key\": \"{hidden}\", oops"),
                "contains no JSON key of a service account: line 1",
            ),
            (
                good.replace("\"service_account\"", "\"authorized_user\""),
                "contains a key of type `authorized_user`, but `service_account` is needed",
            ),
            (good.replace("client_email", "email"), "has no client_email"),
            (
                good.replace("https://oauth2", "oauth2"),
                "has a token_uri that is not a URL",
            ),
            (
                good.replace(
                    "PRIVATE KEY-----\\nMII",
                    &format!("PRIVATE KEY-----\\n{hidden}"),
                ),
                "has a private_key that is not an RSA key in PKCS#8 PEM",
            ),
        ];
        for (text, expected) in table {
            let message = ServiceAccount::parse(&text).expect_err(expected);
            assert!(message.starts_with(expected), "{message}");
            assert!(!message.contains(hidden), "{message}");
        }
    }

    #[test]
    fn debug_shows_only_the_name() {
        let account = ServiceAccount::parse(super::super::tests::KEY_FILE).expect("a key");
        let shown = format!("{account:?}");
        assert_eq!(
            shown,
            "ServiceAccount(holdfast-test@example.iam.gserviceaccount.com)"
        );
    }
}
