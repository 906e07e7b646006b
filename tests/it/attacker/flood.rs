//! Attacks on the API with the key of the attacked server's owner, and without one.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::dice::Dice;
use super::program::{Attacks, Mode, Plan, Record};

pub(super) struct Flood {
    api: String,
    token: String,
    path: String,
    dice: Dice,
}

impl Flood {
    pub(super) fn new(plan: &Plan, dice: Dice) -> Self {
        Self {
            api: plan.api.clone(),
            token: plan.token.clone(),
            path: format!("/api/client/servers/{}/backups", plan.server),
            dice,
        }
    }

    fn connect(&self) -> Option<TcpStream> {
        let stream = TcpStream::connect(&self.api).ok()?;
        let timeout = Some(Duration::from_secs(2));
        stream.set_read_timeout(timeout).ok()?;
        stream.set_write_timeout(timeout).ok()?;
        Some(stream)
    }

    /// Sends the head of a request, and whatever is the beginning of its body.
    fn send(&self, head: &str, token: &str, body: &str) -> Option<TcpStream> {
        let mut stream = self.connect()?;
        let text = format!(
            "{head} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\n{body}",
            self.api
        );
        stream.write_all(text.as_bytes()).ok()?;
        Some(stream)
    }

    /// Reads the beginning of an answer.
    fn answer(stream: Option<TcpStream>) -> Option<String> {
        let mut bytes = [0; 4096];
        let length = stream?.read(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    fn wrong_keys(&mut self) -> bool {
        (0..20).all(|_| {
            // The identifier of a key that exists, and a wrong secret.
            let known = self.token.len().saturating_sub(8);
            let key = format!("{}{:08x}", &self.token[..known], self.dice.below(1 << 32));
            let sent = self.send(&format!("GET {}", self.path), &key, "\r\n");
            Self::answer(sent).is_some_and(|answer| answer.contains(" 401 "))
        })
    }

    fn slow_bodies(&mut self) -> bool {
        let body = "Content-Length: 1000\r\n\r\n{\"name\"";
        let head = format!("POST {}", self.path);
        let streams: Vec<_> = (0..6)
            .map(|_| self.send(&head, &self.token, body))
            .collect();
        std::thread::sleep(Duration::from_millis(self.dice.below(200)));
        streams.iter().all(Option::is_some)
    }

    /// Requests that are kept open, or cost a lot.
    fn many(&mut self, path: &str, count: usize) -> bool {
        let head = format!("GET {}{path}", self.path);
        let streams: Vec<_> = (0..count)
            .map(|_| self.send(&head, &self.token, "\r\n"))
            .collect();
        std::thread::sleep(Duration::from_millis(self.dice.below(100)));
        let answers = streams.into_iter().map(Self::answer);
        answers.filter(Option::is_some).count() == count
    }

    fn contents(&mut self) -> bool {
        let list = self.send(
            &format!("GET {}?per_page=1", self.path),
            &self.token,
            "\r\n",
        );
        let text = Self::answer(list).unwrap_or_default();
        let Some((_, rest)) = text.split_once("\"uuid\":\"") else {
            return false;
        };
        let backup = rest.get(..36).unwrap_or_default().to_owned();
        self.many(&format!("/{backup}/contents"), 12)
    }

    fn bodies_with_a_wrong_key(&mut self) -> bool {
        let body = "Content-Length: 17\r\n\r\n{\"ignored\":\"*\\n\"}";
        let head = format!("POST {}", self.path);
        let streams: Vec<_> = (0..3).map(|_| self.send(&head, "wrong", body)).collect();
        streams
            .into_iter()
            .map(Self::answer)
            .all(|answer| answer.is_some())
    }

    fn storm(&mut self) -> bool {
        let streams: Vec<_> = (0..64).map(|_| self.connect()).collect();
        for mut stream in streams.iter().flatten() {
            let garbage = [0x16, 0x03, 0x01, 0xff, b'\r', b'\n'];
            let _ = stream.write_all(&garbage[..usize::try_from(self.dice.below(6)).unwrap()]);
        }
        streams.iter().all(Option::is_some)
    }
}

impl Attacks for Flood {
    fn attack(&mut self, _: Mode, record: &Record) {
        let (name, succeeded) = match self.dice.below(6) {
            0 => ("wrong keys", self.wrong_keys()),
            1 => ("slow bodies", self.slow_bodies()),
            2 => ("event streams", self.many("/events", 12)),
            3 => ("contents", self.contents()),
            4 => ("bodies with a wrong key", self.bodies_with_a_wrong_key()),
            _ => ("connections", self.storm()),
        };
        record.count(name, succeeded);
        std::thread::sleep(Duration::from_millis(5));
    }
}
