//! `holdfast client …` from outside: the real program against a real service.

mod backups;
mod changes;
mod contents;
mod downloads;
mod events;
mod login;
mod on_a_terminal;
mod refusals;
mod schedules;

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::app::App;
use crate::support::files;
use crate::support::process::{Ended, holdfast, run};

/// A user of the client, with a home of their own.
pub(crate) struct Terminal {
    url: String,
    key: String,
    server: String,
    home: tempfile::TempDir,
}

impl Terminal {
    /// The owner of the server, whose URL and key are in the environment.
    pub(crate) fn of(app: &App) -> Self {
        Self {
            url: app.base_url.clone(),
            key: app.as_owner().token().unwrap().to_owned(),
            server: app.server.id.to_string(),
            home: files::scratch(),
        }
    }

    /// The same user with another URL.
    fn at(app: &App, url: &str) -> Self {
        Self {
            url: url.to_owned(),
            ..Self::of(app)
        }
    }

    /// `holdfast client` without a URL and a key.
    fn bare(&self) -> Command {
        let mut command = holdfast(&[]);
        command.env_remove("XDG_CONFIG_HOME");
        command.env("HOME", self.home.path());
        command.current_dir(self.home.path());
        command.stdin(Stdio::null()).arg("client");
        command
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare();
        command.env("HOLDFAST_URL", &self.url);
        command.env("HOLDFAST_KEY", &self.key);
        command.args(arguments);
        command
    }

    /// Runs a command. `SERVER` stands for the server's UUID. The key is never in the output.
    fn run(&self, arguments: &[&str]) -> Ended {
        let place = |argument: &&str| match *argument {
            "SERVER" => self.server.clone(),
            other => other.to_owned(),
        };
        let arguments: Vec<String> = arguments.iter().map(place).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ended = run(&mut self.command(&arguments));
        self.assert_no_key(&ended);
        ended
    }

    #[track_caller]
    fn assert_no_key(&self, ended: &Ended) {
        // The identifier of a key, its first 16 characters, is no secret.
        let secret = &self.key[16..];
        let output = format!("{}{}", ended.stdout, ended.stderr);
        assert!(!output.contains(secret), "the key was printed: {output}");
    }

    /// The lines of a command that succeeds.
    #[track_caller]
    fn lines(&self, arguments: &[&str]) -> Vec<String> {
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        ended.stdout.lines().map(str::to_owned).collect()
    }

    /// The JSON of a command that succeeds.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        self.run(&[arguments, &["--json"]].concat()).json()
    }

    /// The message of a command that fails.
    #[track_caller]
    fn failure(&self, arguments: &[&str]) -> String {
        self.run(arguments).failure().to_owned()
    }
}
