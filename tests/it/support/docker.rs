//! A small Docker daemon: it implements the part of the real API that is needed to stop a
//! container and to write to its standard input, over a real socket.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// A container.
#[derive(Clone, Debug, Default)]
pub(crate) struct Container {
    pub(crate) is_running: bool,
    /// Docker reports that it has stopped the container, but it still runs.
    pub(crate) is_stubborn: bool,
    /// The container is started again after this many checks that found it stopped.
    pub(crate) comes_back_after: Option<u32>,
    pub(crate) labels: Vec<(String, String)>,
    /// Its standard input was not kept open.
    pub(crate) has_no_input: bool,
}

#[derive(Debug, Default)]
struct Shared {
    containers: BTreeMap<String, Container>,
    requests: Vec<String>,
    /// What was written to the standard input of any container.
    input: String,
}

/// The daemon. It ends when dropped.
pub(crate) struct Docker {
    pub(crate) socket: PathBuf,
    shared: Arc<Mutex<Shared>>,
    running: JoinHandle<()>,
}

impl Docker {
    /// Starts it with a socket in `folder`.
    pub(crate) fn start(folder: &Path) -> Self {
        let socket = folder.join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let state = Arc::clone(&shared);
        let running = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&state)));
            }
        });
        Self {
            socket,
            shared,
            running,
        }
    }

    /// Creates a container, or replaces it.
    pub(crate) fn put(&self, name: &str, container: Container) {
        let mut shared = self.shared.lock().unwrap();
        shared.containers.insert(name.to_owned(), container);
    }

    pub(crate) fn is_running(&self, name: &str) -> bool {
        self.shared.lock().unwrap().containers[name].is_running
    }

    /// The lines that were written to the standard input of any container.
    pub(crate) fn input(&self) -> Vec<String> {
        let shared = self.shared.lock().unwrap();
        shared.input.lines().map(str::to_owned).collect()
    }

    /// The requests so far, without the version in front.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.lock().unwrap().requests.clone()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn answer(mut stream: UnixStream, shared: Arc<Mutex<Shared>>) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(count) if count > 0 => bytes.extend_from_slice(&piece[..count]),
            _ => return,
        }
    }
    let text = String::from_utf8(bytes).unwrap();
    let mut words = text.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    if target.contains("/attach?") {
        return attach(stream, &shared).await;
    }
    let (status, body) = shared.lock().unwrap().answer(method, target);
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    // The caller may be gone.
    let _gone = stream.write_all(text.as_bytes()).await;
}

/// Passes on what the caller writes, as `docker attach` does.
async fn attach(mut stream: UnixStream, shared: &Mutex<Shared>) {
    let switched = b"HTTP/1.1 101 UPGRADED\r\nconnection: Upgrade\r\nupgrade: tcp\r\n\r\n";
    stream.write_all(switched).await.unwrap();
    let mut written = String::new();
    let _gone = stream.read_to_string(&mut written).await;
    shared.lock().unwrap().input.push_str(&written);
}

impl Shared {
    fn answer(&mut self, method: &str, target: &str) -> (u16, Value) {
        if target == "/version" {
            return (
                200,
                json!({ "ApiVersion": "1.41", "MinAPIVersion": "1.12" }),
            );
        }
        // Without a version, the daemon uses its own.
        let target = target.strip_prefix("/v1.41").unwrap_or(target);
        if target.starts_with("/v1.") {
            let message = "client version is too new. Maximum supported API version is 1.41";
            return (400, json!({ "message": message }));
        }
        self.requests.push(format!("{method} {target}"));
        let path = target.split('?').next().unwrap();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match (method, parts.as_slice()) {
            ("GET", ["containers", "json"]) => {
                // The filter is a label with its value, as percent-encoded JSON.
                let has = |(name, value): &(String, String)| {
                    target.contains(name.as_str()) && target.contains(value.as_str())
                };
                let found = self.containers.iter();
                let found = found.filter(|(_, one)| one.labels.iter().any(has));
                let found: Vec<Value> = found.map(|(name, _)| json!({ "Id": name })).collect();
                (200, json!(found))
            }
            ("GET", ["containers", name, "json"]) => match self.containers.get_mut(*name) {
                Some(container) => {
                    if !container.is_running
                        && let Some(looks) = &mut container.comes_back_after
                    {
                        container.is_running = *looks == 0;
                        *looks = looks.saturating_sub(1);
                    }
                    let state = json!({
                        "Running": container.is_running,
                        "Paused": false,
                        "Restarting": false,
                    });
                    let config = json!({
                        "OpenStdin": !container.has_no_input,
                        "StdinOnce": false,
                    });
                    (200, json!({ "Id": name, "State": state, "Config": config }))
                }
                None => (404, json!({ "message": "No such container" })),
            },
            ("POST", ["containers", name, "stop"]) => match self.containers.get_mut(*name) {
                Some(container) if !container.is_running => (304, Value::Null),
                Some(container) => {
                    container.is_running = container.is_stubborn;
                    (204, Value::Null)
                }
                None => (404, json!({ "message": "No such container" })),
            },
            _ => (404, json!({ "message": "page not found" })),
        }
    }
}
