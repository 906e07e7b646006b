//! Callers, as values, and the answers that they get.

use std::collections::BTreeMap;

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use uuid::Uuid;

/// A caller of the client API, for one server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base_url: String,
    server: String,
    token: Option<String>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Client {
    pub(crate) fn new(base_url: &str, server: &str, token: Option<String>) -> Self {
        // No idle connections, since a service that stops would wait for them.
        let http = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        Self {
            http,
            base_url: base_url.to_owned(),
            server: server.to_owned(),
            token,
        }
    }

    /// The same caller for another server, by UUID or short identifier.
    pub(crate) fn about(&self, server: &str) -> Self {
        Self {
            server: server.to_owned(),
            ..self.clone()
        }
    }

    /// The key of this caller.
    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The same caller for another process of the service.
    pub(crate) fn at(&self, base_url: &str) -> Self {
        Self {
            base_url: base_url.to_owned(),
            ..self.clone()
        }
    }

    /// The same caller with another key.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// Builds a request to a path below `…/backups`, which `path` continues: `""`, `/{uuid}`,
    /// `?page=2`.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let (base_url, server) = (&self.base_url, &self.server);
        let url = format!("{base_url}/api/client/servers/{server}/backups{path}");
        self.plain(method, &url)
    }

    /// Builds a request to a path below `…/schedules`, which `path` continues: `""`, `/7/tasks`.
    pub(crate) fn schedules(&self, method: Method, path: &str) -> RequestBuilder {
        let (base_url, server) = (&self.base_url, &self.server);
        let url = format!("{base_url}/api/client/servers/{server}/schedules{path}");
        self.plain(method, &url)
    }

    /// Builds a request to any URL.
    pub(crate) fn plain(&self, method: Method, url: &str) -> RequestBuilder {
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn list(&self, query: &str) -> Answer {
        send(self.request(Method::GET, query)).await
    }

    pub(crate) async fn show(&self, backup: &str) -> Answer {
        send(self.request(Method::GET, &format!("/{backup}"))).await
    }

    pub(crate) async fn create(&self, body: Value) -> Answer {
        send(self.request(Method::POST, "").json(&body)).await
    }

    /// Creates a backup with a body that is sent unchanged.
    pub(crate) async fn create_raw(&self, content_type: Option<&str>, body: &str) -> Answer {
        let mut request = self.request(Method::POST, "").body(body.to_owned());
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        send(request).await
    }

    pub(crate) async fn download(&self, backup: &str) -> Answer {
        send(self.request(Method::GET, &format!("/{backup}/download"))).await
    }

    pub(crate) async fn delete(&self, backup: &str) -> Answer {
        send(self.request(Method::DELETE, &format!("/{backup}"))).await
    }

    pub(crate) async fn restore(&self, backup: &str, body: Value) -> Answer {
        send(
            self.request(Method::POST, &format!("/{backup}/restore"))
                .json(&body),
        )
        .await
    }

    pub(crate) async fn lock(&self, backup: &str, body: Value) -> Answer {
        send(
            self.request(Method::POST, &format!("/{backup}/lock"))
                .json(&body),
        )
        .await
    }

    pub(crate) async fn unlock(&self, backup: &str) -> Answer {
        send(self.request(Method::POST, &format!("/{backup}/unlock"))).await
    }
}

/// Sends a request and reads the whole answer.
pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        bytes: response.bytes().await.unwrap().into(),
    }
}

impl Answer {
    /// The body as JSON; null if it is empty.
    pub(crate) fn json(&self) -> Value {
        if self.bytes.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| {
            let text = String::from_utf8_lossy(&self.bytes);
            panic!("status {}: {error}: {text}", self.status)
        })
    }

    /// The attributes of an object in an answer with status 200.
    pub(crate) fn attributes(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.json());
        self.json()["attributes"].clone()
    }

    /// The attributes of an object in an answer with this status.
    pub(crate) fn attributes_of(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.json());
        self.json()["attributes"].clone()
    }

    pub(crate) fn uuid(&self) -> String {
        self.attributes()["uuid"].as_str().unwrap().to_owned()
    }

    /// The link in a download answer.
    pub(crate) fn link(&self) -> String {
        self.attributes()["url"].as_str().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Status, code and text of a refusal with one error.
    pub(crate) fn refusal(&self) -> (u16, String, String) {
        let json = self.json();
        let errors = json["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{json}");
        let text = |name: &str| errors[0][name].as_str().unwrap().to_owned();
        assert_eq!(text("status"), self.status.to_string(), "{json}");
        assert_eq!(self.header("content-type"), "application/json");
        (self.status, text("code"), text("detail"))
    }

    /// Status and body, with placeholders for everything that differs from run to run.
    pub(crate) fn redacted(&self) -> Value {
        json!({ "body": redact("", &self.json()), "status": self.status })
    }
}

/// Replaces values that differ from run to run: identifiers, times, hashes, sizes, addresses.
pub(crate) fn redact(name: &str, value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            // Sorted, since the order depends on the features of `serde_json` in a build.
            let redacted: BTreeMap<&String, Value> = fields
                .iter()
                .map(|(name, value)| (name, redact(name, value)))
                .collect();
            json!(redacted)
        }
        Value::Array(values) => values.iter().map(|value| redact("", value)).collect(),
        Value::Number(number)
            if matches!(name, "bytes" | "stored_bytes") && number.as_u64() != Some(0) =>
        {
            "[bytes]".into()
        }
        Value::String(text) => redact_text(text).into(),
        other => other.clone(),
    }
}

fn redact_text(text: &str) -> String {
    if Uuid::parse_str(text).is_ok() && text.contains('-') {
        return "[uuid]".to_owned();
    }
    if is_hash(text) {
        return "[hash]".to_owned();
    }
    if text.strip_prefix("sha256:").is_some_and(is_hash) {
        return "sha256:[hash]".to_owned();
    }
    // The only form in which the API writes times. Any other form stays visible in the snapshot.
    if text.len() == 25
        && text.ends_with("+00:00")
        && chrono::DateTime::parse_from_rfc3339(text).is_ok()
    {
        return "[time]".to_owned();
    }
    if let Some(rest) = text.strip_prefix("http://127.0.0.1:") {
        let path = rest.find('/').map_or("", |slash| &rest[slash..]);
        let parts: Vec<String> = path.split('/').map(redact_text).collect();
        let path = parts.join("/");
        let path = path
            .split_once("token=")
            .map_or(path.clone(), |(path, _)| format!("{path}token=[token]"));
        return format!("[service]{path}");
    }
    text.to_owned()
}

fn is_hash(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
