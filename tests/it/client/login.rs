//! `login` and `logout`: where the key is kept, and where it never is.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use holdfast_domain::Profile;
use holdfast_domain::key::KeyKind;

use super::Terminal;
use crate::support::app::App;
use crate::support::files::{mode, set_mode, write};
use crate::support::process::{Ended, run};
use crate::support::tls::Tls;

impl Terminal {
    /// `login` with this key on stdin.
    fn login(&self, url: &str, key: &str) -> Ended {
        let mut command = self.bare();
        command.args(["login", url]).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(key.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let ended = Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        self.assert_no_key(&ended);
        ended
    }

    fn file(&self) -> PathBuf {
        self.home.path().join(".config/holdfast/client.json")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_stored_for_its_owner_only_after_the_service_has_accepted_it() {
    let app = App::without_worker(&[]).await;
    let terminal = Terminal::of(&app);
    let file = terminal.file();

    let no_service = run(terminal.bare().arg("servers"));
    assert!(no_service.failure().starts_with("no service is known"));
    let wrong = format!("{}x", &terminal.key[..47]);
    let refused = terminal.login(&terminal.url, &wrong);
    let failure = refused.failure();
    assert!(failure.starts_with("The credentials provided were invalid."));
    assert!(!failure.contains(&wrong));
    for key in ["", "\n", "two words"] {
        let refused = terminal.login(&terminal.url, key);
        assert!(refused.failure().contains("API key"), "{refused:?}");
    }
    assert!(!file.exists());

    let ended = terminal.login(
        &format!("{}/", terminal.url),
        &format!("{}\n", terminal.key),
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stdout.contains(" as owner@example.com; "),
        "{ended:?}"
    );
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(file.parent().unwrap()), 0o700);
    let beside = fs_err::read_dir(file.parent().unwrap()).unwrap().count();
    assert_eq!(beside, 1, "nothing temporary is left");
    let servers = run(terminal.bare().args(["servers", "--json"])).json();
    assert_eq!(servers[0]["uuid"], terminal.server);

    // The next key replaces it, and a refused one does not.
    let kept = fs_err::read_to_string(&file).unwrap();
    assert_eq!(terminal.login(&terminal.url, &wrong).code, Some(1));
    assert_eq!(fs_err::read_to_string(&file).unwrap(), kept);
    let admin = app.as_admin().token().unwrap().to_owned();
    let ended = terminal.login(&terminal.url, &admin);
    assert!(
        ended.stdout.contains(" as admin@example.com; "),
        "{ended:?}"
    );
    assert_eq!(mode(&file), 0o600);

    for wide in [0o640, 0o604] {
        set_mode(&file, wide);
        let refused = run(terminal.bare().arg("servers"));
        assert!(refused.failure().contains("chmod 600"), "{refused:?}");
    }
    set_mode(&file, 0o600);

    let gone = run(terminal.bare().arg("logout"));
    assert!(gone.stdout.starts_with("removed "), "{gone:?}");
    assert!(!file.exists());
    let again = run(terminal.bare().arg("logout"));
    assert_eq!(
        (again.code, again.stdout.as_str()),
        (Some(0), "no key was stored\n")
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_key_is_never_sent_to_another_service() {
    let app = App::without_worker(&[]).await;
    let terminal = Terminal::of(&app);
    assert_eq!(terminal.login(&terminal.url, &terminal.key).code, Some(0));
    let mut elsewhere = terminal.bare();
    elsewhere.env("HOLDFAST_URL", "http://127.0.0.1:9");
    let refused = run(elsewhere.arg("servers"));
    assert!(
        refused.failure().contains("the stored key is for"),
        "{refused:?}"
    );

    let mut same = terminal.bare();
    same.env("HOLDFAST_URL", &terminal.url);
    assert_eq!(run(same.arg("servers")).code, Some(0));
    let mut other_key = terminal.bare();
    other_key.env("HOLDFAST_KEY", app.as_stranger().token().unwrap());
    let none = run(other_key.args(["servers", "--json"])).json();
    assert_eq!(none, serde_json::json!([]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn xdg_config_home_and_unusable_keys() {
    let app = App::without_worker(&[]).await;
    let terminal = Terminal::of(&app);
    let application = app
        .key(app.owner_id(), KeyKind::Application, Profile::Documented)
        .await;
    let refused = terminal.login(&terminal.url, &application);
    assert!(
        refused.failure().contains("requires a client API key"),
        "{refused:?}"
    );
    for url in [
        "127.0.0.1",
        "ftp://a.example",
        "http://u:p@127.0.0.1",
        "http://127.0.0.1?x",
    ] {
        let refused = terminal.login(url, &terminal.key);
        assert!(
            refused.failure().starts_with("the URL of the service"),
            "{refused:?}"
        );
    }
    let away = terminal.login("http://127.0.0.1:9", &terminal.key);
    assert!(
        away.failure()
            .starts_with("http://127.0.0.1:9 does not answer: "),
        "{away:?}"
    );
    let not_ours = terminal.login(&format!("{}/api", terminal.url), &terminal.key);
    assert!(
        not_ours.failure().contains("could not be found"),
        "{not_ours:?}"
    );

    let folder = terminal.home.path().join("settings");
    let mut command = terminal.command(&["logout", "--json"]);
    let nothing = run(command.env("XDG_CONFIG_HOME", &folder)).json();
    assert_eq!(nothing["removed"], serde_json::Value::Null);
    assert!(!folder.exists());

    // No way to give a key is in the help.
    for arguments in [&["--help"][..], &["login", "--help"], &["create", "-h"]] {
        let mut command = terminal.command(arguments);
        let help = run(&mut command);
        assert_eq!(help.code, Some(0));
        assert!(!help.stdout.contains("--key"), "{help:?}");
        terminal.assert_no_key(&help);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_is_trusted_when_it_is_named_and_no_proxy_is_used() {
    let app = App::without_worker(&[]).await;
    let to = app.base_url.strip_prefix("http://").unwrap().parse();
    let tls = Tls::start(to.unwrap()).await;
    let terminal = Terminal::at(&app, &tls.endpoint());
    let refused = terminal.login(&terminal.url, &terminal.key);
    let failure = refused.failure();
    assert!(failure.contains(" does not answer: "), "{failure}");
    assert!(failure.contains("certificate"), "{failure}");

    write(
        &terminal.home.path().join("ca.pem"),
        tls.authority.as_bytes(),
    );
    write(
        &terminal.home.path().join("none.pem"),
        b"-----BEGIN CERTIFICATE-----\nx\n",
    );
    let with = |name: &str| run(&mut terminal.command(&["servers", "--ca-file", name]));
    assert_eq!(with("ca.pem").code, Some(0));
    for (name, refusal) in [("none.pem", "PEM"), ("missing.pem", "missing.pem")] {
        let refused = with(name);
        assert!(refused.failure().contains(refusal), "{refused:?}");
    }

    // `login` stores the path of the file, which is used in another folder as well.
    let login =
        "client login \"$1\" --ca-file ca.pem < key && cd / && \"$0\" client servers --json";
    let mut shell = std::process::Command::new("sh");
    let program = env!("CARGO_BIN_EXE_holdfast");
    shell.args(["-c", &format!("\"$0\" {login}"), program, &terminal.url]);
    shell
        .current_dir(terminal.home.path())
        .env("HOME", terminal.home.path());
    shell.env_remove("XDG_CONFIG_HOME");
    // Nothing answers there.
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "https_proxy"] {
        shell.env(proxy, "http://127.0.0.1:9");
    }
    write(&terminal.home.path().join("key"), terminal.key.as_bytes());
    let ended = run(&mut shell);
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (Some(0), ""),
        "{ended:?}"
    );
    assert!(ended.stdout.contains(&terminal.server), "{ended:?}");
    app.stop().await;
}
