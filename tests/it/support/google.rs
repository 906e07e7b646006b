//! The checks of Google that its emulators lack: credentials. A token server issues tokens for the
//! JWTs of one service account. A gate in front of an emulator passes only requests with such a
//! token, or with a link that the account has signed and that has not expired.
//!
//! Tokens are read with another library than in the service. Signatures are checked on the request
//! as it arrives.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::proxy::{Fault, Proxy};

/// The key file of an account that does not exist, for tests only.
const KEY_FILE: &str = include_str!("../../../crates/storage/src/gcs/tests/key.json");
/// The scope that a service must request.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";

/// The token server. It ends when dropped.
pub(crate) struct Google {
    address: SocketAddr,
    desk: Arc<Desk>,
    running: JoinHandle<()>,
}

struct Desk {
    account: String,
    /// The RSA key in PKCS #1.
    public_key: Vec<u8>,
    tokens: Mutex<Vec<String>>,
    lifetime_seconds: u64,
    /// How far its clock is ahead of the test's.
    ahead: Duration,
}

impl Google {
    /// Starts the token server.
    pub(crate) async fn start() -> Self {
        Self::with(3600, Duration::ZERO).await
    }

    /// Starts a token server with this lifetime of tokens and a clock that is ahead.
    pub(crate) async fn with(lifetime_seconds: u64, ahead: Duration) -> Self {
        let file: Value = serde_json::from_str(KEY_FILE).unwrap();
        let pem = file["private_key"].as_str().unwrap();
        let body = pem.lines().filter(|line| !line.starts_with('-'));
        let key = STANDARD.decode(body.collect::<String>()).unwrap();
        let key = KeyPair::from_pkcs8(&key).unwrap();
        let desk = Arc::new(Desk {
            account: file["client_email"].as_str().unwrap().to_owned(),
            public_key: key.public_key().as_ref().to_vec(),
            tokens: Mutex::new(Vec::new()),
            lifetime_seconds,
            ahead,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = tokio::spawn(serve(listener, Arc::clone(&desk), token_uri(address)));
        Self {
            address,
            desk,
            running,
        }
    }

    /// The account's key file, which names this token server.
    pub(crate) fn key_file(&self) -> String {
        let mut file: Value = serde_json::from_str(KEY_FILE).unwrap();
        file["token_uri"] = token_uri(self.address).into();
        file.to_string()
    }

    /// How many tokens were issued.
    pub(crate) fn tokens(&self) -> usize {
        self.desk.tokens.lock().unwrap().len()
    }

    /// Revokes all tokens that were issued so far.
    pub(crate) fn revoke(&self) {
        for token in self.desk.tokens.lock().unwrap().iter_mut() {
            token.clear();
        }
    }

    /// Starts the gate in front of an emulator.
    pub(crate) async fn before(&self, emulator: &str) -> Proxy {
        let address = emulator.strip_prefix("http://").unwrap().parse().unwrap();
        let desk = Arc::clone(&self.desk);
        Proxy::start(address, move |_, head| desk.judge(head)).await
    }
}

impl Drop for Google {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn token_uri(address: SocketAddr) -> String {
    format!("http://{address}/token")
}

async fn serve(listener: TcpListener, desk: Arc<Desk>, token_uri: String) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        // One connection after the other. A client that disconnects does not matter.
        let _ended = answer(stream, &desk, &token_uri).await;
    }
}

async fn answer(mut stream: TcpStream, desk: &Desk, token_uri: &str) -> std::io::Result<()> {
    let mut request = String::new();
    let body = loop {
        let mut bytes = [0; 8192];
        let length = stream.read(&mut bytes).await?;
        request.push_str(&String::from_utf8_lossy(&bytes[..length]));
        let Some((head, body)) = request.split_once("\r\n\r\n") else {
            continue;
        };
        let expected = header(head, "content-length").unwrap_or("0");
        if length == 0 || body.len() >= expected.parse::<usize>().unwrap() {
            break body;
        }
    };
    let (status, said) = match desk.grant(body, token_uri) {
        Ok(token) => {
            let lifetime = desk.lifetime_seconds;
            let said =
                json!({ "access_token": token, "expires_in": lifetime, "token_type": "Bearer" });
            ("200 OK", said)
        }
        Err(why) => (
            "400 Bad Request",
            json!({ "error": "invalid_grant", "error_description": why }),
        ),
    };
    let said = said.to_string();
    let length = said.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{said}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

impl Desk {
    /// Issues a token for a JWT, as in RFC 7523. Refusals have Google's wording.
    fn grant(&self, body: &str, token_uri: &str) -> Result<String, &'static str> {
        let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
        let assertion = body.strip_prefix(grant).ok_or("Bad Request")?;
        let mut validation = Validation::new(Algorithm::RS256);
        // The time is checked below, with this clock.
        validation.validate_exp = false;
        validation.set_audience(&[token_uri]);
        validation.set_required_spec_claims(&["exp", "aud", "iss"]);
        let key = DecodingKey::from_rsa_der(&self.public_key);
        let read = jsonwebtoken::decode::<Value>(assertion, &key, &validation);
        let claims = read.map_err(|_| "Invalid JWT Signature.")?.claims;
        if claims["iss"] != self.account.as_str() {
            return Err("Invalid grant: account not found");
        }
        if claims["scope"] != SCOPE {
            return Err("Empty or missing scope not allowed.");
        }
        let seconds = |name: &str| claims[name].as_i64().unwrap();
        let now = (now() + self.ahead).timestamp();
        let is_now = (seconds("iat") - now).abs() < 300;
        if !is_now || seconds("exp") - seconds("iat") > 3600 {
            return Err(
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable \
                 timeframe. Check your iat and exp values in the JWT claim.",
            );
        }
        let mut tokens = self.tokens.lock().unwrap();
        let token = format!("ya29.{}", tokens.len());
        tokens.push(token.clone());
        Ok(token)
    }

    /// Returns whether a request may pass.
    fn judge(&self, head: &str) -> Fault {
        let bearer = header(head, "authorization").and_then(|all| all.strip_prefix("Bearer "));
        let is_known = bearer.is_some_and(|token| {
            let tokens = self.tokens.lock().unwrap();
            !token.is_empty() && tokens.iter().any(|known| known == token)
        });
        match (is_known, bearer) {
            (true, _) => Fault::None,
            (false, Some(_)) => Fault::Answer(401, "Invalid Credentials"),
            (false, None) => match self.judge_link(head) {
                Some(()) => Fault::None,
                None => Fault::Answer(403, "SignatureDoesNotMatch"),
            },
        }
    }

    /// Checks the signature of a link, version 4.
    fn judge_link(&self, head: &str) -> Option<()> {
        let mut line = head.lines().next()?.split(' ');
        let (method, target) = (line.next()?, line.next()?);
        let (path, query) = target.split_once('?')?;
        let find = |name: &str| {
            let mut parts = query.split('&').filter_map(|part| part.split_once('='));
            parts.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let mut signed: Vec<&str> = query
            .split('&')
            .filter(|part| !part.starts_with("X-Goog-Signature="))
            .collect();
        signed.sort_unstable();
        let (date, host) = (find("X-Goog-Date")?, header(head, "host")?);
        let query = signed.join("&");
        let request = format!("{method}\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
        let hash = hex::encode(digest(&SHA256, request.as_bytes()));
        let scope = format!("{}/auto/storage/goog4_request", date.split('T').next()?);
        let credential = format!("{}/{scope}", self.account);
        let credential = credential.replace('@', "%40").replace('/', "%2F");
        if find("X-Goog-Credential")? != credential {
            return None;
        }
        let begun = NaiveDateTime::parse_from_str(date, "%Y%m%dT%H%M%SZ").ok()?;
        let seconds = find("X-Goog-Expires")?.parse().ok()?;
        if begun.and_utc() + Duration::from_secs(seconds) < now() {
            return None;
        }
        let message = format!("GOOG4-RSA-SHA256\n{date}\n{scope}\n{hash}");
        let signature = hex::decode(find("X-Goog-Signature")?).ok()?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public_key)
            .verify(message.as_bytes(), &signature)
            .ok()
    }
}

fn now() -> DateTime<Utc> {
    SystemTime::now().into()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim())
}
