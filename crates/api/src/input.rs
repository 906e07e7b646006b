//! Request bodies: JSON or a form, with any content type.
//!
//! An empty body counts as `{}`, and unknown fields are ignored. All violations are collected, so
//! that one answer names each of them.

mod typed;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, web};
use serde_json::{Map, Value};

use holdfast_domain::ignore::{IgnoreLimit, IgnorePatterns};
use holdfast_domain::name::{BACKUP_NAME_MAX, NameRefused};
use holdfast_domain::restore_paths::PathFault;
use holdfast_domain::{BackupName, RestorePaths};

use crate::error::ApiError;
use crate::state::ApiState;
use crate::violation::Violation;

/// The most violations that an answer reports. A body can have a million of them.
const VIOLATIONS_MAX: usize = 100;

/// The fields of a request, and the violations that were found so far.
///
/// Methods such as [`Fields::name`] and [`Fields::text`] remove a field and return its value. They
/// return `None` if the field is absent or invalid. An invalid field is recorded as a violation.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    values: Map<String, Value>,
    violations: Vec<Violation>,
}

impl Fields {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`ApiError::BodyTooLarge`] or [`ApiError::BodyTimeout`] if the body exceeds a limit of the
    /// settings. [`ApiError::Malformed`] if it is neither a JSON object nor a form.
    pub(crate) async fn read(
        request: &HttpRequest,
        payload: web::Payload,
    ) -> Result<Self, ApiError> {
        let state = request
            .app_data::<web::Data<ApiState>>()
            .ok_or(ApiError::Internal)?;
        let body = payload.to_bytes_limited(state.options.max_body_bytes);
        let body = tokio::time::timeout(state.options.request_timeout, body)
            .await
            .map_err(|_| ApiError::BodyTimeout)?
            .map_err(|_| ApiError::BodyTooLarge)?
            .map_err(|_| ApiError::BadRequest)?;
        let content_type = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        Self::parse(&body, content_type.unwrap_or_default())
    }

    /// Parses a body.
    ///
    /// # Errors
    /// [`ApiError::Malformed`] if it is neither a JSON object nor a form.
    pub(crate) fn parse(body: &[u8], content_type: &str) -> Result<Self, ApiError> {
        // Some clients send a byte order mark.
        let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let is_form = content_type
            .trim_ascii_start()
            .to_ascii_lowercase()
            .starts_with("application/x-www-form-urlencoded");
        let values = match json(body) {
            Ok(Value::Object(values)) => values,
            // curl's default content type is that of a form, even for JSON. So a body that starts
            // like a JSON object is never read as a form.
            Err(_) if is_form && !body.trim_ascii_start().starts_with(b"{") => form(body)?,
            Ok(_) | Err(_) => return Err(ApiError::Malformed),
        };
        Ok(Self {
            values,
            violations: Vec::new(),
        })
    }

    /// Reads the fields of a query, for a request without a body.
    pub(crate) fn from_query(query: &str) -> Self {
        Self::default().with_query(query)
    }

    /// Adds the fields of the query that are not in the body.
    pub(crate) fn with_query(mut self, query: &str) -> Self {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
        for (name, value) in pairs {
            self.values.entry(name).or_insert(Value::String(value));
        }
        self
    }

    /// Adds the values of fields that are absent.
    pub(crate) fn with_absent<const N: usize>(mut self, values: [(&str, Value); N]) -> Self {
        for (name, value) in values {
            self.values.entry(name).or_insert(value);
        }
        self
    }

    /// Takes the name of a backup. A blank name counts as absent.
    pub(crate) fn name(&mut self) -> Option<BackupName> {
        let text = match self.take(&["name"])? {
            Value::String(text) => text,
            _ => return self.reject("name", "string", "The name must be a string."),
        };
        match BackupName::parse(&text) {
            Ok(name) => name,
            Err(NameRefused::TooLong) => self.reject(
                "name",
                "max",
                format!("The name may not be greater than {BACKUP_NAME_MAX} characters."),
            ),
            Err(NameRefused::Nul) => self.reject("name", "string", "The name must be a string."),
        }
    }

    /// Takes the name of a backup, which is required.
    pub(crate) fn required_name(&mut self) -> Option<BackupName> {
        let violations = self.violations.len();
        let name = self.name();
        if name.is_none() && self.violations.len() == violations {
            return self.reject("name", "required", "The name field is required.");
        }
        name
    }

    /// Takes the ignore patterns: a string with one pattern per line, or an array of such strings.
    pub(crate) fn ignored(&mut self, max_bytes: usize) -> IgnorePatterns {
        self.ignored_in(&["ignored", "ignored_files"], max_bytes)
    }

    /// Takes the ignore patterns from the first of these fields. Violations name the first one.
    pub(crate) fn ignored_in(&mut self, aliases: &[&str], max_bytes: usize) -> IgnorePatterns {
        let name = aliases.first().copied().unwrap_or_default();
        let mut is_array = false;
        let texts = match self.take(aliases) {
            None => return IgnorePatterns::default(),
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(values)) => {
                is_array = true;
                let mut texts = Vec::with_capacity(values.len());
                for (i, value) in values.into_iter().enumerate() {
                    match value {
                        Value::String(text) => texts.push(text),
                        // An empty text keeps the numbers of the others.
                        Value::Null => texts.push(String::new()),
                        _ => {
                            texts.push(String::new());
                            let field = format!("{name}.{i}");
                            let detail = format!("The {field} must be a string.");
                            self.add_violation(&field, "string", detail);
                        }
                    }
                }
                texts
            }
            Some(_) => {
                let detail = format!("The {name} must be a string or an array of strings.");
                self.add_violation(name, "array", detail);
                return IgnorePatterns::default();
            }
        };
        IgnorePatterns::parse(texts.iter().map(String::as_str), max_bytes).unwrap_or_else(
            |refused| {
                let rule = match refused.reason {
                    IgnoreLimit::Nul => "string",
                    _ => "max",
                };
                let field = match refused.text.filter(|_| is_array) {
                    Some(text) => format!("{name}.{text}"),
                    None => name.to_owned(),
                };
                let detail = format!("The {field} is invalid: {refused}.");
                self.add_violation(&field, rule, detail);
                IgnorePatterns::default()
            },
        )
    }

    /// Takes whether the backup is locked.
    pub(crate) fn is_locked(&mut self) -> Option<bool> {
        self.boolean("is_locked", &["is_locked", "isLocked"])
    }

    /// Takes whether a backup reads and packs every file.
    pub(crate) fn is_full(&mut self) -> Option<bool> {
        self.boolean("full", &["full"])
    }

    /// Takes whether a restore removes files that are not in the backup.
    pub(crate) fn truncate(&mut self, required: bool) -> Option<bool> {
        let violations = self.violations.len();
        let value = self.boolean("truncate", &["truncate"]);
        if required && value.is_none() && self.violations.len() == violations {
            return self.reject("truncate", "required", "The truncate field is required.");
        }
        value
    }

    /// Takes the paths of a restore: an array of strings. Only null counts as absent, since a
    /// restore without paths replaces everything.
    pub(crate) fn restore_paths(&mut self) -> Option<RestorePaths> {
        let not_strings = "The paths must be an array of strings.";
        let values = match self.values.remove("paths") {
            None | Some(Value::Null) => return None,
            Some(Value::Array(values)) => values,
            Some(_) => return self.reject("paths", "array", not_strings),
        };
        let paths = values.into_iter().map(|value| match value {
            Value::String(path) => Some(path),
            _ => None,
        });
        let Some(paths) = paths.collect() else {
            return self.reject("paths", "array", not_strings);
        };
        RestorePaths::parse(paths).map_or_else(
            |refused| {
                let rule = match refused.reason {
                    PathFault::None => "min",
                    PathFault::TooMany | PathFault::TooLong | PathFault::NameTooLong => "max",
                    PathFault::InsideOther => "distinct",
                    PathFault::EmptyName | PathFault::Dots | PathFault::Nul => "regex",
                };
                let field = match refused.path {
                    Some(number) => format!("paths.{number}"),
                    None => "paths".to_owned(),
                };
                let detail = format!("The {field} is invalid: {refused}.");
                self.reject(&field, rule, detail)
            },
            Some,
        )
    }

    /// Checks that no violation was found.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with all violations.
    pub(crate) fn check(self) -> Result<(), ApiError> {
        if self.violations.is_empty() {
            Ok(())
        } else {
            Err(ApiError::Invalid(self.violations))
        }
    }

    fn boolean(&mut self, field: &str, aliases: &[&str]) -> Option<bool> {
        let value = self.take(aliases)?;
        let read = match &value {
            Value::Bool(value) => Some(*value),
            Value::Number(number) => match number.as_u64() {
                Some(0) => Some(false),
                Some(1) => Some(true),
                _ => None,
            },
            Value::String(text) => match text.as_str() {
                "1" | "true" => Some(true),
                "0" | "false" => Some(false),
                _ => None,
            },
            _ => None,
        };
        read.or_else(|| {
            self.reject(
                field,
                "boolean",
                format!("The {field} field must be true or false."),
            )
        })
    }

    /// Takes the first alias that has a value. Null and `""` count as absent.
    fn take(&mut self, aliases: &[&str]) -> Option<Value> {
        aliases
            .iter()
            .filter_map(|alias| self.values.remove(*alias))
            .find(|value| !value.is_null() && value != "")
    }

    /// Records a violation, and returns `None` for the field.
    fn reject<T>(
        &mut self,
        field: &str,
        rule: &'static str,
        detail: impl Into<String>,
    ) -> Option<T> {
        self.add_violation(field, rule, detail);
        None
    }
}

