//! Reads values by key, as the types that several settings share, and collects the problems.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use toml::Value;

use holdfast_domain::network;

use super::SecretString;
use super::layers::SettingValue;
use super::problem::{SettingProblem, SettingSource};

/// Reads the values of settings. A method that returns `None` has added a problem.
pub(super) struct SettingsReader {
    pub(super) values: BTreeMap<String, SettingValue>,
    pub(super) problems: Vec<SettingProblem>,
    /// Every key that was read, whether or not it has a value.
    pub(super) read_keys: BTreeSet<String>,
}

impl SettingsReader {
    /// Adds a problem and returns `None`.
    pub(super) fn reject<T>(&mut self, key: &str, message: impl Into<String>) -> Option<T> {
        self.add_problem(key, message);
        None
    }

    /// Adds a problem.
    pub(super) fn add_problem(&mut self, key: &str, message: impl Into<String>) {
        let source = self
            .values
            .get(key)
            .map_or(SettingSource::Default, |value| value.source.clone());
        self.problems.push(SettingProblem {
            key: key.to_owned(),
            source,
            message: message.into(),
        });
    }

    /// Returns the value of a key. [`Layers`](super::layers::Layers) has checked its type.
    fn value(&mut self, key: &str) -> Option<Value> {
        self.read_keys.insert(key.to_owned());
        self.values.get(key).map(|found| found.value.clone())
    }

    /// Reads a string. Without a value, which is possible for keys of disks and `_file` keys, it is
    /// empty.
    pub(super) fn string(&mut self, key: &str) -> Option<String> {
        match self.value(key) {
            Some(Value::String(text)) => Some(text),
            None => Some(String::new()),
            Some(_) => self.reject(key, "must be a string"),
        }
    }

