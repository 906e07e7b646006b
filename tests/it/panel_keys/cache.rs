//! How long an answer of the panel counts: for reads a few seconds, for everything else not at all.

use std::time::Duration;

use reqwest::Method;

use super::{World, create, list, refusal};
use crate::stand_ins::faults::Fault;
use crate::support::client::send;
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn reads_ask_once_in_a_while_and_writes_each_time() {
    let world = World::start(&[("auth.panel.cache_seconds", "60")]).await;
    let owner = world.with_key_of("owner");
    let mut reads = Vec::new();
    for _ in 0..10 {
        reads.push(send(list(&owner)));
    }
    for answer in futures_util::future::join_all(reads).await {
        assert_eq!(answer.status, 200);
    }
    assert_eq!(world.asked().len(), 1);
    for number in 2..=4 {
        let answer = send(create(&owner)).await;
        assert!([200, 409].contains(&answer.status), "{}", answer.status);
        assert_eq!(world.asked().len(), number);
    }
    assert_eq!(send(list(&owner)).await.status, 200);
    assert_eq!(world.asked().len(), 4);
    // Another key, or another server, is another question.
    assert_eq!(send(list(&world.with_key_of("owner"))).await.status, 200);
    let short = owner.about(&world.server.to_string()[..8]);
    assert_eq!(send(list(&short)).await.status, 200);
    assert_eq!(world.asked().len(), 6);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_panel_revokes_ends_at_once_for_writes_and_soon_for_reads() {
    let world = World::start(&[("auth.panel.cache_seconds", "2")]).await;
    let subuser = world.subuser(&["backup.read", "backup.create", "backup.download"]);
    assert_eq!(send(list(&subuser)).await.status, 200);
    crate::permissions::reset(&world.app).await;
    let link = "/a4962fe6-90c8-4b89-ba62-a5d3b06426c0/download";
    let link = || subuser.request(Method::GET, link);
    assert_eq!(send(link()).await.status, 200);

    // A permission: everything but a read asks anew, and reads know it from then on.
    world.permit(&["backup.read"]);
    assert_eq!(refusal(link()).await.0, 403);
    assert_eq!(refusal(create(&subuser)).await.0, 403);
    world.permit(&[]);
    eventually("reads are refused", async || {
        (send(list(&subuser)).await.status == 403).then_some(())
    })
    .await;

    // The key: a write is refused, and no read is answered after that.
    world.permit(&["backup.read", "backup.create"]);
    eventually("reads are answered", async || {
        (send(list(&subuser)).await.status == 200).then_some(())
    })
    .await;
    let key = subuser.token().unwrap().to_owned();
    world.client_api(|api| api.keys.remove(&key));
    assert_eq!(send(create(&subuser)).await.status, 401);
    assert_eq!(send(list(&subuser)).await.status, 401);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_arrives_late_does_not_outlive_the_permission() {
    let world = World::start(&[]).await;
    let subuser = world.subuser(&["backup.create"]);
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    let body = futures_util::stream::once(async move {
        let _sent = receiver.await;
        Ok::<_, std::io::Error>(b"{}".to_vec())
    });
    let request = subuser
        .request(Method::POST, "")
        .body(reqwest::Body::wrap_stream(body));
    let answer = tokio::spawn(send(request));
    eventually("the panel was asked", async || {
        (world.asked().len() == 1).then_some(())
    })
    .await;
    world.permit(&["backup.read"]);
    // An answer counts as new for a second.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    sender.send(()).unwrap();
    assert_eq!(answer.await.unwrap().status, 403);
    assert_eq!(world.asked().len(), 2);
    let rows = world.app.sql().query("SELECT count(*) FROM backups").await;
    assert_eq!(rows, [[Some("0".to_owned())]]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_panel_is_down_reads_go_on_and_writes_do_not() {
    let world = World::start(&[("auth.panel.cache_seconds", "0")]).await;
    let owner = world.with_key_of("owner");
    assert_eq!(send(list(&owner)).await.status, 200);
    world.panel.set_fault(Fault::Down);
    for _ in 0..3 {
        assert_eq!(send(list(&owner)).await.status, 200);
        assert_eq!(send(create(&owner)).await.status, 503);
    }
    // Who was not known before, is not known now.
    assert_eq!(send(list(&world.with_key_of("owner"))).await.status, 503);
    // A panel that answers again is believed at once.
    let key = owner.token().unwrap().to_owned();
    world.client_api(|api| api.keys.remove(&key));
    world.panel.set_fault(Fault::None);
    assert_eq!(send(create(&owner)).await.status, 401);
    assert_eq!(send(list(&owner)).await.status, 401);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_ends_with_the_access() {
    let world = World::start(&[("auth.panel.cache_seconds", "1")]).await;
    let subuser = world.subuser(&["backup.read"]);
    let mut stream = subuser
        .request(Method::GET, "/events")
        .send()
        .await
        .unwrap();
    assert_eq!(stream.status(), 200);
    assert!(stream.chunk().await.unwrap().is_some());
    world.permit(&["control.console"]);
    let ended = async { while stream.chunk().await.unwrap().is_some() {} };
    tokio::time::timeout(Duration::from_secs(40), ended)
        .await
        .unwrap();
    assert_eq!(
        refusal(subuser.request(Method::GET, "/events")).await.0,
        403
    );
    world.stop().await;
}