/// Parses JSON. A lone surrogate cannot be part of a string, so it is read as NUL. Fields refuse
/// NUL, so only the field with the surrogate is invalid, and not the whole body.
fn json(body: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(body).or_else(|error| match without_lone_surrogates(body) {
        Some(replaced) => serde_json::from_slice(&replaced),
        None => Err(error),
    })
}

/// Returns the body with `\u0000` in place of each lone surrogate; `None` if there are none.
fn without_lone_surrogates(body: &[u8]) -> Option<Vec<u8>> {
    let unit = |at: usize| -> Option<u16> {
        let digits = body.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut replaced = body.to_vec();
    let mut found = false;
    let mut at = 0;
    while at < body.len() {
        at += match (body[at], unit(at)) {
            (b'\\', Some(0xD800..=0xDBFF)) if matches!(unit(at + 6), Some(0xDC00..=0xDFFF)) => 12,
            (b'\\', Some(0xD800..=0xDFFF)) => {
                replaced[at + 2..at + 6].copy_from_slice(b"0000");
                found = true;
                6
            }
            // The second of two backslashes does not start an escape sequence.
            (b'\\', _) => 2,
            _ => 1,
        };
    }
    found.then_some(replaced)
}

/// Parses a form. `name[]` and `name[0]` form arrays.
fn form(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_bytes(body).map_err(|_| ApiError::Malformed)?;
    let mut values = Map::new();
    for (name, value) in pairs {
        match name.split_once('[') {
            Some((name, _)) => {
                let entry = values
                    .entry(name)
                    .or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(array) = entry {
                    array.push(Value::String(value));
                }
            }
            None => {
                values.insert(name, Value::String(value));
            }
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "application/x-www-form-urlencoded";

    fn fields(body: &str, content_type: &str) -> Fields {
        Fields::parse(body.as_bytes(), content_type).expect("fields")
    }

    #[test]
    fn missing_blank_null_and_empty_values_count_as_absent() {
        for body in [
            "",
            "  \n",
            "\u{feff}{}",
            "{}",
            r#"{"name":null,"is_locked":"","ignored":""}"#,
            r#"{"other":[1]}"#,
        ] {
            let mut fields = fields(body, "");
            assert_eq!(fields.name(), None, "{body}");
            assert_eq!(fields.is_locked(), None, "{body}");
            assert!(fields.ignored(100).is_empty(), "{body}");
            assert_eq!(fields.check(), Ok(()), "{body}");
        }
    }

    #[test]
    fn json_is_read_with_any_content_type_and_a_form_with_its_own() {
        for (body, content_type) in [
            (
                r#"{"name":"a","ignored":"x\r\ny","isLocked":"1"}"#,
                "application/json",
            ),
            (r#"{"name":"a","ignored":["x","y"],"is_locked":true}"#, ""),
            (
                r#"{"name":"a","ignored_files":["x\ny"],"is_locked":1}"#,
                FORM,
            ),
            ("name=a&ignored=x%0Ay&is_locked=true", FORM),
            (
                "name=a&ignored[]=x&ignored[]=y&is_locked=1",
                "application/x-www-form-urlencoded; charset=UTF-8",
            ),
        ] {
            let mut fields = fields(body, content_type);
            assert_eq!(
                fields.name().map(|name| name.as_str().to_owned()),
                Some("a".into()),
                "{body}"
            );
            assert_eq!(fields.ignored(100).lines(), ["x", "y"], "{body}");
            assert_eq!(fields.is_locked(), Some(true), "{body}");
            assert_eq!(fields.check(), Ok(()), "{body}");
        }
    }

    #[test]
    fn a_lone_surrogate_makes_its_field_invalid_and_not_the_body() {
        for (body, name) in [
            (r#"{"name":"a\ud83d\ude00"}"#, Some("a😀")),
            (r#"{"name":"a\\ud83d"}"#, Some("a\\ud83d")),
            (r#"{"name":"\ud83d"}"#, None),
            (r#"{"name":"\ude00x"}"#, None),
            (r#"{"name":"\ud83d\u0041"}"#, None),
        ] {
            let mut fields = fields(body, "");
            assert_eq!(
                fields.name().as_ref().map(BackupName::as_str),
                name,
                "{body}"
            );
            assert_eq!(fields.check().is_ok(), name.is_some(), "{body}");
        }
        assert!(Fields::parse(br#"{"name":"\ud83d"#, "").is_err());
    }

    #[test]
    fn a_body_that_is_neither_an_object_nor_a_form_is_malformed() {
        for (body, content_type) in [
            ("{", ""),
            ("[]", ""),
            ("null", ""),
            ("\"a\"", ""),
            ("a=1", ""),
            ("{\"a\":", FORM),
        ] {
            assert_eq!(
                Fields::parse(body.as_bytes(), content_type).err(),
                Some(ApiError::Malformed),
                "{body}"
            );
        }
    }

    #[test]
    fn every_violation_is_reported() {
        let mut fields = fields(r#"{"name":5,"ignored":["a",1,{}],"is_locked":"maybe"}"#, "");
        fields.name();
        fields.ignored(100);
        fields.is_locked();
        fields.truncate(true);
        let Err(ApiError::Invalid(violations)) = fields.check() else {
            panic!("no violations")
        };
        let found: Vec<(&str, &str)> = violations
            .iter()
            .map(|v| (v.field.as_str(), v.rule))
            .collect();
        assert_eq!(
            found,
            [
                ("name", "string"),
                ("ignored.1", "string"),
                ("ignored.2", "string"),
                ("is_locked", "boolean"),
                ("truncate", "required")
            ]
        );
    }

    #[test]
    fn an_answer_reports_a_hundred_violations_of_a_body_with_more() {
        let wrong = vec!["0"; 100_000].join(",");
        let mut fields = fields(&format!(r#"{{"ignored":[{wrong}]}}"#), "");
        fields.ignored(100);
        fields.list("other", "in", "a number", |_| Some(()));
        let Err(ApiError::Invalid(violations)) = fields.check() else {
            panic!("no violations")
        };
        assert_eq!(violations.len(), VIOLATIONS_MAX);
        assert_eq!(violations[99].field, "ignored.99");
    }
}
