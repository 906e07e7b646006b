//! Download links that the panel has allowed, and the panel behind a private authority.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use reqwest::Method;
use serde_json::{Value, json};

use super::{World, list, refusal};
use crate::support::client::send;
use crate::support::tls::Tls;
use crate::support::{eventually, files};

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_short_lived_and_ends_with_its_backup_and_with_the_setting() {
    let mut world = World::start(&[]).await;
    world.app.add_worker(&[]);
    files::make_server(&world.app.directory);
    let owner = world.with_key_of("owner");
    let backup = owner.create(json!({})).await.uuid();
    eventually("the backup is completed", async || {
        let backup = owner.show(&backup).await.attributes();
        (backup["status"] == "completed").then_some(())
    })
    .await;
    let link = owner.download(&backup).await.link();
    let (_, token) = link.split_once("token=").unwrap();
    let claims = token.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let seconds = claims["exp"].as_i64().unwrap() - Utc::now().timestamp();
    assert!((800..=900).contains(&seconds), "{seconds}");
    assert_eq!(claims["backup"], json!(backup));
    // Nothing of the credential is in it.
    assert!(
        claims.get("key").is_none() && claims.get("user").is_none(),
        "{claims}"
    );

    let anonymous = world.app.as_anonymous();
    let follow = |link: &str| send(anonymous.plain(Method::GET, link));
    assert_eq!(follow(&link).await.status, 200);
    let without_panel = world.app.add_api(&[("auth.panel.url", "")]).await;
    let elsewhere = link.replace(&world.app.base_url, &without_panel);
    assert_eq!(follow(&elsewhere).await.status, 403);
    assert_eq!(owner.delete(&backup).await.status, 204);
    assert_eq!(follow(&link).await.status, 404);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panel_behind_a_private_authority_needs_the_setting() {
    let mut world = World::start(&[]).await;
    let address = world.panel.url();
    let address = address.strip_prefix("http://").unwrap().parse().unwrap();
    let (tls, other) = (Tls::start(address).await, Tls::start(address).await);
    let endpoint = tls.endpoint();
    let managed = format!("UPDATE servers SET panel = '{endpoint}'");
    world.app.sql().query(&managed).await;
    let mut statuses = Vec::new();
    for authority in [None, Some(&other.authority), Some(&tls.authority)] {
        let file = world.app.beside("ca.pem");
        let mut settings = vec![("auth.panel.url", endpoint.as_str())];
        if let Some(authority) = authority {
            fs_err::write(&file, authority).unwrap();
            settings.push(("auth.panel.ca_file", file.to_str().unwrap()));
        }
        let url = world.app.add_api(&settings).await;
        let owner = world.with_key_of("owner").at(&url);
        statuses.push(send(list(&owner)).await.status);
    }
    assert_eq!(statuses, [503, 503, 200]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_leads_back_here_ends_after_one_question() {
    let world = World::start(&[]).await;
    let owner = world.with_key_of("owner");
    let circle = list(&owner).header("x-holdfast-asks-panel", "1");
    assert_eq!(refusal(circle).await.0, 401);
    assert!(world.asked().is_empty());
    assert_eq!(send(list(&owner)).await.status, 200);
    world.stop().await;
}
