//! Reads request bodies, generously: JSON or a form, under any content type;
//! nothing counts as `{}`; unknown fields are ignored. What is wrong with the
//! fields is collected, each broken rule by name.

mod typed;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, web};
use serde_json::{Map, Value};

use holdfast_domain::BackupName;
use holdfast_domain::ignore::{IgnorePatterns, IgnoreRefused};
use holdfast_domain::name::{BACKUP_NAME_MAX, NameRefused};

use crate::error::ApiError;
use crate::state::ApiState;

/// One rule that one field breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The canonical name of the field, whatever alias was sent.
    pub(crate) field: String,
    /// The rule's name: `required`, `string`, `boolean`, `max`, `array`; in the application API also
    /// `integer`, `min`, `email`, `in`, `uuid`, `date`, `ip`, `exists`, `unique`, `directory`.
    pub(crate) rule: &'static str,
    /// What a person reads.
    pub(crate) detail: String,
}

/// The fields of a request, and what was found wrong with them so far.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    values: Map<String, Value>,
    violations: Vec<Violation>,
}

impl Fields {
    /// Reads a request's body, at most `max_bytes` of it.
    ///
    /// # Errors
    /// [`ApiError::BodyTooLarge`], or [`ApiError::Malformed`] when it is neither a JSON object nor a
    /// form.
    pub(crate) async fn read(
        request: &HttpRequest,
        payload: web::Payload,
        max_bytes: usize,
    ) -> Result<Self, ApiError> {
        let state = request
            .app_data::<web::Data<ApiState>>()
            .ok_or(ApiError::Internal)?;
        let body = payload.to_bytes_limited(max_bytes);
        let body = tokio::time::timeout(state.options.request_timeout, body)
            .await
            .map_err(|_| ApiError::TooSlow)?
            .map_err(|_| ApiError::BodyTooLarge)?
            .map_err(|_| ApiError::BadRequest)?;
        let content_type = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        Self::parse(&body, content_type.unwrap_or_default())
    }

