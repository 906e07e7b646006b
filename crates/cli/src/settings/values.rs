//! Gives out values by key, as the types that several settings share, and notes what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use toml::Value;

use super::layers::{Entry, SettingSource};
use super::{Problem, SecretString};

/// Gives values out by key. `None` always means that a problem has been noted.
pub(super) struct Reader {
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) problems: Vec<Problem>,
    pub(super) looked_at: BTreeSet<String>,
}

impl Reader {
    /// Notes a problem and gives nothing.
    pub(super) fn wrong<T>(&mut self, key: &str, message: String) -> Option<T> {
        self.note(key, message);
        None
    }

    /// Notes a problem.
    pub(super) fn note(&mut self, key: &str, message: String) {
        let origin = self
            .entries
            .get(key)
            .map_or(SettingSource::Default, |entry| entry.origin.clone());
        self.problems.push(Problem {
            key: key.to_owned(),
            origin,
            message,
        });
    }

    /// The value of a key; its type has been compared with the default's before.
    fn value(&mut self, key: &str) -> Option<Value> {
        self.looked_at.insert(key.to_owned());
        self.entries.get(key).map(|entry| entry.value.clone())
    }

    /// A text; an empty one when nothing gives it, as may be with keys of disks and `_file` keys.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.value(key) {
            Some(Value::String(text)) => Some(text),
            None => Some(String::new()),
            Some(_) => self.wrong(key, "must be a text".to_owned()),
        }
    }

    pub(super) fn number<T: TryFrom<u64>>(
        &mut self,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Option<T> {
        let Some(Value::Integer(number)) = self.value(key) else {
            return self.wrong(key, "must be a whole number".to_owned());
        };
        let inside = u64::try_from(number)
            .ok()
            .filter(|number| range.contains(number));
        match inside.and_then(|number| T::try_from(number).ok()) {
            Some(number) => Some(number),
            None => {
                let (least, most) = range.into_inner();
                self.wrong(
                    key,
                    format!("must be between {least} and {most}, not {number}"),
                )
            }
        }
    }

    /// A number that nothing has to give.
    pub(super) fn number_if_given<T: TryFrom<u64>>(
        &mut self,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Option<Option<T>> {
        match self.value(key) {
            None => Some(None),
            Some(_) => self.number(key, range).map(Some),
        }
    }

    /// A truth that nothing has to give.
    pub(super) fn truth_if_given(&mut self, key: &str) -> Option<Option<bool>> {
        match self.value(key) {
            None => Some(None),
            Some(Value::Boolean(truth)) => Some(Some(truth)),
            Some(_) => self.wrong(key, "must be true or false".to_owned()),
        }
    }

    pub(super) fn list_if_given(&mut self, key: &str) -> Option<Option<Vec<String>>> {
        match self.value(key) {
            None => Some(None),
            Some(_) => self.list(key).map(Some),
        }
    }

    pub(super) fn list(&mut self, key: &str) -> Option<Vec<String>> {
        let Some(Value::Array(values)) = self.value(key) else {
            return self.wrong(key, "must be a list".to_owned());
        };
        let texts: Option<Vec<String>> = values
            .iter()
            .map(|value| value.as_str().map(str::to_owned))
            .collect();
        match texts {
            Some(texts) => Some(texts),
            None => self.wrong(key, "must be a list of texts".to_owned()),
        }
    }

    /// Networks such as `10.0.0.0/8`; a bare address is a network of one.
    pub(super) fn networks(&mut self, key: &str) -> Option<Vec<IpNet>> {
        let mut networks = Some(Vec::new());
        for text in self.list(key)? {
            let network = text
                .parse()
                .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            match (network, &mut networks) {
                (Ok(network), Some(networks)) => networks.push(network.trunc()),
                (Ok(_), None) => {}
                (Err(_), _) => {
                    let rule = "must hold addresses or networks such as 10.0.0.0/8";
                    networks = self.wrong(key, format!("{rule}, not `{text}`"));
                }
            }
        }
        networks
    }

    /// An optional URL of the web, without the slash at its end.
    pub(super) fn web_url(&mut self, key: &str) -> Option<Option<String>> {
        let text = self.text(key)?;
        if text.is_empty() {
            return Some(None);
        }
        let rule = match reqwest::Url::parse(&text) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                "must begin with http:// or https://"
            }
            Ok(url) if url.query().is_some() || url.fragment().is_some() => "must not have ? or #",
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                return self.wrong(key, "must not hold a user or password".to_owned());
            }
            Ok(_) => return Some(Some(text.trim_end_matches('/').to_owned())),
            Err(_) => "must be a URL such as https://backups.example.com",
        };
        self.wrong(key, format!("{rule}, not `{text}`"))
    }

    /// An optional secret, itself or the contents of the file that `KEY_file` names.
    pub(super) fn secret(
        &mut self,
        key: &str,
        check: impl FnOnce(&str) -> Result<(), String>,
    ) -> Option<Option<SecretString>> {
        let file_key = format!("{key}_file");
        let text = self.text(key)?;
        let file = self.text(&file_key)?;
        let (key, text) = match (text.as_str(), file.as_str()) {
            ("", "") => return Some(None),
            (_, "") => (key, text),
            ("", file) => match fs_err::read_to_string(file) {
                Ok(text) => (
                    file_key.as_str(),
                    text.trim_end_matches(['\r', '\n']).to_owned(),
                ),
                Err(error) => return self.wrong(&file_key, error.to_string()),
            },
            _ => return self.wrong(key, format!("is set as well as {file_key}: choose one")),
        };
        match check(&text) {
            Ok(()) => Some(Some(SecretString::new(text))),
            Err(message) => self.wrong(key, message),
        }
    }

    /// A list of secrets: itself, or the lines of the file that `KEY_file` names.
    pub(super) fn secrets(
        &mut self,
        key: &str,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Option<Vec<SecretString>> {
        let file_key = format!("{key}_file");
        let listed = self.list(key)?;
        let file = self.text(&file_key)?;
        let (key, texts) = match (listed.is_empty(), file.as_str()) {
            (_, "") => (key, listed),
            (true, file) => match fs_err::read_to_string(file) {
                Ok(text) => {
                    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
                    (file_key.as_str(), lines.map(str::to_owned).collect())
                }
                Err(error) => return self.wrong(&file_key, error.to_string()),
            },
            (false, _) => {
                return self.wrong(key, format!("is set as well as {file_key}: choose one"));
            }
        };
        for text in &texts {
            if let Err(message) = check(text) {
                return self.wrong(key, message);
            }
        }
        Some(texts.into_iter().map(SecretString::new).collect())
    }

    pub(super) fn absolute(&mut self, key: &str, path: &Path) -> Option<PathBuf> {
        match std::path::absolute(path) {
            Ok(path) => Some(path),
            Err(error) => self.wrong(key, format!("`{}` is no path: {error}", path.display())),
        }
    }
}

/// Says whether a name is made of what is allowed, and no longer than it may be.
pub(super) fn is_name(text: &str, longest: usize, allowed: impl Fn(u8) -> bool) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(allowed)
}
