//! Secrets never appear in logs. The test checks the output of real processes over a whole life,
//! with every log line enabled.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;

use crate::support::client::{Client, send};
use crate::support::process::{Process, holdfast, run};
use crate::support::receiver::Receiver;
use crate::support::s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use crate::support::{eventually, files};

const SIGNING_KEY: &str = "a-signing-key-that-shows-nowhere-at-all";
const PREVIOUS_KEY: &str = "an-earlier-key-that-shows-nowhere-either";
/// A private key that protects nothing, since it is published here.
const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

/// Part of a receiver's address that is itself a secret, as with chat services.
const NOBODYS_ADDRESS: &str = "hooks/0123456789/an-address-that-shows-nowhere";

/// A webhook's secret as shown to users, as used for signing, and as digits.
fn secret_words(secret: &str) -> [String; 2] {
    let encoded = secret.strip_prefix("whsec_").unwrap();
    let bytes = STANDARD.decode(encoded).unwrap();
    [encoded.to_owned(), hex::encode(bytes)]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_appears_in_the_output_of_a_service() {
    let s3 = S3Server::start().await;
    let endpoint = s3.endpoint();
    let disk = |key: &str| format!("storage.disks.offsite.{key}");
    let keys = [
        "driver",
        "bucket",
        "region",
        "endpoint",
        "access_key_id",
        "secret_access_key",
        "path_style",
    ]
    .map(disk);
    let values = [
        "s3",
        BUCKET,
        "us-east-1",
        &endpoint,
        ACCESS_KEY,
        SECRET_KEY,
        "true",
    ];
    let mut settings: Vec<(&str, &str)> = keys.iter().map(String::as_str).zip(values).collect();
    settings.extend([
        ("storage.disks.local.encryption", "age"),
        ("storage.disks.local.age_identity", IDENTITY),
        ("auth.signing_key", SIGNING_KEY),
        ("auth.previous_signing_keys", PREVIOUS_KEY),
        // Every line of every crate.
        ("log.filter", "trace"),
    ]);
    let folder = files::scratch();
    let (data, directory) = (folder.path().join("data"), folder.path().join("server"));
    let second = folder.path().join("second");
    files::make_server(&directory);
    files::make_server(&second);
    let (mut process, url) = Process::up(&data, &settings).await;
    let admin = |arguments: &[&str]| {
        let mut command = holdfast(&[]);
        command.args(["admin", "--json", "--data"]).arg(&data);
        run(command.args(arguments)).json()
    };
    let owner = "owner@example.com";
    admin(&["user", "create", "--email", owner, "--admin"]);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let token = text(&admin(&["key", "create", "--user", owner])["token"]);
    let operator = ["key", "create", "--user", owner, "--kind", "application"];
    let operator = text(&admin(&operator)["token"]);
    let mut links = Vec::new();
    let mut secrets = vec![token.clone(), operator.clone()];
    // Two webhooks for all events: one with a receiver, and one without, whose address is itself a
    // secret.
    let receiver = Receiver::start(&[]).await;
    let nobodys = format!("http://127.0.0.1:9/{NOBODYS_ADDRESS}");
    for url in [receiver.url.as_str(), &nobodys] {
        let made = admin(&["webhook", "create", "--url", url]);
        let secret = text(&made["secret"]);
        secrets.extend(secret_words(&secret));
    }
    for (directory, disk) in [(&directory, "local"), (&second, "offsite")] {
        let directory = directory.to_str().unwrap();
        let server = [
            "server", "create", "--owner", owner, "--name", "S", "--dir", directory, "--disk", disk,
        ];
        let server = text(&admin(&server)["uuid"]);
        let owner = Client::new(&url, &server, Some(token.clone()));
        let uuid = owner.create(json!({ "name": "kept" })).await.uuid();
        eventually("the backup is completed", async || {
            (owner.show(&uuid).await.attributes()["status"] == "completed").then_some(())
        })
        .await;
        let link = owner.download(&uuid).await.link();
        let anonymous = Client::new(&url, &server, None);
        assert_eq!(
            send(anonymous.plain(Method::GET, &link)).await.status,
            200,
            "{link}"
        );
        // Invalid keys, which may be mistyped by only one letter.
        let other = if token.ends_with('x') { 'y' } else { 'x' };
        let wrong = format!("{}{other}", &token[..token.len() - 1]);
        assert_eq!(owner.with_token(&wrong).list("").await.status, 401);
        assert_eq!(owner.with_token(&operator).list("").await.status, 403);
        let tampered = format!("{link}x");
        assert_ne!(
            send(anonymous.plain(Method::GET, &tampered)).await.status,
            200
        );
        secrets.push(wrong);
        links.push(link);
        assert_eq!(owner.restore(&uuid, json!({})).await.status, 202);
        eventually("the restore is done", async || {
            (owner.show(&uuid).await.attributes()["restore"]["status"] == "completed").then_some(())
        })
        .await;
        assert_eq!(owner.delete(&uuid).await.status, 204);
    }
    let made = Client::new(&url, "x", Some(operator));
    let keys = format!("{url}/api/application/keys");
    let made = made
        .plain(Method::POST, &keys)
        .json(&json!({ "user": owner, "kind": "client" }));
    secrets.push(text(&send(made).await.attributes_of(201)["token"]));
    let signatures = eventually("webhooks are sent", async || {
        let received = receiver.received();
        let signatures = received
            .iter()
            .map(|one| one.headers["webhook-signature"].clone());
        (received.len() >= 8).then(|| signatures.collect::<Vec<_>>())
    })
    .await;
    eventually("the other is tried in vain", async || {
        let all = admin(&["webhook", "list"]);
        let mut all = all.as_array().unwrap().iter();
        all.any(|one| !one["last_error"].is_null()).then_some(())
    })
    .await;
    process.signal(Signal::TERM);
    assert!(process.ended().await.success());
    secrets.extend(signatures);

    let printed = format!("{}{}", process.stdout(), process.log());
    assert!(
        printed.contains("answered a request") && printed.contains("TRACE"),
        "it logs all there is"
    );
    let signed = |link: &String| link.rsplit_once(['.', '=']).unwrap().1.to_owned();
    secrets.extend(links.iter().map(signed));
    let known = [
        SIGNING_KEY,
        PREVIOUS_KEY,
        SECRET_KEY,
        IDENTITY,
        NOBODYS_ADDRESS,
    ];
    secrets.extend(known.map(str::to_owned));
    for secret in secrets {
        // The part of a key after its public identifier.
        let secret = secret
            .get(16..)
            .filter(|_| secret.starts_with("ptl"))
            .unwrap_or(&secret);
        if let Some(line) = printed.lines().find(|line| line.contains(secret)) {
            panic!("`{secret}` shows in: {line}");
        }
    }
}
