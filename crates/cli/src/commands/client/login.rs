//! `holdfast client login` and `logout`.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{self, PathBuf};

use nix::sys::termios::{self, LocalFlags, SetArg, Termios};
use serde_json::json;

use super::api::Api;
use super::credentials::{self, ClientKey, Credentials};
use super::find::text;
use crate::error::CommandError;
use crate::{output, shutdown};

/// The most bytes that are read as a key.
const INPUT_MAX_BYTES: u64 = 64 << 10;

/// Stores a URL and a key, after the service has accepted the key.
pub(super) async fn login(
    json: bool,
    url: &str,
    ca_file: Option<PathBuf>,
) -> Result<(), CommandError> {
    let url = credentials::service_url(url)?;
    if credentials::is_unencrypted(&url) {
        output::problem(&format!(
            "`{url}` is not encrypted: others in the network can read the key"
        ));
    }
    let credentials = Credentials {
        key: read_key(&url).await?,
        // The command may run in another folder next time.
        ca_file: ca_file.map(path::absolute).transpose()?,
        url,
    };
    let api = Api::new(&credentials)?;
    let account = api.get("/api/client/account").await?;
    let email = text(&account["attributes"], "email");
    let path = credentials::store(&credentials)?;
    let overriding = credentials::overriding().join(" and ");
    if !overriding.is_empty() {
        output::problem(&format!(
            "{overriding} is set, and used in place of what is stored now"
        ));
    }
    let (url, file) = (&credentials.url, path.display());
    if json {
        return output::result(true, &json!({ "url": url, "email": email, "file": path }));
    }
    let email = output::visible(email);
    output::line(&format!(
        "logged in to {url} as {email}; the key is in {file}"
    ))
}

/// Removes the stored URL and key.
pub(super) fn logout(json: bool) -> Result<(), CommandError> {
    let removed = credentials::remove()?;
    if json {
        return output::result(true, &json!({ "removed": removed }));
    }
    match removed {
        Some(path) => output::line(&format!(
            "removed {}; the key itself stays valid until it is revoked",
            path.display()
        )),
        None => output::line("no key was stored"),
    }
}

/// Reads the key: from the terminal without showing it, or from stdin.
async fn read_key(url: &str) -> Result<ClientKey, CommandError> {
    if !io::stdin().is_terminal() {
        let mut text = String::new();
        io::stdin()
            .lock()
            .take(INPUT_MAX_BYTES)
            .read_to_string(&mut text)?;
        return ClientKey::parse(&text);
    }
    let hidden = HiddenInput::begin()?;
    let mut stderr = io::stderr();
    write!(stderr, "API key for {url}: ")?;
    stderr.flush()?;
    let line = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin()
            .lock()
            .take(INPUT_MAX_BYTES)
            .read_line(&mut line)?;
        io::Result::Ok(line)
    });
    let typed = tokio::select! {
        line = line => Some(line?),
        // The terminal must show its input again after Ctrl-C.
        stopped = shutdown::requested() => {
            stopped?;
            None
        }
    };
    drop(hidden);
    writeln!(stderr)?;
    match typed {
        Some(line) => ClientKey::parse(&line?),
        None => Err(CommandError::new("interrupted: nothing was stored")),
    }
}

/// A terminal that does not show what is typed, until this is dropped.
struct HiddenInput(Termios);

impl HiddenInput {
    fn begin() -> Result<Self, CommandError> {
        let fail = |error| CommandError::with_cause("cannot hide the input", &error);
        let stdin = io::stdin();
        let before = termios::tcgetattr(stdin.as_fd()).map_err(fail)?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        hidden.local_flags.remove(LocalFlags::ECHONL);
        termios::tcsetattr(stdin.as_fd(), SetArg::TCSAFLUSH, &hidden).map_err(fail)?;
        Ok(Self(before))
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        let stdin = io::stdin();
        if let Err(error) = termios::tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &self.0) {
            output::problem(&format!(
                "the terminal still hides its input (`stty echo`): {error}"
            ));
        }
    }
}
