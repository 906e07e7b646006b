//! What the panel answers, and what its callers get for it.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use super::{World, create, list, refusal};
use crate::stand_ins::faults::Fault;
use crate::support::client::{Client, send};
use crate::support::receiver::{Answer, Receiver};

/// The URL of the server itself.
fn server_url(world: &World) -> String {
    format!("{}/api/client/servers/{}", world.app.base_url, world.server)
}

/// Puts the server into one state, as the panel knows it.
fn set_state(world: &World, state: &str) {
    let is_status = state.contains("install") || state == "restoring_backup";
    world.panel.change_server(world.server, |row| {
        row.suspended = state == "suspended";
        row.status = is_status.then(|| state.to_owned());
    });
    world.client_api(|api| {
        let users = api.servers.get_mut(&world.server).unwrap();
        users.is_transferring = state == "transferring";
        users.is_node_under_maintenance = state == "maintenance";
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn states_of_the_server_refuse_what_the_panel_refuses() {
    let world = World::start(&[]).await;
    let owner = world.with_key_of("owner");
    let restore = |client: &Client| {
        let path = "/a4962fe6-90c8-4b89-ba62-a5d3b06426c0/restore";
        client
            .request(Method::POST, path)
            .json(&json!({ "truncate": true }))
    };
    crate::permissions::reset(&world.app).await;
    assert_eq!(send(list(&owner)).await.status, 200);
    let conflict = (409, "ServerStateConflictException".to_owned());
    for state in [
        "suspended",
        "transferring",
        "maintenance",
        "installing",
        "install_failed",
        "restoring_backup",
        "reinstall_failed",
    ] {
        set_state(&world, state);
        // Each state is read anew.
        let owner = world.with_key_of("owner");
        // The panel shows the server itself in every state.
        let shown = send(owner.plain(Method::GET, &server_url(&world))).await;
        assert_eq!(shown.status, 200, "{state}");
        if state == "reinstall_failed" {
            assert_eq!(send(list(&owner)).await.status, 200, "{state}");
        } else {
            assert_eq!(refusal(list(&owner)).await, conflict, "{state}");
            assert_eq!(refusal(create(&owner)).await, conflict, "{state}");
        }
        assert_eq!(refusal(restore(&owner)).await, conflict, "{state}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_the_panel_are_passed_on() {
    let world = World::start(&[]).await;
    let anonymous = world.app.as_anonymous();
    let unknown = anonymous.with_token(&format!("ptlc_{}", "Xy7".repeat(15).split_at(43).0));
    assert_eq!(
        refusal(list(&unknown)).await,
        (401, "InvalidCredentialsException".to_owned())
    );
    let application = world.client_api(|api| api.add_application_key("owner"));
    let answer = send(list(&anonymous.with_token(&application)))
        .await
        .refusal();
    assert_eq!(
        (answer.0, answer.1.as_str()),
        (403, "AccessDeniedHttpException")
    );
    assert!(answer.2.contains("application API key"), "{}", answer.2);

    let owner = world.with_key_of("owner");
    world.client_api(|api| api.requires_two_factor = true);
    let answer = (400, "TwoFactorAuthRequiredException".to_owned());
    assert_eq!(refusal(list(&owner)).await, answer);
    assert_eq!(refusal(create(&owner)).await, answer);
    world.client_api(|api| api.requires_two_factor = false);
    assert_eq!(send(create(&owner)).await.status, 200);

    world.client_api(|api| api.is_throttled = Some(7));
    let throttled = send(create(&owner)).await;
    assert_eq!(
        (throttled.status, throttled.header("retry-after")),
        (429, "7")
    );
    // Reads lose their answer with it, and the panel is left alone meanwhile.
    let asked = world.asked().len();
    for _ in 0..5 {
        let throttled = send(list(&owner)).await;
        assert_eq!(throttled.status, 429);
        let seconds: u32 = throttled.header("retry-after").parse().unwrap();
        assert!((1..=7).contains(&seconds), "{seconds}");
    }
    assert_eq!(world.asked().len(), asked);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_panel_answers_grants_nothing() {
    let world = World::start(&[]).await;
    let victim = Receiver::start(&[Answer::Status(200)]).await;
    let unavailable = (503, "ServiceUnavailableHttpException".to_owned());
    let to = victim.url.clone();
    for fault in [
        Fault::Down,
        Fault::NoAnswer,
        Fault::CutBody,
        Fault::HtmlOk,
        Fault::HtmlError,
        // A web server, with the panel behind it gone.
        Fault::HtmlNotFound,
        Fault::JsonError,
        Fault::Maintenance,
        Fault::Redirect { to },
    ] {
        world.panel.set_fault(fault.clone());
        let owner = world.with_key_of("owner");
        assert_eq!(refusal(list(&owner)).await, unavailable, "{fault:?}");
        assert_eq!(refusal(create(&owner)).await, unavailable, "{fault:?}");
    }
    world.panel.set_fault(Fault::None);
    // A redirect is not followed, so the key goes nowhere else.
    assert!(victim.received().is_empty());

    let stranger = world.with_key_of("stranger");
    let huge = format!("{{\"attributes\":\"{}\"}}", "x".repeat(2 << 20));
    let other = json!({
        "attributes": { "uuid": uuid::Uuid::new_v4() },
        "meta": { "is_server_owner": true, "user_permissions": ["*"] },
    });
    for body in [huge, "{}".to_owned(), other.to_string(), "\"*\"".to_owned()] {
        let start = body[..body.len().min(40)].to_owned();
        world.client_api(|api| api.instead = Some(body));
        assert_eq!(refusal(list(&stranger)).await, unavailable, "{start}");
        assert_eq!(refusal(create(&stranger)).await, unavailable, "{start}");
    }
    world.client_api(|api| api.instead = None);
    let rows = world.app.sql().query("SELECT count(*) FROM backups").await;
    assert_eq!(rows, [[Some("0".to_owned())]]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_panel_does_not_hold_callers_for_long() {
    let world = World::start(&[]).await;
    let owner = world.with_key_of("owner");
    world.panel.set_fault(Fault::Slow {
        milliseconds: 60_000,
    });
    let begun = Instant::now();
    let answer = send(create(&owner)).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "5"));
    let took = begun.elapsed();
    assert!(
        took > Duration::from_secs(5) && took < Duration::from_secs(40),
        "{took:?}"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_the_panel_are_counted_by_outcome() {
    let world = World::start(&[]).await;
    let counted = async || {
        let url = world.app.base_url_of("/metrics");
        let text = send(world.app.as_anonymous().plain(Method::GET, &url))
            .await
            .bytes;
        let text = String::from_utf8(text).unwrap();
        ["granted", "refused", "failed"].map(|outcome| {
            let name = format!("holdfast_panel_auth_requests_total{{outcome=\"{outcome}\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&name));
            line.map_or(0, |number| number.parse().unwrap())
        })
    };
    assert_eq!(counted().await, [0, 0, 0]);
    let owner = world.with_key_of("owner");
    for _ in 0..2 {
        send(create(&owner)).await;
    }
    send(list(&world.with_key_of("stranger"))).await;
    world.panel.set_fault(Fault::HtmlError);
    send(create(&owner)).await;
    assert_eq!(counted().await, [2, 1, 1]);
    world.stop().await;
}
