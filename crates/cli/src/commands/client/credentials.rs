//! The service that the client uses, and its API key: from the environment, or from a file that
//! only its owner can read.
//!
//! A stored key is sent only to the service that it was stored for. The key is never printed.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use fs_err as fs;
use reqwest::Url;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use crate::error::CommandError;

/// The variable with the URL of the service.
const URL_VARIABLE: &str = "HOLDFAST_URL";
/// The variable with the API key.
const KEY_VARIABLE: &str = "HOLDFAST_KEY";
/// The longest key. A panel's keys are shorter as well.
const KEY_MAX_BYTES: usize = 4096;

/// An API key. Its debug output does not contain it.
#[derive(Clone)]
pub(super) struct ClientKey(String);

impl ClientKey {
    /// Reads a key; blanks around it do not count.
    pub(super) fn parse(text: &str) -> Result<Self, CommandError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(CommandError::new("the API key is empty"));
        }
        let is_key = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_key || text.len() > KEY_MAX_BYTES {
            return Err(CommandError::new(
                "this is no API key: a key has neither spaces nor special characters",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the value of the header `Authorization`.
    pub(super) fn header(&self) -> Result<HeaderValue, CommandError> {
        let value = HeaderValue::from_str(&format!("Bearer {}", self.0));
        let mut value = value.map_err(|_| CommandError::new("this is no API key"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKey(…)")
    }
}

/// A service and a key for it.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    /// The URL of the service, without a slash at the end.
    pub(super) url: String,
    pub(super) key: ClientKey,
    /// A file with certificates that are trusted in addition to those of the system.
    pub(super) ca_file: Option<PathBuf>,
}

/// Reads the URL of a service.
pub(super) fn service_url(text: &str) -> Result<String, CommandError> {
    let refuse = |why: &str| CommandError::new(format!("the URL of the service {why}"));
    let url = Url::parse(text.trim())
        .map_err(|error| refuse(&format!("is none: {error}; it begins with https://")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(refuse("must begin with https:// or http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("must not contain a user or a password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("must end before `?` and `#`"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Returns whether a key would cross a network unencrypted on its way to a service.
pub(super) fn is_unencrypted(url: &str) -> bool {
    let Some(url) = Url::parse(url).ok().filter(|url| url.scheme() == "http") else {
        return false;
    };
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host != "localhost" && !address.is_ok_and(|address| address.is_loopback())
}

/// Returns the credentials to use: those of the environment, and otherwise the stored ones.
///
/// # Errors
/// If there are none. Also if the environment names another service than the stored key's.
pub(super) fn load() -> Result<Credentials, CommandError> {
    let url = match variable(URL_VARIABLE)? {
        Some(text) => Some(service_url(&text)?),
        None => None,
    };
    let key = match variable(KEY_VARIABLE)? {
        Some(text) => {
            let key = ClientKey::parse(&text);
            Some(key.map_err(|error| CommandError::new(format!("{KEY_VARIABLE}: {error}")))?)
        }
        None => None,
    };
    if let (Some(url), Some(key)) = (&url, &key) {
        return Ok(Credentials {
            url: url.clone(),
            key: key.clone(),
            ca_file: None,
        });
    }
    let stored = read(&path()?)?.ok_or_else(|| {
        CommandError::new(format!(
            "no service is known: run `holdfast client login URL`, or set {URL_VARIABLE} and \
             {KEY_VARIABLE}"
        ))
    })?;
    match (url, key) {
        (Some(url), _) if url != stored.url => Err(CommandError::new(format!(
            "{URL_VARIABLE} is `{url}`, and the stored key is for `{}`: set {KEY_VARIABLE}, or run \
             `holdfast client login {url}`",
            stored.url
        ))),
        (_, Some(key)) => Ok(Credentials { key, ..stored }),
        (_, None) => Ok(stored),
    }
}

/// Stores credentials in place of the earlier ones, and returns the path of the file.
pub(super) fn store(credentials: &Credentials) -> Result<PathBuf, CommandError> {
    let path = path()?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    if let Some(above) = folder.parent() {
        fs::create_dir_all(above)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let what = format!("cannot create `{}`", folder.display());
            return Err(CommandError::with_cause(what, &error));
        }
        _ => {}
    }
    // It has mode 0600 from the start.
    let mut file = tempfile::Builder::new()
        .prefix(".client-")
        .tempfile_in(folder)?;
    let text = json!({
        "url": credentials.url,
        "key": credentials.key.0,
        "ca_file": credentials.ca_file,
    });
    file.write_all(format!("{text:#}\n").as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|failed| failed.error)?;
    fs::File::open(folder)?.sync_all()?;
    Ok(path)
}

/// Removes the stored credentials, and returns their service; `None` if there are none.
pub(super) fn remove() -> Result<Option<PathBuf>, CommandError> {
    let path = path()?;
    match fs::remove_file(&path) {
        Ok(()) => Ok(Some(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns the names of the variables that are used in place of stored credentials.
pub(super) fn overriding() -> Vec<&'static str> {
    let names = [URL_VARIABLE, KEY_VARIABLE].into_iter();
    names
        .filter(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
        .collect()
}

fn variable(name: &str) -> Result<Option<String>, CommandError> {
    match env::var_os(name).map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(text)) if text.is_empty() => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        // The value may be a key, and is not shown.
        Some(Err(_)) => Err(CommandError::new(format!("{name} is not valid UTF-8"))),
    }
}

/// Returns where the credentials are stored. A relative `XDG_CONFIG_HOME` does not count, as the
/// specification says.
fn path() -> Result<PathBuf, CommandError> {
    let absolute = |name: &str| {
        let path = PathBuf::from(env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    let folder = folder.ok_or_else(|| {
        CommandError::new(format!(
            "there is no place for the key: set HOME or XDG_CONFIG_HOME, or {URL_VARIABLE} and \
             {KEY_VARIABLE}"
        ))
    })?;
    Ok(folder.join("holdfast/client.json"))
}

fn read(path: &Path) -> Result<Option<Credentials>, CommandError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mode = fs::metadata(path)?.mode() & 0o777;
    let shown = path.display();
    if mode & 0o077 != 0 {
        return Err(CommandError::new(format!(
            "other users may read the key in `{shown}`, which has mode {mode:04o}: run \
             `chmod 600 {shown}`"
        )));
    }
    let invalid = || {
        CommandError::new(format!(
            "`{shown}` is not what `holdfast client login` writes: run it again"
        ))
    };
    let value: Value = serde_json::from_str(&text).map_err(|_| invalid())?;
    let (Some(url), Some(key)) = (value["url"].as_str(), value["key"].as_str()) else {
        return Err(invalid());
    };
    Ok(Some(Credentials {
        url: service_url(url)?,
        key: ClientKey::parse(key).map_err(|_| invalid())?,
        ca_file: value["ca_file"].as_str().map(PathBuf::from),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_in_its_debug_output() {
        let key = ClientKey::parse(" ptlc_secret\n").unwrap();
        assert_eq!(key.header().unwrap(), "Bearer ptlc_secret");
        let shown = format!("{key:?} {:?}", key.header());
        assert!(!shown.contains("secret"), "{shown}");
        for text in ["", " \n", "two words", "ünï", "a\nb"] {
            let refused = ClientKey::parse(text).unwrap_err().to_string();
            assert!(!refused.contains("two"), "{refused}");
        }
    }

    #[test]
    fn a_url_has_no_credentials_and_no_slash_at_its_end() {
        for (text, url) in [
            ("https://a.example/", Some("https://a.example")),
            ("http://127.0.0.1:8080", Some("http://127.0.0.1:8080")),
            ("https://a.example/panel/", Some("https://a.example/panel")),
            ("ftp://a.example", None),
            ("a.example", None),
            ("https://u:p@a.example", None),
            ("https://a.example?x", None),
            ("https://a.example/#x", None),
        ] {
            assert_eq!(service_url(text).ok().as_deref(), url, "{text}");
        }
    }

    #[test]
    fn only_keys_on_this_machine_need_no_encryption() {
        assert!(is_unencrypted("http://a.example"));
        assert!(is_unencrypted("http://10.0.0.1:8080"));
        assert!(is_unencrypted("http://localhost.example"));
        for url in ["https://a.example", "http://127.0.0.1:80", "http://[::1]"] {
            assert!(!is_unencrypted(url), "{url}");
        }
    }
}
