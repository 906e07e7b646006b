//! A small receiver of webhooks: records HTTP requests, and answers as configured.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How a receiver treats a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Answers with this status.
    Status(u16),
    /// Redirects the caller.
    Redirect,
    /// Closes the connection without an answer.
    HangUp,
    /// Never answers.
    Hang,
}

/// A received request.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

#[derive(Debug, Default)]
struct Shared {
    received: Vec<Received>,
    answers: VecDeque<Answer>,
}

/// The receiver. It ends when dropped.
pub(crate) struct Receiver {
    pub(crate) url: String,
    shared: Arc<Mutex<Shared>>,
    running: JoinHandle<()>,
}

impl Receiver {
    /// Starts a receiver that gives these answers in turn and repeats the last one; 204 if there is
    /// none.
    pub(crate) async fn start(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let shared = Arc::new(Mutex::new(Shared {
            received: Vec::new(),
            answers: answers.iter().copied().collect(),
        }));
        let state = Arc::clone(&shared);
        let running = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, Arc::clone(&state)));
            }
        });
        Self {
            url,
            shared,
            running,
        }
    }

    /// The requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.lock().unwrap().received.clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Reads one request of a connection, answers it, and closes the connection.
async fn take(mut stream: TcpStream, shared: Arc<Mutex<Shared>>) {
    let mut bytes = Vec::new();
    let (head, begin) = loop {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(count) if count > 0 => bytes.extend_from_slice(&piece[..count]),
            _ => return,
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Some(end) = text.find("\r\n\r\n") {
            break (text[..end].to_owned(), end + 4);
        }
    };
    let mut lines = head.lines();
    let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers["content-length"].parse().unwrap();
    while bytes.len() < begin + length {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(count) if count > 0 => bytes.extend_from_slice(&piece[..count]),
            _ => return,
        }
    }
    let body = String::from_utf8(bytes[begin..].to_vec()).unwrap();
    let answer = {
        let mut shared = shared.lock().unwrap();
        shared.received.push(Received {
            path,
            headers,
            body,
        });
        let answer = shared.answers.front().copied();
        if shared.answers.len() > 1 {
            shared.answers.pop_front();
        }
        answer.unwrap_or(Answer::Status(204))
    };
    let text = match answer {
        Answer::Status(status) => {
            format!("HTTP/1.1 {status} Said\r\ncontent-length: 5\r\nconnection: close\r\n\r\nheard")
        }
        Answer::Redirect => "HTTP/1.1 307 Over there\r\nlocation: /elsewhere\r\n\
            content-length: 0\r\nconnection: close\r\n\r\n"
            .to_owned(),
        Answer::HangUp => return,
        Answer::Hang => return std::future::pending().await,
    };
    // The caller may be gone.
    let _gone = stream.write_all(text.as_bytes()).await;
}
