//! Lays defaults, files and environment over each other, without knowing what the settings mean.
//!
//! `config/default.toml` is the list of keys and of their types. A disk has the keys of the disk
//! `local` there and those of the disks that stand in comments, and a secret has one more key with
//! `_file` behind it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Value;

use super::problem::Problem;

/// What the environment variables of settings begin with.
pub(crate) const PREFIX: &str = "HOLDFAST__";

/// Settings that must not be seen, and may be given as the path of a file.
pub(crate) const SECRETS: [&str; 3] = [
    "auth.signing_key",
    "auth.previous_signing_keys",
    "database.url",
];

/// Where disks are described; the next part of a key is the name of the disk.
pub(crate) const DISKS: &str = "storage.disks.";
const DEFAULT_DISK: &str = "storage.disks.local.";
/// Settings of disks that must not be seen, and may be given as the path of a file.
pub(crate) const DISK_SECRETS: [&str; 3] = ["access_key_id", "secret_access_key", "age_identity"];

/// Of the type that the path of a secret's file is.
static A_PATH: Value = Value::String(String::new());

const DEFAULTS: &str = include_str!("../../../../config/default.toml");

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingSource {
    /// `config/default.toml`.
    Default,
    /// A file given with `--config`.
    File(PathBuf),
    /// The environment.
    Environment,
}

/// The value that counts for a setting.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) origin: SettingSource,
}

/// Every setting's value by its key, such as `http.listen`.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) entries: BTreeMap<String, Entry>,
    defaults: BTreeMap<String, Value>,
    /// What any disk can have: a value of each key, which says of which type it is.
    pub(super) disk_fields: BTreeMap<String, Value>,
    pub(super) problems: Vec<Problem>,
}

impl Layers {
    /// Starts with the defaults alone.
    pub(super) fn new() -> Self {
        let mut defaults = BTreeMap::new();
        let mut problems = Vec::new();
        match DEFAULTS.parse() {
            Ok(table) => flatten(String::new(), table, &mut defaults),
            Err(error) => problems.push(syntax_problem(
                Path::new("config/default.toml"),
                DEFAULTS,
                &error,
            )),
        }
        let mut disk_fields = BTreeMap::new();
        let local = defaults
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(DEFAULT_DISK)?, value)));
        disk_fields.extend(local.map(|(field, value)| (field.to_owned(), value.clone())));
        match examples(DEFAULTS).parse() {
            Ok(table) => {
                let mut found = BTreeMap::new();
                flatten(String::new(), table, &mut found);
                for (key, value) in found {
                    let field = key
                        .strip_prefix(DISKS)
                        .and_then(|rest| rest.split_once('.'));
                    disk_fields.extend(field.map(|(_, field)| (field.to_owned(), value)));
                }
            }
            Err(error) => problems.push(syntax_problem(
                Path::new("config/default.toml, in comments"),
                DEFAULTS,
                &error,
            )),
        }
        let entry = |value: &Value| Entry {
            value: value.clone(),
            origin: SettingSource::Default,
        };
        let entries = defaults
            .iter()
            .map(|(key, value)| (key.clone(), entry(value)))
            .collect();
        Self {
            entries,
            defaults,
            disk_fields,
            problems,
        }
    }

    /// Lays a file over what is there.
    pub(super) fn file(&mut self, path: &Path) {
        let text = match fs_err::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.problems.push(file_problem(path, error.to_string())),
        };
        let table = match text.parse() {
            Ok(table) => table,
            Err(error) => return self.problems.push(syntax_problem(path, &text, &error)),
        };
        let mut found = BTreeMap::new();
        flatten(String::new(), table, &mut found);
        for (key, value) in found {
            let origin = SettingSource::File(path.into());
            match self.default_of(&key) {
                Some(default) if default.same_type(&value) => {
                    self.entries.insert(key, Entry { value, origin });
                }
                Some(default) => {
                    let message = format!("must be {}, not {}", a_type(default), a_type(&value));
                    self.problems.push(Problem {
                        key,
                        origin,
                        message,
                    });
                }
                None => self.unknown(key, origin),
            }
        }
    }

    /// Lays the variables whose names begin with `HOLDFAST__` over what is there.
    pub(super) fn environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        for (name, text) in variables {
            let Some(name) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let key = name.to_ascii_lowercase().replace("__", ".");
            let origin = SettingSource::Environment;
            match self
                .default_of(&key)
                .map(|default| parse_like(default, &text))
            {
                Some(Ok(value)) => {
                    self.entries.insert(key, Entry { value, origin });
                }
                Some(Err(message)) => self.problems.push(Problem {
                    key,
                    origin,
                    message,
                }),
                None => self.unknown(key, origin),
            }
        }
    }

    /// The value that says of which type a key is; `None` for an unknown key.
    fn default_of(&self, key: &str) -> Option<&Value> {
        if let Some(rest) = key.strip_prefix(DISKS) {
            let (_, field) = rest.split_once('.')?;
            let field = match field.strip_suffix("_file") {
                Some(secret) if DISK_SECRETS.contains(&secret) => secret,
                _ => field,
            };
            return self.disk_fields.get(field);
        }
        match key.strip_suffix("_file") {
            // Whatever the secret is, the path of its file is a text.
            Some(secret) if SECRETS.contains(&secret) => Some(&A_PATH),
            _ => self.defaults.get(key),
        }
    }

    fn unknown(&mut self, key: String, origin: SettingSource) {
        let section = format!("{key}.");
        let message = if self
            .defaults
            .keys()
            .any(|known| known.starts_with(&section))
        {
            "is a section, not a setting".to_owned()
        } else {
            let (known, shown): (_, fn(&str) -> String) = match origin {
                SettingSource::Environment => (self.nearest(&key), variable),
                _ => (self.nearest(&key), str::to_owned),
            };
            let hint = known.map(|known| format!(": did you mean {}?", shown(&known)));
            format!("is no setting{}", hint.unwrap_or_default())
        };
        self.problems.push(Problem {
            key,
            origin,
            message,
        });
    }

    /// The known key that is written most alike, if one is.
    fn nearest(&self, key: &str) -> Option<String> {
        // A disk of any name has the keys of the default one.
        let (prefix, field) = match key
            .strip_prefix(DISKS)
            .and_then(|rest| rest.split_once('.'))
        {
            Some((name, field)) => (format!("{DISKS}{name}."), field),
            None => (String::new(), key),
        };
        let fields: Vec<String> = if prefix.is_empty() {
            let files = SECRETS.iter().map(|secret| format!("{secret}_file"));
            self.defaults.keys().cloned().chain(files).collect()
        } else {
            self.disk_fields.keys().cloned().collect()
        };
        let (distance, known) = fields
            .into_iter()
            .map(|known| (distance(field, &known), known))
            .min()?;
        (distance <= (field.len() / 3).max(2)).then(|| format!("{prefix}{known}"))
    }
}

