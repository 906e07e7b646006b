//! A lost database: backups are imported from the disks, and bad archives are found by hand.

use std::os::unix::net::UnixListener;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::client::{Client, send};
use crate::support::process::{Ended, Process, holdfast, run};
use crate::support::{eventually, files};

/// The service on a data folder, with a server of a user who has a key.
struct Service {
    up: Process,
    owner: Client,
}

fn admin(data: &Path, arguments: &[&str]) -> Ended {
    let mut command = holdfast(&[]);
    command.args(["admin", "--json"]).args(arguments);
    run(command.arg("--data").arg(data))
}

impl Service {
    /// Starts it, and registers what the database does not know.
    async fn start(data: &Path, server: &str, directory: &Path) -> Self {
        let (up, url) = Process::up(data, &[]).await;
        let email = "owner@example.com";
        admin(data, &["user", "create", "--email", email]).json();
        let dir = directory.to_str().unwrap();
        let create = ["server", "create", "--owner", email, "--name", "Survival"];
        let create = [&create[..], &["--dir", dir, "--uuid", server]].concat();
        admin(data, &create).json();
        let key = admin(data, &["key", "create", "--user", email]).json();
        let token = key["token"].as_str().unwrap().to_owned();
        let owner = Client::new(&url, server, Some(token));
        Self { up, owner }
    }

    async fn backup(&self, body: Value) -> String {
        let uuid = self.owner.create(body).await.uuid();
        eventually("the backup is completed", async || {
            let backup = self.owner.show(&uuid).await.attributes();
            (backup["status"] == "completed").then_some(())
        })
        .await;
        uuid
    }

    async fn list(&self) -> Value {
        self.owner.list("").await.json()
    }
}

const SERVER: &str = "d3aac109-45e1-4c23-9a84-c8d5f06b93a1";

#[tokio::test(flavor = "multi_thread")]
async fn no_backup_is_lost_with_the_database() {
    let folder = files::scratch();
    let (data, directory) = (folder.path().join("data"), folder.path().join("server"));
    fs_err::create_dir(&directory).unwrap();
    files::make_server(&directory);
    // Files that cannot be archived are noted.
    let socket = directory.join("a-socket");
    UnixListener::bind(&socket).unwrap();
    let mut service = Service::start(&data, SERVER, &directory).await;
    let body = json!({ "name": "Before", "ignored": "logs/*\n# why", "is_locked": true });
    let first = service.backup(body).await;
    fs_err::write(directory.join("later.txt"), "later").unwrap();
    let second = service.backup(json!({})).await;
    let third = service.backup(json!({})).await;
    let before = service.list().await;
    fs_err::remove_file(&socket).unwrap();
    let tree = files::tree(&directory);
    service.up.signal(rustix::process::Signal::TERM);
    assert!(service.up.ended().await.success());

    fs_err::remove_dir_all(data.join("postgres")).unwrap();
    let (mut up, _) = Process::up(&data, &[]).await;
    let import = ["storage", "import", "--disk", "local"];
    let found = admin(&data, &import).json();
    assert_eq!(
        (&found["imported"], &found["manifests"]),
        (&json!(0), &json!(3))
    );
    let unknown = &found["unknown_servers"][0];
    assert_eq!(
        (&unknown["uuid"], &unknown["name"]),
        (&json!(SERVER), &json!("Survival"))
    );
    assert_eq!(unknown["backups"], 3);
    up.signal(rustix::process::Signal::TERM);
    assert!(up.ended().await.success());

    let service = Service::start(&data, SERVER, &directory).await;
    assert_eq!(before["data"][0]["attributes"]["notes"]["count"], 2);
    let dry = admin(&data, &[&import[..], &["--dry-run"]].concat()).json();
    assert_eq!(
        (&dry["imported"], &dry["dry_run"]),
        (&json!(3), &json!(true))
    );
    assert_eq!(service.list().await["data"], json!([]));

    // One backup for each kind of damage that can be seen without reading archives.
    let place =
        |uuid: &str, extension: &str| data.join(format!("backups/{SERVER}/{uuid}.{extension}"));
    let cut = fs_err::read(place(&third, "tar.gz")).unwrap();
    fs_err::write(place(&third, "tar.gz"), &cut[1..]).unwrap();
    let manifest = fs_err::read(place(&second, "json")).unwrap();
    fs_err::write(place(&second, "json"), "{").unwrap();
    let partly = admin(&data, &[&import[..], &["--server", SERVER]].concat());
    assert_eq!(partly.code, Some(1));
    let found: Value = serde_json::from_str(&partly.stdout).unwrap();
    assert_eq!(
        (&found["imported"], &found["problems"]),
        (&json!(1), &json!(2))
    );
    assert!(
        partly.stderr.contains("2 of 3 manifests"),
        "{}",
        partly.stderr
    );
    let problems = found["problem_list"].to_string();
    assert!(
        problems.contains("instead of") && problems.contains("not a manifest"),
        "{problems}"
    );

    fs_err::write(place(&third, "tar.gz"), cut).unwrap();
    fs_err::write(place(&second, "json"), manifest).unwrap();
    let found = admin(&data, &import).json();
    assert_eq!(
        (&found["imported"], &found["known"]),
        (&json!(2), &json!(1))
    );
    let again = admin(&data, &import).json();
    assert_eq!(
        (&again["imported"], &again["known"]),
        (&json!(0), &json!(3))
    );
    assert_eq!(service.list().await["data"], before["data"]);

    fs_err::remove_dir_all(&directory).unwrap();
    assert_eq!(service.owner.restore(&second, json!({})).await.status, 202);
    eventually("the restore has ended", async || {
        let backup = service.owner.show(&second).await.attributes();
        (backup["restore"]["status"] == "completed").then_some(())
    })
    .await;
    assert_eq!(files::tree(&directory), tree);

    // Known backups stay as they are, whatever the disk says.
    assert_eq!(service.owner.unlock(&first).await.status, 204);
    let locked = admin(&data, &[&import[..], &["--lock"]].concat()).json();
    assert_eq!(locked["known"], 3);
    assert_eq!(
        service.owner.show(&first).await.attributes()["is_locked"],
        false
    );

    let verify = ["storage", "verify", "--disk", "local"];
    let whole = admin(&data, &verify).json();
    assert_eq!((&whole["verified"], &whole["bad"]), (&json!(3), &json!(0)));
    fs_err::remove_file(place(&third, "tar.gz")).unwrap();
    let bad = admin(&data, &[&verify[..], &["--server", SERVER]].concat());
    assert_eq!(bad.code, Some(1));
    let found: Value = serde_json::from_str(&bad.stdout).unwrap();
    assert_eq!((&found["verified"], &found["bad"]), (&json!(3), &json!(1)));
    assert_eq!(found["bad_backups"][0]["backup"], third.as_str());
    let backup = service.owner.show(&third).await.attributes();
    assert_eq!(
        (&backup["is_damaged"], &backup["verification"]["status"]),
        (&json!(true), &json!("failed"))
    );
    let nowhere = admin(&data, &["storage", "verify", "--disk", "nowhere"]);
    assert!(
        nowhere.failure().contains("the settings have local"),
        "{nowhere:?}"
    );
    let path = format!(
        "{}/activity",
        service
            .owner
            .request(reqwest::Method::GET, "")
            .build()
            .unwrap()
            .url()
    );
    let path = path.replace("/backups/activity", "/activity");
    let told = send(service.owner.plain(reqwest::Method::GET, &path))
        .await
        .json()
        .to_string();
    assert!(told.contains("server:backup.verify-failed"), "{told}");
}
