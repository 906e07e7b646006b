//! A service account: who asks Google, and the RSA key that proves it. The key never shows itself.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;

/// What a key of Google's console says it is for.
const TYPE: &str = "service_account";
/// What a token is for: reading, writing, listing and deleting objects.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
/// How long a token is asked for, in seconds; Google gives no longer ones.
const LIFETIME_SECONDS: i64 = 3600;

/// The account of a JSON key file, as Google's console makes them.
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
    /// Reads the text of a key file.
    ///
    /// # Errors
    /// What is wrong with it; never with a part of the key.
    pub fn parse(text: &str) -> Result<Self, String> {
        // The parser's own word would quote what it stumbled over.
        let file: KeyFile = serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("holds no JSON key of a service account: line {line}, column {column}")
        })?;
        if file.kind != TYPE {
            let kind: String = file.kind.chars().take(40).collect();
            return Err(format!(
                "holds a key of type `{kind}`, but `{TYPE}` is needed"
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
            return Err("has a token_uri that is no URL".to_owned());
        }
        let key = private_key(&file.private_key)
            .ok_or_else(|| "has a private_key that is no RSA key in PKCS#8 PEM".to_owned())?;
        Ok(Self {
            email: file.client_email,
            key_id: file.private_key_id,
            token_uri: file.token_uri,
            key,
        })
    }

    /// Returns the account's name, which is no secret.
    pub fn email(&self) -> &str {
        &self.email
    }

    pub(super) fn token_uri(&self) -> &str {
        &self.token_uri
    }

    /// Signs with RSA, PKCS #1 v1.5 and SHA-256.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        let signed = self
            .key
            .sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
        signed.map_err(|_| SigningFailed)?;
        Ok(signature)
    }

    /// Writes the JWT for which Google hands out a token (RFC 7523).
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

/// Reads the one PEM block that key files have.
fn private_key(pem: &str) -> Option<KeyPair> {
    let (_, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (body, _) = rest.split_once("-----END PRIVATE KEY-----")?;
    let body: String = body.split_whitespace().collect();
    KeyPair::from_pkcs8(&STANDARD.decode(body).ok()?).ok()
}

/// The key could not sign, which a key that was read can always do.
#[derive(Debug, thiserror::Error)]
#[error("the private key of the service account can't sign")]
pub(super) struct SigningFailed;

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ServiceAccount({})", self.email)
    }
}

/// Two are the same when their keys have the same name.
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
    fn what_is_wrong_with_a_key_file_is_told_without_its_key() {
        let good = super::super::tests::KEY_FILE;
        ServiceAccount::parse(good).expect("a key");
        let hidden = "MIIhunter2";
        let table = [
            (
                format!("{{\"private_key\": \"{hidden}\", oops"),
                "holds no JSON key of a service account: line 1",
            ),
            (
                good.replace("\"service_account\"", "\"authorized_user\""),
                "holds a key of type `authorized_user`, but `service_account` is needed",
            ),
            (good.replace("client_email", "email"), "has no client_email"),
            (
                good.replace("https://oauth2", "oauth2"),
                "has a token_uri that is no URL",
            ),
            (
                good.replace(
                    "PRIVATE KEY-----\\nMII",
                    &format!("PRIVATE KEY-----\\n{hidden}"),
                ),
                "has a private_key that is no RSA key in PKCS#8 PEM",
            ),
        ];
        for (text, expected) in table {
            let told = ServiceAccount::parse(&text).expect_err(expected);
            assert!(told.starts_with(expected), "{told}");
            assert!(!told.contains(hidden), "{told}");
        }
    }

    #[test]
    fn an_account_shows_its_name_alone() {
        let account = ServiceAccount::parse(super::super::tests::KEY_FILE).expect("a key");
        let shown = format!("{account:?}");
        assert_eq!(
            shown,
            "ServiceAccount(holdfast-test@example.iam.gserviceaccount.com)"
        );
    }
}
