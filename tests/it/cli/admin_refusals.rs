//! `holdfast admin …`: its refusals, and the advice that they give.

use super::Admin;
use crate::support::app::variable;
use crate::support::database::TestDatabase;
use crate::support::process::run;

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_one_line_with_advice() {
    let database = TestDatabase::create().await;
    let admin = Admin::new(&database);
    let directory = admin.data.path().join("server");
    fs_err::create_dir(&directory).unwrap();
    let file = admin.data.path().join("file");
    fs_err::write(&file, "x").unwrap();
    let (dir, file) = (directory.to_str().unwrap(), file.to_str().unwrap());
    let backups = admin.data.path().join("data/backups");
    fs_err::create_dir_all(&backups).unwrap();
    let backups = backups.to_str().unwrap();
    let owner = "owner@example.com";
    admin.json(&["user", "create", "--email", owner]);
    let server = ["server", "create", "--owner", owner, "--name", "S"];
    let made = admin.json(&[&server[..], &["--dir", dir]].concat());
    let uuid = made["uuid"].as_str().unwrap();
    let twin = format!("{}-0000-4000-8000-000000000000", &uuid[..8]);

    for (arguments, text) in [
        (
            &["user", "create", "--email", "OWNER@example.com"][..],
            "already",
        ),
        (
            &["user", "create", "--email", "nobody"],
            "no e-mail address",
        ),
        (
            &["key", "create", "--user", "x@example.com"],
            "admin user list",
        ),
        (&["key", "revoke", "ptlc_abcdefghijk"], "there is no key"),
        (&["key", "revoke", "nonsense"], "there is no key"),
        (&server, "needs --dir"),
        (
            &["server", "create", "--name", "S", "--dir", dir],
            "needs --owner",
        ),
        (
            &["server", "create", "--owner", owner, "--dir", dir],
            "needs --name",
        ),
        (
            &[&server[..], &["--dir", "/nowhere/at/all"]].concat(),
            "does not exist",
        ),
        (&[&server[..], &["--dir", file]].concat(), "not a directory"),
        (
            &[&server[..], &["--dir", "/"]].concat(),
            "root of the file system",
        ),
        (
            &[&server[..], &["--dir", backups]].concat(),
            "overlaps the folder of disk",
        ),
        (
            &[&server[..], &["--dir", "relative", "--node", "other"]].concat(),
            "absolute",
        ),
        (
            &[&server[..], &["--dir", dir, "--uuid", uuid]].concat(),
            "there is already",
        ),
        (
            &[&server[..], &["--dir", dir, "--uuid", &twin]].concat(),
            "there is already",
        ),
        (
            &["server", "set", "ffffffff", "--name", "x"],
            "admin server list",
        ),
        (&["server", "set", uuid, "--name", "  "], "blank"),
        (
            &[
                "subuser",
                "set",
                "--server",
                uuid,
                "--user",
                "x@example.com",
            ],
            "admin user list",
        ),
    ] {
        let failure = admin.failure(arguments);
        assert!(failure.contains(text), "{arguments:?}: {failure}");
    }
    let servers = database.number("SELECT count(*) FROM servers").await;
    assert_eq!(servers, 1, "nothing was half made");
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_must_lie_below_the_configured_roots() {
    let database = TestDatabase::create().await;
    let admin = Admin::new(&database);
    let roots = admin.data.path().join("servers");
    for folder in [roots.join("one"), admin.data.path().join("other")] {
        fs_err::create_dir_all(&folder).unwrap();
    }
    std::os::unix::fs::symlink("../other", roots.join("link")).unwrap();
    admin.json(&["user", "create", "--email", "owner@example.com"]);
    for (name, allowed) in [
        ("servers/one", true),
        ("other", false),
        ("servers/../other", false),
        ("servers/link", false),
    ] {
        let mut command = admin.command();
        let (variable, value) = variable(&("worker.roots", roots.to_str().unwrap()));
        command.env(variable, value);
        command.args(["admin", "--json", "server", "create", "--name", "S"]);
        command.args(["--owner", "owner@example.com", "--dir"]);
        let ended = run(command.arg(admin.data.path().join(name)));
        if allowed {
            let dir = fs_err::canonicalize(admin.data.path().join(name)).unwrap();
            assert_eq!(ended.json()["dir"], dir.to_str().unwrap());
        } else {
            let failure = ended.failure();
            assert!(failure.contains("worker.roots"), "{name}: {failure}");
        }
    }
    database.drop().await;
}
