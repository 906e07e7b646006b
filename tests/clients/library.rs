//! A client written in Rust: `pterodactyl_api`. See README.md.

use std::env::var;
use std::time::Duration;

use pterodactyl_api::Error;
use pterodactyl_api::client::backups::BackupParams;
use pterodactyl_api::client::{Client, ClientBuilder};
use sha2::{Digest, Sha256};

fn client(key: &str) -> Client {
    ClientBuilder::new(var("URL").unwrap(), key).build()
}

fn status<T>(answer: Result<T, Error>) -> u16 {
    match answer.err().expect("it was not refused") {
        Error::Http(status) => status.as_u16(),
        Error::ResourceNotFound => 404,
        Error::RateLimit => 429,
        error => panic!("{error}"),
    }
}

#[tokio::main]
async fn main() {
    let (server, full) = (var("SERVER").unwrap(), var("FULL_SERVER").unwrap());
    let key = var("KEY").unwrap();
    let api = client(&key);
    assert_eq!(
        api.get_account_details().await.unwrap().email,
        "owner@example.com"
    );
    let servers = api.list_servers().await.unwrap();
    assert!(servers.iter().any(|one| one.identifier == server));
    let server = api.get_server(server);
    assert!(server.get_details().await.unwrap().status.is_none());

    let params = BackupParams::new().with_name("pterodactyl_api");
    let made = server.create_backup_with_params(params).await.unwrap();
    assert!(made.completed_at.is_none());
    let shown = loop {
        let shown = server.get_backup(made.uuid).await.unwrap();
        if shown.completed_at.is_some() {
            break shown;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let listed = server.list_backups().await.unwrap();
    assert!(listed.iter().any(|one| one.uuid == made.uuid));
    let link = server.get_backup_download_link(made.uuid).await.unwrap();
    let archive = reqwest::get(link).await.unwrap().bytes().await.unwrap();
    let hash: String = Sha256::digest(&archive)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(shown.checksum.unwrap(), format!("sha256:{hash}"));
    server.delete_backup(made.uuid).await.unwrap();

    assert_eq!(status(server.get_backup(made.uuid).await), 404);
    assert_eq!(status(api.get_server(full).create_backup().await), 400);
    let last = if key.ends_with('a') { 'b' } else { 'a' };
    let wrong = format!("{}{last}", &key[..key.len() - 1]);
    assert_eq!(status(client(&wrong).list_servers().await), 401);
    let spent = client(&var("SPENT_KEY").unwrap());
    assert_eq!(status(spent.list_servers().await), 429);
    println!("ok: pterodactyl_api");
}