    /// Reads a whole number within a range.
    pub(super) fn number<T: TryFrom<u64>>(
        &mut self,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Option<T> {
        let Some(Value::Integer(number)) = self.value(key) else {
            return self.reject(key, "must be a whole number");
        };
        let in_range = u64::try_from(number)
            .ok()
            .filter(|number| range.contains(number));
        match in_range.and_then(|number| T::try_from(number).ok()) {
            Some(number) => Some(number),
            None => {
                let (min, max) = range.into_inner();
                let message = format!("must be between {min} and {max}, not {number}");
                self.reject(key, message)
            }
        }
    }

    /// Reads a number of seconds.
    pub(super) fn seconds(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<Duration> {
        self.number(key, range).map(Duration::from_secs)
    }

    /// Reads a number of days.
    pub(super) fn days(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<Duration> {
        const DAY_SECONDS: u64 = 24 * 3600;
        let days: u64 = self.number(key, range)?;
        Some(Duration::from_secs(days * DAY_SECONDS))
    }

    /// Reads a number whose 0 means "not set".
    pub(super) fn nonzero(
        &mut self,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Option<Option<NonZeroU64>> {
        self.number(key, range).map(NonZeroU64::new)
    }

    /// Reads a number that may be missing.
    pub(super) fn optional_number<T: TryFrom<u64>>(
        &mut self,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Option<Option<T>> {
        match self.value(key) {
            None => Some(None),
            Some(_) => self.number(key, range).map(Some),
        }
    }

    /// Reads a boolean that may be missing.
    pub(super) fn optional_bool(&mut self, key: &str) -> Option<Option<bool>> {
        match self.value(key) {
            None => Some(None),
            Some(Value::Boolean(boolean)) => Some(Some(boolean)),
            Some(_) => self.reject(key, "must be true or false"),
        }
    }

    /// Reads a list of strings that may be missing.
    pub(super) fn optional_list(&mut self, key: &str) -> Option<Option<Vec<String>>> {
        match self.value(key) {
            None => Some(None),
            Some(_) => self.list(key).map(Some),
        }
    }

    /// Reads a list of strings.
    pub(super) fn list(&mut self, key: &str) -> Option<Vec<String>> {
        let Some(Value::Array(values)) = self.value(key) else {
            return self.reject(key, "must be a list");
        };
        let strings: Option<Vec<String>> = values
            .iter()
            .map(|value| value.as_str().map(str::to_owned))
            .collect();
        match strings {
            Some(strings) => Some(strings),
            None => self.reject(key, "must be a list of strings"),
        }
    }

    /// Reads networks such as `10.0.0.0/8`; a single address is a network of one.
    pub(super) fn networks(&mut self, key: &str) -> Option<Vec<IpNet>> {
        let mut networks = Some(Vec::new());
        for text in self.list(key)? {
            match (network::parse(&text), &mut networks) {
                (Some(network), Some(networks)) => networks.push(network.trunc()),
                (Some(_), None) => {}
                (None, _) => {
                    let rule = "must be addresses or networks such as 10.0.0.0/8";
                    networks = self.reject(key, format!("{rule}, not `{text}`"));
                }
            }
        }
        networks
    }

    /// Reads an address and a port to listen on.
    pub(super) fn socket_address(&mut self, key: &str) -> Option<SocketAddr> {
        let text = self.string(key)?;
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                let rule = "must be an address and a port such as 127.0.0.1:8080";
                self.reject(key, format!("{rule}, not `{text}`"))
            }
        }
    }

    /// Reads a socket address whose empty string means "not set".
    pub(super) fn optional_socket_address(&mut self, key: &str) -> Option<Option<SocketAddr>> {
        if self.string(key)?.is_empty() {
            return Some(None);
        }
        self.socket_address(key).map(Some)
    }

    /// Reads an HTTP URL whose empty string means "not set"; returns it without a final slash.
    pub(super) fn optional_url(&mut self, key: &str) -> Option<Option<String>> {
        let text = self.string(key)?;
        if text.is_empty() {
            return Some(None);
        }
        let rule = match reqwest::Url::parse(&text) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                "must start with http:// or https://"
            }
            Ok(url) if url.query().is_some() || url.fragment().is_some() => {
                "must not contain ? or #"
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                return self.reject(key, "must not contain a user or password");
            }
            Ok(_) => return Some(Some(text.trim_end_matches('/').to_owned())),
            Err(_) => "must be a URL such as https://backups.example.com",
        };
        self.reject(key, format!("{rule}, not `{text}`"))
    }

    /// Reads a secret that may be missing: the value of `key`, or the contents of the file that
    /// `key` + `_file` names.
    pub(super) fn optional_secret(
        &mut self,
        key: &str,
        check: impl FnOnce(&str) -> Result<(), String>,
    ) -> Option<Option<SecretString>> {
        let file_key = format!("{key}_file");
        let text = self.string(key)?;
        let path = self.string(&file_key)?;
        let (key, text) = match (text.as_str(), path.as_str()) {
            ("", "") => return Some(None),
            (_, "") => (key, text),
            ("", path) => {
                let text = self.read_file(&file_key, path)?;
                let text = text.trim_end_matches(['\r', '\n']).to_owned();
                (file_key.as_str(), text)
            }
            _ => return self.reject(key, format!("{file_key} is set as well: remove one")),
        };
        match check(&text) {
            Ok(()) => Some(Some(SecretString::new(text))),
            Err(message) => self.reject(key, message),
        }
    }

    /// Reads a list of secrets: the value of `key`, or the lines of the file that `key` + `_file`
    /// names.
    pub(super) fn secrets(
        &mut self,
        key: &str,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Option<Vec<SecretString>> {
        let file_key = format!("{key}_file");
        let listed = self.list(key)?;
        let path = self.string(&file_key)?;
        let (key, texts) = match (listed.is_empty(), path.as_str()) {
            (_, "") => (key, listed),
            (true, path) => {
                let text = self.read_file(&file_key, path)?;
                let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
                (file_key.as_str(), lines.map(str::to_owned).collect())
            }
            (false, _) => {
                return self.reject(key, format!("{file_key} is set as well: remove one"));
            }
        };
        for text in &texts {
            if let Err(message) = check(text) {
                return self.reject(key, message);
            }
        }
        Some(texts.into_iter().map(SecretString::new).collect())
    }

    /// Reads the text of a file that a setting names.
    pub(super) fn read_file(&mut self, key: &str, path: &str) -> Option<String> {
        match fs_err::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) => self.reject(key, error.to_string()),
        }
    }

    /// Makes a path absolute, relative to the current directory.
    pub(super) fn absolute_path(&mut self, key: &str, path: &Path) -> Option<PathBuf> {
        match std::path::absolute(path) {
            Ok(path) => Some(path),
            Err(error) => {
                let message = format!("`{}` is not a path: {error}", path.display());
                self.reject(key, message)
            }
        }
    }
}
