//! `holdfast client events`: prints the events of a server until it is stopped.

use std::time::Duration;

use clap::Args;
use reqwest::Response;
use serde_json::{Value, json};

use super::api::Api;
use super::find::{self, text};
use crate::error::CommandError;
use crate::output;
use crate::progress::size;

/// The shortest time before the stream is opened again.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// The longest time before the stream is opened again.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The longest event.
const EVENT_MAX_BYTES: usize = 4 << 20;

/// The options of `holdfast client events`.
#[derive(Debug, Args)]
pub struct EventsOptions {
    /// UUID, short ID or name of the server
    server: String,
    /// Begins with the stored events after the one with this sequence number
    #[arg(long, value_name = "SEQUENCE")]
    after: Option<u64>,
    /// Leaves out the progress of running jobs
    #[arg(long)]
    no_progress: bool,
}

/// An event of a stream.
#[derive(Debug, Default, PartialEq)]
struct StreamedEvent {
    id: Option<String>,
    name: String,
    data: Value,
}

pub(super) async fn run(
    api: &Api,
    json: bool,
    options: &EventsOptions,
) -> Result<(), CommandError> {
    let server = find::server(api, &options.server).await?;
    let path = format!("{}/events", server.backups());
    let mut last = options.after.map(|sequence| sequence.to_string());
    let mut wait = SHORTEST_WAIT;
    loop {
        let why = match api.open(&path, last.as_deref()).await {
            Ok(response) => {
                let mut each = |event: &StreamedEvent| {
                    wait = SHORTEST_WAIT;
                    if let Some(id) = &event.id {
                        last = Some(id.clone());
                    }
                    match options.no_progress && event.name == "backup.progress" {
                        true => Ok(()),
                        false => event.print(json),
                    }
                };
                follow(response, &mut each).await?
            }
            Err(failure) if failure.is_passing() => failure.to_string(),
            Err(failure) => return Err(failure.into()),
        };
        let seconds = wait.as_secs();
        output::notice(&format!("{why}; connecting again in {seconds} s"));
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Passes on the events of a stream. Returns why it ended.
async fn follow(
    mut response: Response,
    each: &mut dyn FnMut(&StreamedEvent) -> Result<(), CommandError>,
) -> Result<String, CommandError> {
    let mut parser = EventParser::default();
    loop {
        let chunk = match Api::chunk(&mut response).await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Ok("the service has ended the stream".to_owned()),
            Err(why) => return Ok(format!("the stream was cut: {why}")),
        };
        for event in parser.add(&chunk)? {
            each(&event)?;
        }
    }
}

/// Reads server-sent events, whose bytes arrive in any pieces.
#[derive(Debug, Default)]
struct EventParser {
    /// The beginning of a line.
    line: Vec<u8>,
    id: Option<String>,
    name: String,
    data: String,
}

impl EventParser {
    fn add(&mut self, bytes: &[u8]) -> Result<Vec<StreamedEvent>, CommandError> {
        let mut events = Vec::new();
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() + self.data.len() > EVENT_MAX_BYTES {
                return Err(CommandError::new(
                    "the service has sent an event that is too long",
                ));
            }
            if !part.ends_with(b"\n") {
                break;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            events.extend(self.line(line.trim_end_matches(['\r', '\n'])));
        }
        Ok(events)
    }

    /// Reads a line. An empty one ends an event.
    fn line(&mut self, line: &str) -> Option<StreamedEvent> {
        if line.is_empty() {
            let ended = std::mem::take(self);
            let data = serde_json::from_str(&ended.data).unwrap_or(Value::Null);
            return (!ended.data.is_empty()).then_some(StreamedEvent {
                id: ended.id,
                name: ended.name,
                data,
            });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = Some(value.to_owned()),
            "event" => self.name = value.to_owned(),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // Comments, and the time to wait.
            _ => {}
        }
        None
    }
}

impl StreamedEvent {
    fn print(&self, json: bool) -> Result<(), CommandError> {
        if json {
            let Self { id, name, data } = self;
            return output::result(true, &json!({ "event": name, "id": id, "data": data }));
        }
        let data = &self.data;
        if self.name == "stream.ready" {
            if data["missed"] == true {
                output::notice("some events that were missed are no longer stored");
            }
            output::notice("waiting for events; Ctrl-C ends this");
            return Ok(());
        }
        let mut words = Vec::new();
        let backup = &data["backup"];
        let uuid = text(backup, "uuid");
        if let Some(id) = uuid.get(..8) {
            words.push(match text(backup, "name") {
                "" => id.to_owned(),
                name => format!("`{name}` ({id})"),
            });
        }
        if let Some(schedule) = data["schedule"]["name"].as_str() {
            words.push(format!("schedule `{schedule}`"));
        }
        let progress = &data["progress"];
        if let Some(percent) = progress["percent"].as_f64() {
            words.push(format!("{} {percent:.0} %", text(progress, "phase")));
        }
        if self.name == "backup.completed" {
            words.push(size(backup["bytes"].as_u64().unwrap_or_default()));
        }
        words.extend(data["error"].as_str().map(str::to_owned));
        let time = data["created_at"].as_str().unwrap_or("-");
        let line = format!("{time:<25} {:<23} {}", self.name, words.join(", "));
        output::line(output::visible(line.trim_end()).as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_in_any_pieces() {
        let stream = "retry: 3000\n\n: comment\n\nid: 7\r\nevent: backup.created\r\n\
                      data: {\"a\":\ndata: 1}\n\nevent: backup.progress\ndata:{}\n\nevent: x";
        for length in [1, 2, 7, stream.len()] {
            let mut parser = EventParser::default();
            let mut events = Vec::new();
            for piece in stream.as_bytes().chunks(length) {
                events.extend(parser.add(piece).unwrap());
            }
            let expected = [
                StreamedEvent {
                    id: Some("7".to_owned()),
                    name: "backup.created".to_owned(),
                    data: json!({ "a": 1 }),
                },
                StreamedEvent {
                    id: None,
                    name: "backup.progress".to_owned(),
                    data: json!({}),
                },
            ];
            assert_eq!(events, expected, "{length}");
        }
        let endless = vec![b'a'; EVENT_MAX_BYTES + 1];
        assert!(EventParser::default().add(&endless).is_err());
    }
}
