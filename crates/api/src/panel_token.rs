//! The tokens of a panel's download links: JWTs that the panel signs with the token of the node.
//!
//! A token must never be logged.

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use serde_json::Value;

use holdfast_domain::wings::WingsNode;
use holdfast_domain::{BackupId, ServerId};

/// The scope of a token that downloads a backup, in panels whose tokens have one.
const SCOPE: &str = "backup-download";
/// By how much the clocks of the panel and the node may differ before a token becomes valid.
const CLOCK_SKEW_SECONDS: f64 = 60.0;

/// The backup that a token permits to download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PanelDownload {
    pub(crate) server: ServerId,
    pub(crate) backup: BackupId,
}

/// The claims that matter. Panels write times with or without fractions of a second.
#[derive(Deserialize)]
struct PanelClaims {
    server_uuid: String,
    backup_uuid: String,
    exp: f64,
    nbf: Option<f64>,
    scope: Option<Value>,
}

/// Verifies a token, and returns what it permits. Returns `None` for a token that the panel of this
/// node has not signed for a download, or that has expired. It may be used any number of times
/// until then, so that downloads can be resumed.
pub(crate) fn verify(token: &str, node: &WingsNode, now: DateTime<Utc>) -> Option<PanelDownload> {
    let key = DecodingKey::from_secret(node.token.expose().as_bytes());
    let mut validation = Validation::new(Algorithm::HS256);
    // Checked below, with the clock of the service. The audience is the node's URL as the panel
    // knows it.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let claims = decode::<PanelClaims>(token, &key, &validation).ok()?.claims;
    let now = now.timestamp_micros() as f64 / 1_000_000.0;
    let is_early = claims
        .nbf
        .is_some_and(|start| start > now + CLOCK_SKEW_SECONDS);
    // Also false if the time is no number.
    let is_live = claims.exp > now;
    if !is_live || is_early || !permits_download(claims.scope.as_ref()) {
        return None;
    }
    Some(PanelDownload {
        server: ServerId::parse(&claims.server_uuid)?,
        backup: BackupId::parse(&claims.backup_uuid)?,
    })
}

/// Returns whether a scope contains [`SCOPE`]. Pterodactyl's tokens have none.
fn permits_download(scope: Option<&Value>) -> bool {
    match scope {
        None => true,
        Some(Value::String(text)) => text.split(' ').any(|scope| scope == SCOPE),
        Some(Value::Array(scopes)) => scopes.iter().any(|scope| scope == SCOPE),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;
    use uuid::Uuid;

    use holdfast_domain::wings::WingsToken;

    use super::*;

    const SERVER: &str = "d3aac109-45e1-4c23-9a84-c8d5f06b93a1";
    const BACKUP: &str = "a4962fe6-90c8-4b89-ba62-a5d3b06426c0";

    fn node(secret: &str) -> WingsNode {
        WingsNode {
            uuid: Uuid::nil(),
            token_id: "id".into(),
            token: WingsToken::new(secret.into()),
            panel_url: String::new(),
            wings_url: String::new(),
            data: "/".into(),
        }
    }

    fn sign(secret: &str, algorithm: Algorithm, claims: &Value) -> String {
        let key = EncodingKey::from_secret(secret.as_bytes());
        encode(&Header::new(algorithm), claims, &key).expect("a token")
    }

    fn claims() -> Value {
        json!({
            "iss": "https://panel.example.com", "aud": ["https://node.example.com:8080"],
            "sub": "1", "jti": "x", "iat": 1000.5, "nbf": 700.5, "exp": 1900.25,
            "server_uuid": SERVER, "backup_uuid": BACKUP, "user_uuid": SERVER, "unique_id": "u",
        })
    }

    #[test]
    fn only_the_tokens_of_this_node_for_downloads_are_valid_until_they_expire() {
        let node = node("secret");
        let at = |seconds| DateTime::<Utc>::from_timestamp(seconds, 0).expect("a time");
        let expected = PanelDownload {
            server: ServerId::parse(SERVER).expect("a UUID"),
            backup: BackupId::parse(BACKUP).expect("a UUID"),
        };
        let hs256 = Algorithm::HS256;
        let valid = sign("secret", hs256, &claims());
        for (now, found) in [
            (600, None),
            (641, Some(expected)),
            (1000, Some(expected)),
            (1900, Some(expected)),
            (1901, None),
        ] {
            assert_eq!(verify(&valid, &node, at(now)), found, "{now}");
        }
        for (field, value, is_valid) in [
            ("scope", json!("backup-download"), true),
            ("scope", json!("websocket backup-download"), true),
            ("scope", json!(["backup-download"]), true),
            ("scope", json!("file-upload"), false),
            ("scope", json!("xbackup-download"), false),
            ("scope", json!([]), false),
            ("scope", json!({}), false),
            ("exp", json!(1900), true),
            ("exp", json!(null), false),
            ("exp", json!("never"), false),
            ("nbf", json!(2000), false),
            ("server_uuid", json!("../.."), false),
            ("backup_uuid", json!(null), false),
        ] {
            let mut claims = claims();
            claims[field] = value;
            let token = sign("secret", hs256, &claims);
            let found = verify(&token, &node, at(1000));
            assert_eq!(found, is_valid.then_some(expected), "{claims}");
        }
        let other_node = sign("another secret", hs256, &claims());
        let other_algorithm = sign("secret", Algorithm::HS512, &claims());
        let parts: Vec<&str> = valid.split('.').collect();
        let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", parts[1]);
        let cut = valid[..valid.len() - 2].to_owned();
        for token in [other_node, other_algorithm, unsigned, cut, String::new()] {
            assert_eq!(verify(&token, &node, at(1000)), None, "{token}");
        }
    }
}
