//! Merges defaults, settings files and environment variables, without knowing what they mean.
//!
//! `config/default.toml` defines the keys and their types. Two kinds of keys are derived from it:
//! every disk has the keys of the disk `local` and of the example disks in its comments, and every
//! secret has a second key that ends in `_file`.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Value;

use super::problem::{PREFIX, SettingProblem, SettingSource, variable};

/// Secret settings. Each may also be given as the path of a file.
pub(crate) const SECRETS: [&str; 3] = [
    "auth.signing_key",
    "auth.previous_signing_keys",
    "database.url",
];

/// The prefix of the settings of disks. The next part of the key is the name of the disk.
pub(crate) const DISKS: &str = "storage.disks.";
const DEFAULT_DISK: &str = "storage.disks.local.";
/// Secret settings of disks. Each may also be given as the path of a file.
pub(crate) const DISK_SECRETS: [&str; 3] = ["access_key_id", "secret_access_key", "age_identity"];

/// A value with the type of the `_file` keys.
static STRING: Value = Value::String(String::new());

const DEFAULTS: &str = include_str!("../../../../config/default.toml");

/// The effective value of a setting.
#[derive(Clone, Debug)]
pub(super) struct SettingValue {
    pub(super) value: Value,
    pub(super) source: SettingSource,
}

/// The merged values by key, such as `http.listen`.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) values: BTreeMap<String, SettingValue>,
    defaults: BTreeMap<String, Value>,
    /// The keys that a disk can have, each with an example value of its type.
    pub(super) disk_fields: BTreeMap<String, Value>,
    pub(super) problems: Vec<SettingProblem>,
}

impl Layers {
    /// Creates the lowest layer: the defaults.
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
        match example_disks(DEFAULTS).parse() {
            Ok(table) => {
                let mut examples = BTreeMap::new();
                flatten(String::new(), table, &mut examples);
                for (key, value) in examples {
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
        let with_source = |value: &Value| SettingValue {
            value: value.clone(),
            source: SettingSource::Default,
        };
        let values = defaults
            .iter()
            .map(|(key, value)| (key.clone(), with_source(value)))
            .collect();
        Self {
            values,
            defaults,
            disk_fields,
            problems,
        }
    }

    /// Adds a settings file as the highest layer.
    pub(super) fn add_file(&mut self, path: &Path) {
        let text = match fs_err::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.problems.push(file_problem(path, error.to_string())),
        };
        let table = match text.parse() {
            Ok(table) => table,
            Err(error) => return self.problems.push(syntax_problem(path, &text, &error)),
        };
        let mut given = BTreeMap::new();
        flatten(String::new(), table, &mut given);
        for (key, value) in given {
            let source = SettingSource::File(path.into());
            match self.example_of(&key) {
                Some(example) if example.same_type(&value) => {
                    self.values.insert(key, SettingValue { value, source });
                }
                Some(example) => {
                    let (expected, given) = (type_name(example), type_name(&value));
                    let message = format!("must be {expected}, not {given}");
                    self.problems.push(SettingProblem {
                        key,
                        source,
                        message,
                    });
                }
                None => self.report_unknown(key, source),
            }
        }
    }

    /// Adds the variables that start with `HOLDFAST__` as the highest layer.
    pub(super) fn add_environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) {
        for (name, text) in variables {
            let Some(name) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let key = name.to_ascii_lowercase().replace("__", ".");
            let source = SettingSource::Environment;
            match self
                .example_of(&key)
                .map(|example| parse_like(example, &text))
            {
                Some(Ok(value)) => {
                    self.values.insert(key, SettingValue { value, source });
                }
                Some(Err(message)) => self.problems.push(SettingProblem {
                    key,
                    source,
                    message,
                }),
                None => self.report_unknown(key, source),
            }
        }
    }

    /// Returns a value of the key's type; `None` for an unknown key.
    fn example_of(&self, key: &str) -> Option<&Value> {
        if let Some(rest) = key.strip_prefix(DISKS) {
            let (_, field) = rest.split_once('.')?;
            let field = match field.strip_suffix("_file") {
                Some(secret) if DISK_SECRETS.contains(&secret) => secret,
                _ => field,
            };
            return self.disk_fields.get(field);
        }
        match key.strip_suffix("_file") {
            Some(secret) if SECRETS.contains(&secret) => Some(&STRING),
            _ => self.defaults.get(key),
        }
    }

    fn report_unknown(&mut self, key: String, source: SettingSource) {
        let section = format!("{key}.");
        let message = if self
            .defaults
            .keys()
            .any(|known| known.starts_with(&section))
        {
            "is a section, not a setting".to_owned()
        } else {
            let spelling: fn(&str) -> String = match source {
                SettingSource::Environment => variable,
                SettingSource::Default | SettingSource::File(_) => str::to_owned,
            };
            let nearest = self.nearest(&key);
            let hint = nearest.map(|known| format!(": did you mean {}?", spelling(&known)));
            format!("is not a setting{}", hint.unwrap_or_default())
        };
        self.problems.push(SettingProblem {
            key,
            source,
            message,
        });
    }

    /// Returns the known key with the most similar spelling, if one is similar enough.
    fn nearest(&self, key: &str) -> Option<String> {
        // The name of the disk can be anything; only the field is compared.
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

/// Returns the disk tables that are commented out in `text`, uncommented.
fn example_disks(text: &str) -> String {
    let mut tables = String::new();
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
            tables.push_str(line);
            tables.push('\n');
        }
    }
    tables
}

/// Adds the values of nested tables to `flat`, with keys such as `http.listen`.
fn flatten(prefix: String, table: toml::Table, flat: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        let key = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            Value::Table(table) => flatten(key, table, flat),
            value => {
                flat.insert(key, value);
            }
        }
    }
}

/// Parses the value of an environment variable as the type of `example`.
fn parse_like(example: &Value, text: &str) -> Result<Value, String> {
    match example {
        Value::Integer(_) => {
            let number = text.trim().parse();
            number
                .map(Value::Integer)
                .map_err(|_| format!("must be a whole number, not `{text}`"))
        }
        Value::Boolean(_) => {
            let boolean = text.trim().parse();
            boolean
                .map(Value::Boolean)
                .map_err(|_| format!("must be true or false, not `{text}`"))
        }
        Value::Array(_) => {
            // A TOML array, as in a settings file.
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

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "a whole number",
        Value::Boolean(_) => "true or false",
        Value::Array(_) => "a list",
        Value::Float(_) => "a floating-point number",
        Value::Datetime(_) => "a date",
        Value::Table(_) => "a section",
    }
}

fn file_problem(path: &Path, message: String) -> SettingProblem {
    SettingProblem {
        key: String::new(),
        source: SettingSource::File(path.into()),
        message,
    }
}

/// Reports a syntax error by its line number. The line itself may contain a secret.
fn syntax_problem(path: &Path, text: &str, error: &toml::de::Error) -> SettingProblem {
    let before = error
        .span()
        .and_then(|span| text.get(..span.start))
        .unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let message = error.message().lines().next().unwrap_or_default();
    file_problem(path, format!("{}, line {line}: {message}", path.display()))
}

/// Returns the Levenshtein distance of two words.
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
