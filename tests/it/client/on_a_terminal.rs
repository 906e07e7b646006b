//! What only a terminal shows: bars, and a key that is not shown. `script` makes a terminal.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use super::Terminal;
use crate::support::app::App;
use crate::support::files::{self, write};
use crate::support::skipped;

/// A command on a terminal; `None` where there is no `script`.
fn on_a_terminal(terminal: Option<&Terminal>, folder: &Path, line: &str) -> Option<Command> {
    if Command::new("script").arg("--version").output().is_err() {
        skipped("there is no script(1), which makes a terminal");
        return None;
    }
    let mut command = Command::new("script");
    command
        .args(["-qefc", line, "/dev/null"])
        .current_dir(folder);
    command.env("TERM", "xterm").stdin(Stdio::null());
    command
        .env_remove("HOLDFAST_URL")
        .env_remove("HOLDFAST_KEY");
    command.env_remove("XDG_CONFIG_HOME").env("HOME", folder);
    if let Some(terminal) = terminal {
        command.env("HOLDFAST_URL", &terminal.url);
        command.env("HOLDFAST_KEY", &terminal.key);
    }
    Some(command)
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_holdfast");

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_typed_is_not_shown() {
    let app = App::without_worker(&[]).await;
    let terminal = Terminal::of(&app);
    let home = terminal.home.path();
    let line = format!("{PROGRAM} client login {}", terminal.url);
    let Some(mut command) = on_a_terminal(None, home, &line) else {
        return app.stop().await;
    };
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let key = terminal.key.clone();
    let shown = tokio::task::spawn_blocking(move || {
        let mut shown = Vec::new();
        // The key is typed when it is asked for.
        while !String::from_utf8_lossy(&shown).contains("API key for ") {
            let mut byte = [0];
            output.read_exact(&mut byte).unwrap();
            shown.push(byte[0]);
        }
        input.write_all(format!("{key}\n").as_bytes()).unwrap();
        output.read_to_end(&mut shown).unwrap();
        drop(input);
        String::from_utf8(shown).unwrap()
    });
    let shown = shown.await.unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{shown}");
    assert!(shown.contains("logged in to "), "{shown}");
    assert!(
        !shown.contains(&terminal.key[16..]),
        "the key was shown: {shown}"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_a_bar() {
    let app = App::start().await;
    let terminal = Terminal::of(&app);
    write(&app.directory.join("world.dat"), &files::noise(300_000, 4));
    let home = terminal.home.path();
    let line = format!(
        "{PROGRAM} client create {} --name Bar --wait",
        terminal.server
    );
    let Some(mut command) = on_a_terminal(Some(&terminal), home, &line) else {
        return app.stop().await;
    };
    let made = command.output().unwrap();
    let shown = String::from_utf8(made.stdout).unwrap();
    assert!(made.status.success(), "{shown}");
    // The bar, which is drawn over, and the result.
    assert!(shown.contains("backup `Bar`: "), "{shown:?}");
    assert!(shown.contains('\u{1b}'), "{shown:?}");
    assert!(shown.contains("backup `Bar` ("), "{shown:?}");

    let folder = files::scratch();
    let log = "[INFO] the server is still there\n".repeat(2_000_000);
    write(&folder.path().join("server/latest.log"), log.as_bytes());
    let create = "archive create server s.tar.gz --level 9 --threads 1";
    let line = format!("{PROGRAM} {create}");
    let mut command = on_a_terminal(None, folder.path(), &line).unwrap();
    let made = command.output().unwrap();
    let shown = String::from_utf8(made.stdout).unwrap();
    assert!(made.status.success(), "{shown}");
    assert!(shown.contains("server: archiving"), "{shown:?}");
    assert!(shown.contains("1 entries, 1 files"), "{shown:?}");
    app.stop().await;
}