    fn parse(body: &[u8], content_type: &str) -> Result<Self, ApiError> {
        // Some clients begin what they send in UTF-8 with its byte order mark.
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
            // curl calls everything a form that is given no type; what begins
            // like JSON was meant as JSON.
            Err(_) if is_form && !body.trim_ascii_start().starts_with(b"{") => form(body)?,
            Ok(_) | Err(_) => return Err(ApiError::Malformed),
        };
        Ok(Self {
            values,
            violations: Vec::new(),
        })
    }

    /// Takes the query alone, for a request whose body says nothing.
    pub(crate) fn of_query(query: &str) -> Self {
        Self::default().with_query(query)
    }

    /// Adds fields of the query that the body does not have.
    pub(crate) fn with_query(mut self, query: &str) -> Self {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
        for (name, value) in pairs {
            self.values.entry(name).or_insert(Value::String(value));
        }
        self
    }

    /// Takes the backup's name; none, null and blank are `None`.
    pub(crate) fn name(&mut self) -> Option<BackupName> {
        let text = match self.take(&["name"])? {
            Value::String(text) => text,
            _ => return self.violation("name", "string", "The name must be a string."),
        };
        match BackupName::parse(&text) {
            Ok(name) => name,
            Err(NameRefused::TooLong) => self.violation(
                "name",
                "max",
                format!("The name may not be greater than {BACKUP_NAME_MAX} characters."),
            ),
            Err(NameRefused::Nul) => self.violation("name", "string", "The name must be a string."),
        }
    }

    /// Takes the backup's name, which must be there.
    pub(crate) fn required_name(&mut self) -> Option<BackupName> {
        let violations = self.violations.len();
        let name = self.name();
        if name.is_none() && self.violations.len() == violations {
            return self.violation("name", "required", "The name field is required.");
        }
        name
    }

    /// Takes the ignore patterns: a text of lines, or an array of such texts.
    pub(crate) fn ignored(&mut self, max_bytes: usize) -> IgnorePatterns {
        let texts = match self.take(&["ignored", "ignored_files"]) {
            None => return IgnorePatterns::default(),
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(values)) => {
                let mut texts = Vec::with_capacity(values.len());
                for (i, value) in values.into_iter().enumerate() {
                    match value {
                        Value::String(text) => texts.push(text),
                        Value::Null => {}
                        _ => {
                            let field = format!("ignored.{i}");
                            let detail = format!("The {field} must be a string.");
                            self.violations.push(Violation {
                                field,
                                rule: "string",
                                detail,
                            });
                        }
                    }
                }
                texts
            }
            Some(_) => {
                let _none: Option<()> = self.violation(
                    "ignored",
                    "array",
                    "The ignored must be a string or an array of strings.",
                );
                return IgnorePatterns::default();
            }
        };
        IgnorePatterns::parse(texts.iter().map(String::as_str), max_bytes).unwrap_or_else(
            |refused| {
                let rule = if refused == IgnoreRefused::Nul {
                    "string"
                } else {
                    "max"
                };
                let _none: Option<()> = self.violation(
                    "ignored",
                    rule,
                    format!("The ignored can't be taken: {refused}."),
                );
                IgnorePatterns::default()
            },
        )
    }

    /// Takes whether the backup is locked; `None` when nothing is said.
    pub(crate) fn is_locked(&mut self) -> Option<bool> {
        self.boolean("is_locked", &["is_locked", "isLocked"])
    }

    /// Takes whether a restore removes what was there.
    pub(crate) fn truncate(&mut self, required: bool) -> Option<bool> {
        let violations = self.violations.len();
        let value = self.boolean("truncate", &["truncate"]);
        if required && value.is_none() && self.violations.len() == violations {
            return self.violation("truncate", "required", "The truncate field is required.");
        }
        value
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with every rule that was broken.
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
            self.violation(
                field,
                "boolean",
                format!("The {field} field must be true or false."),
            )
        })
    }

    /// Takes the first of the aliases that is there; null and `""` count as absent.
    fn take(&mut self, aliases: &[&str]) -> Option<Value> {
        aliases
            .iter()
            .filter_map(|alias| self.values.remove(*alias))
            .find(|value| !value.is_null() && value != "")
    }

    fn violation<T>(
        &mut self,
        field: &str,
        rule: &'static str,
        detail: impl Into<String>,
    ) -> Option<T> {
        self.violations.push(Violation {
            field: field.to_owned(),
            rule,
            detail: detail.into(),
        });
        None
    }
}

/// Reads JSON. Half of a surrogate pair, which no text can hold, is read as a NUL, so that the field
/// it stands in is refused, and not the whole body as malformed.
fn json(body: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(body).or_else(|error| match without_lone_surrogates(body) {
        Some(mended) => serde_json::from_slice(&mended),
        None => Err(error),
    })
}

fn without_lone_surrogates(body: &[u8]) -> Option<Vec<u8>> {
    let unit = |at: usize| -> Option<u16> {
        let digits = body.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut mended = body.to_vec();
    let mut found = false;
    let mut at = 0;
    while at < body.len() {
        at += match (body[at], unit(at)) {
            (b'\\', Some(0xD800..=0xDBFF)) if matches!(unit(at + 6), Some(0xDC00..=0xDFFF)) => 12,
            (b'\\', Some(0xD800..=0xDFFF)) => {
                mended[at + 2..at + 6].copy_from_slice(b"0000");
                found = true;
                6
            }
            // An escaped backslash must not be taken for the start of an escape.
            (b'\\', _) => 2,
            _ => 1,
        };
    }
    found.then_some(mended)
}

/// Reads a form; `name[]` and `name[0]` make arrays.
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
    fn nothing_blank_null_and_empty_texts_count_as_absent() {
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
    fn json_is_read_under_any_content_type_and_forms_under_theirs() {
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
    fn half_a_surrogate_pair_breaks_its_field_and_not_the_body() {
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
    fn what_is_neither_an_object_nor_a_form_is_malformed() {
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
    fn every_broken_rule_is_named() {
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
}
