//! `events`: printed as they happen, and none lost or repeated after a cut.

use std::sync::Mutex;

use serde_json::Value;

use super::Terminal;
use crate::support::app::App;
use crate::support::eventually;
use crate::support::files::write;
use crate::support::process::Process;
use crate::support::proxy::{Fault, Proxy};

#[tokio::test(flavor = "multi_thread")]
async fn events_continue_after_a_cut_without_a_gap() {
    let app = App::start().await;
    write(&app.directory.join("a"), b"a");
    let to = app
        .base_url
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    let streams = Mutex::new(0);
    let proxy = Proxy::start(to, move |_, head| {
        let mut streams = streams.lock().unwrap();
        if !head.contains("/backups/events") {
            return Fault::None;
        }
        *streams += 1;
        // The first stream is cut within its first events.
        match *streams {
            1 => Fault::CutAnswer(1_500),
            _ => Fault::None,
        }
    })
    .await;
    let terminal = Terminal::at(&app, &proxy.endpoint());
    let arguments = ["events", &terminal.server, "--json", "--no-progress"];
    let process = Process::start(&mut terminal.command(&arguments), terminal.home.path());
    eventually("the stream is open", async || {
        process.stdout().contains("stream.ready").then_some(())
    })
    .await;
    for _ in 0..3 {
        app.backup().await;
    }
    let events = eventually("all events are printed", async || {
        let text = process.stdout();
        let events: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|event: &Value| event["event"] != "stream.ready")
            .collect();
        (events.len() >= 6).then_some(events)
    })
    .await;
    let names: Vec<&str> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    let pair = ["backup.created", "backup.completed"];
    assert_eq!(names, pair.repeat(3), "{names:?}");
    let log = process.log();
    assert!(log.contains("; connecting again in 1 s"), "{log}");
    assert!(!log.contains(&terminal.key[16..]));

    // Stored events, for people.
    let sequence = events[0]["data"]["sequence"].as_u64().unwrap().to_string();
    let arguments = ["events", &terminal.server, "--after", &sequence];
    let process = Process::start(&mut terminal.command(&arguments), terminal.home.path());
    eventually("the stored events are printed", async || {
        (process.stdout().lines().count() >= 5).then_some(())
    })
    .await;
    let text = process.stdout();
    let first = text.lines().next().unwrap();
    assert!(first.contains(" backup.completed "), "{text}");
    assert!(first.contains("`Backup at "), "{text}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_end_when_the_key_is_revoked() {
    let app = App::without_worker(&[]).await;
    let terminal = Terminal::of(&app);
    let mut process = Process::start(
        &mut terminal.command(&["events", &terminal.server]),
        terminal.home.path(),
    );
    eventually("the stream is open", async || {
        process.log().contains("waiting for events").then_some(())
    })
    .await;
    let identifier = holdfast_domain::key::KeyIdentifier::parse(&terminal.key[..16]).unwrap();
    let revoked = crate::support::fixtures::no_key(app.database(), &identifier).await;
    assert!(revoked.unwrap());
    let status = process.ended().await;
    assert_eq!(status.code(), Some(1), "{}", process.log());
    assert!(
        process.log().contains("credentials provided were invalid"),
        "{}",
        process.log()
    );
    app.stop().await;
}