/// The tables of disks that stand in comments, without the sign before each line.
fn examples(text: &str) -> String {
    let mut found = String::new();
    let mut is_inside = false;
    for line in text.lines() {
        let line = match line.strip_prefix("# ") {
            Some(line) => line,
            None => {
                is_inside = false;
                continue;
            }
        };
        is_inside |= line.starts_with(&format!("[{DISKS}"));
        if is_inside {
            found.push_str(line);
            found.push('\n');
        }
    }
    found
}

/// The environment variable of a key.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}

fn flatten(prefix: String, table: toml::Table, found: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        let key = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            Value::Table(table) => flatten(key, table, found),
            value => {
                found.insert(key, value);
            }
        }
    }
}

/// Reads a variable as the type of its key's default.
fn parse_like(default: &Value, text: &str) -> Result<Value, String> {
    match default {
        Value::Integer(_) => {
            let number = text.trim().parse();
            number
                .map(Value::Integer)
                .map_err(|_| format!("must be a whole number, not `{text}`"))
        }
        Value::Boolean(_) => {
            let truth = text.trim().parse();
            truth
                .map(Value::Boolean)
                .map_err(|_| format!("must be true or false, not `{text}`"))
        }
        Value::Array(_) => {
            // As a settings file has it, brackets and all.
            if text.trim_start().starts_with('[') {
                let list = format!("list = {text}").parse::<toml::Table>();
                let list = list.ok().and_then(|mut table| table.remove("list"));
                return list
                    .filter(Value::is_array)
                    .ok_or_else(|| format!("must be a list, not `{text}`"));
            }
            let parts = text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty());
            Ok(Value::Array(parts.map(Value::from).collect()))
        }
        _ => Ok(Value::from(text)),
    }
}

fn a_type(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Boolean(_) => "true or false",
        Value::Array(_) => "a list",
        Value::Float(_) => "a fraction",
        Value::Datetime(_) => "a date",
        Value::Table(_) => "a section",
    }
}

fn file_problem(path: &Path, message: String) -> Problem {
    Problem {
        key: String::new(),
        origin: SettingSource::File(path.into()),
        message,
    }
}

/// A syntax error on one line, without the line it is in: that may hold a secret.
fn syntax_problem(path: &Path, text: &str, error: &toml::de::Error) -> Problem {
    let before = error
        .span()
        .and_then(|span| text.get(..span.start))
        .unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let message = error.message().lines().next().unwrap_or_default();
    file_problem(path, format!("{}, line {line}: {message}", path.display()))
}

/// How many letters must be changed, added or left out to get from one word to the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_letters() {
        for (one, other, expected) in [
            ("", "", 0),
            ("abc", "", 3),
            ("lisen", "listen", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }
}
