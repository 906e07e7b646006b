//! The panel's credentials appear in no log, and in no answer.

use reqwest::Method;
use serde_json::json;

use crate::stand_ins::faults::Fault;
use crate::stand_ins::panel::PanelStandIn;
use crate::stand_ins::{Flavour, NodeKey};
use crate::support::client::{Client, send};
use crate::support::files;
use crate::support::process::{Process, holdfast, run};

#[tokio::test(flavor = "multi_thread")]
async fn no_credential_of_the_panel_is_logged() {
    let panel = PanelStandIn::start(Flavour::Pterodactyl, &NodeKey::random());
    let panel_url = panel.url();
    let folder = files::scratch();
    let data = folder.path().join("data");
    let settings = [
        ("auth.panel.url", panel_url.as_str()),
        // Every line of every crate.
        ("log.filter", "trace"),
    ];
    let (mut process, url) = Process::up(&data, &settings).await;
    let admin = |arguments: &[&str]| {
        let mut command = holdfast(&[]);
        command.args(["admin", "--json", "--data"]).arg(&data);
        run(command.args(arguments)).json()
    };
    let server = panel.add_server();
    admin(&["user", "create", "--email", "owner@example.com"]);
    let directory = folder.path().join("server");
    files::make_server(&directory);
    let uuid = server.to_string();
    let directory = directory.to_str().unwrap();
    let made = [
        "server",
        "create",
        "--owner",
        "owner@example.com",
        "--name",
        "S",
        "--dir",
        directory,
        "--uuid",
        &uuid,
    ];
    admin(&made);
    let (key, session) = panel.change(|state| {
        let api = &mut state.client_api;
        api.add_user("owner", false);
        let users = api.servers.entry(server).or_default();
        users.owner = "owner".to_owned();
        users.backup_limit = Some(5);
        (api.add_key("owner"), api.sign_in("owner"))
    });

    let client = Client::new(&url, &uuid, Some(key.clone()));
    let anonymous = Client::new(&url, &uuid, None);
    let cookie = format!("pterodactyl_session={session}; XSRF-TOKEN=0123456789abcdefXSRF");
    let with_session = |client: &Client| client.request(Method::GET, "").header("cookie", &cookie);
    assert_eq!(client.list("").await.status, 200);
    assert_eq!(client.create(json!({})).await.status, 200);
    assert_eq!(send(with_session(&anonymous)).await.status, 200);
    let write = anonymous
        .request(Method::POST, "")
        .header("cookie", &cookie);
    let write = write.header("x-xsrf-token", "0123456789abcdefXSRF");
    assert_eq!(send(write).await.status, 403);
    for fault in [
        Fault::HtmlError,
        Fault::Redirect {
            to: panel_url.clone(),
        },
        Fault::CutBody,
        Fault::Down,
    ] {
        panel.set_fault(fault);
        assert_eq!(client.create(json!({})).await.status, 503);
        let fresh = panel.change(|state| state.client_api.sign_in("owner"));
        let cookie = format!("pterodactyl_session={fresh}");
        let read = anonymous.request(Method::GET, "").header("cookie", cookie);
        assert_eq!(send(read).await.status, 503);
    }
    process.signal(rustix::process::Signal::TERM);
    assert!(process.ended().await.success());
    let log = process.log();
    assert!(log.contains("cannot ask the panel about a caller"), "{log}");
    for secret in [&key[16..], &session[..60], "0123456789abcdefXSRF"] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None);
    }
}
