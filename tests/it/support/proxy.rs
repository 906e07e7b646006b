//! A failing network: a proxy that passes bytes on, and cuts, delays and refuses them as
//! configured.
//!
//! It parses only as much of HTTP/1.1 as it needs to count requests. It does not parse answers: no
//! client sends a second request before the first is answered.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The fate of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It passes.
    None,
    /// It passes after a delay.
    Late(Duration),
    /// It is answered with 503 and never arrives.
    Busy,
    /// It is answered with this status and code, and never arrives.
    Answer(u16, &'static str),
    /// It is answered with 200 and no body, and never arrives.
    Empty,
    /// It is answered with 301, the code, and the region that the bucket is in.
    Moved(&'static str),
    /// The connection is cut after this many bytes of the request.
    CutRequest(usize),
    /// The request is carried out, and the connection is cut after this many bytes of the answer.
    CutAnswer(usize),
    /// It is read and never answered.
    Silence,
}

type Plan = dyn Fn(u64, &str) -> Fault + Send + Sync;

struct Shared {
    to: SocketAddr,
    plan: Mutex<Box<Plan>>,
    requests: AtomicU64,
}

/// The proxy. It ends when dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    running: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Starts it in front of `to`. `plan` decides the fate of a request by its number, from 1, and
    /// its head.
    pub(crate) async fn start(
        to: SocketAddr,
        plan: impl Fn(u64, &str) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            to,
            plan: Mutex::new(Box::new(plan)),
            requests: AtomicU64::new(0),
        });
        let running = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self {
            address,
            shared,
            running,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The number of requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Replaces the plan, and counts from 1 again.
    pub(crate) fn plan(&self, plan: impl Fn(u64, &str) -> Fault + Send + Sync + 'static) {
        let mut place = self
            .shared
            .plan
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *place = Box::new(plan);
        self.shared.requests.store(0, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let _cut = carry(client, &shared).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Passes one connection on, request by request, until one side ends it or a fault does.
async fn carry(mut client: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut server = TcpStream::connect(shared.to).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    // The part of the next request's head that has arrived.
    let mut head = Vec::new();
    // The bytes of the body that are missing, and the bytes of request and answer that may still
    // pass.
    let (mut body_left, mut request_left, mut answer_left) = (0, usize::MAX, usize::MAX);
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            length = client.read(&mut up) => {
                let mut bytes = &up[..length?];
                if bytes.is_empty() {
                    return Ok(());
                }
                while !bytes.is_empty() {
                    if body_left == 0 {
                        let (taken, is_whole) = take_head(&mut head, bytes);
                        bytes = &bytes[taken..];
                        if !is_whole {
                            continue;
                        }
                        (request_left, answer_left) = (usize::MAX, usize::MAX);
                        body_left = length_of_body(&head);
                        match shared.fault(&head) {
                            Fault::None => {}
                            Fault::Late(time) => tokio::time::sleep(time).await,
                            Fault::Busy => return refuse(client, 503, "SlowDown", "").await,
                            Fault::Answer(status, code) => {
                                return refuse(client, status, code, "").await;
                            }
                            Fault::Empty => return answer(client, 200, "", "").await,
                            Fault::Moved(region) => {
                                let region = format!("x-amz-bucket-region: {region}\r\n");
                                return refuse(client, 301, "PermanentRedirect", &region).await;
                            }
                            Fault::Silence => return drain(client).await,
                            Fault::CutRequest(bytes) => request_left = bytes,
                            Fault::CutAnswer(bytes) => answer_left = bytes,
                        }
                        let whole = std::mem::take(&mut head);
                        if !pass(&mut server, &whole, &mut request_left).await? {
                            return Ok(());
                        }
                    } else {
                        let (now, rest) = bytes.split_at(bytes.len().min(body_left));
                        if !pass(&mut server, now, &mut request_left).await? {
                            return Ok(());
                        }
                        body_left -= now.len();
                        bytes = rest;
                    }
                }
            }
            length = server.read(&mut down) => {
                let bytes = &down[..length?];
                if bytes.is_empty() || !pass(&mut client, bytes, &mut answer_left).await? {
                    return Ok(());
                }
            }
        }
    }
}

impl Shared {
    fn fault(&self, head: &[u8]) -> Fault {
        let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        let text = String::from_utf8_lossy(head);
        let plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        plan(number, &text)
    }
}

/// Passes on as much as is allowed; `false` if that was the last byte.
async fn pass(to: &mut TcpStream, bytes: &[u8], left: &mut usize) -> std::io::Result<bool> {
    let now = bytes.len().min(*left);
    to.write_all(&bytes[..now]).await?;
    if *left != usize::MAX {
        *left -= now;
    }
    Ok(*left > 0)
}

/// Appends to a head up to its empty line. Returns how much was taken and whether the head is
/// complete.
fn take_head(head: &mut Vec<u8>, bytes: &[u8]) -> (usize, bool) {
    for (index, byte) in bytes.iter().enumerate() {
        head.push(*byte);
        if head.ends_with(b"\r\n\r\n") {
            return (index + 1, true);
        }
    }
    (bytes.len(), false)
}

fn length_of_body(head: &[u8]) -> usize {
    let text = String::from_utf8_lossy(head).to_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    length.map_or(0, |length| length.trim().parse().unwrap())
}

async fn refuse(client: TcpStream, status: u16, code: &str, headers: &str) -> std::io::Result<()> {
    let body = format!("<Error><Code>{code}</Code><Message>told to</Message></Error>");
    answer(client, status, headers, &body).await
}

async fn answer(
    mut client: TcpStream,
    status: u16,
    headers: &str,
    body: &str,
) -> std::io::Result<()> {
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} Told To\r\nConnection: close\r\n{headers}\
         Content-Type: application/xml\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await?;
    drain(client).await
}

/// Reads and discards everything until the other side closes the connection.
async fn drain(mut client: TcpStream) -> std::io::Result<()> {
    let mut bytes = vec![0; 64 << 10];
    while client.read(&mut bytes).await? > 0 {}
    Ok(())
}
