//! Fields by type: strings, numbers, times, lists.
//!
//! Null and `""` count as absent. An invalid value is recorded as a violation.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use holdfast_domain::EmailAddress;

use super::{Fields, VIOLATIONS_MAX};
use crate::violation::Violation;

impl Fields {
    /// Takes a string and trims it. It may have at most `max` characters and no NUL. A blank string
    /// counts as absent.
    pub(crate) fn text(&mut self, field: &str, max: usize) -> Option<String> {
        let text = match self.take(&[field])? {
            Value::String(text) => text,
            _ => return self.not_a_string(field),
        };
        let text = text.trim();
        if text.contains('\0') {
            return self.not_a_string(field);
        }
        if text.chars().count() > max {
            let detail = format!("The {field} may not be greater than {max} characters.");
            return self.reject(field, "max", detail);
        }
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Takes a string without trimming it.
    pub(crate) fn untrimmed(&mut self, field: &str) -> Option<String> {
        match self.take(&[field])? {
            Value::String(text) => Some(text),
            _ => self.not_a_string(field),
        }
    }

    /// Takes a string that `parse` reads. `rule` and `expected` describe the violation otherwise.
    pub(crate) fn parsed<T>(
        &mut self,
        field: &str,
        rule: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = match self.take(&[field])? {
            Value::String(text) => text,
            _ => return self.not_a_string(field),
        };
        parse(text.trim())
            .or_else(|| self.reject(field, rule, format!("The {field} must be {expected}.")))
    }

    /// Takes one of the values of an enum.
    pub(crate) fn one_of<T>(
        &mut self,
        field: &str,
        values: &[&str],
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let expected = format!("one of {}", values.join(", "));
        self.parsed(field, "in", &expected, parse)
    }

    /// Takes an email address.
    pub(crate) fn email(&mut self, field: &str) -> Option<EmailAddress> {
        self.parsed(field, "email", "a valid email address", |text| {
            EmailAddress::parse(text).ok()
        })
    }

    /// Takes a hyphenated UUID.
    pub(crate) fn uuid(&mut self, field: &str) -> Option<Uuid> {
        self.parsed(field, "uuid", "a valid UUID", |text| {
            holdfast_domain::ServerId::parse(text).map(|id| id.0)
        })
    }

    /// Takes a time in RFC 3339 format.
    pub(crate) fn time(&mut self, field: &str) -> Option<DateTime<Utc>> {
        let expected = "a date and time such as 2030-01-31T12:00:00Z";
        self.parsed(field, "date", expected, |text| {
            let time = DateTime::parse_from_rfc3339(text).ok()?;
            Some(time.with_timezone(&Utc))
        })
    }

    /// Takes a boolean.
    pub(crate) fn flag(&mut self, field: &str) -> Option<bool> {
        self.boolean(field, &[field])
    }

    /// Takes an integer, as a number or as a string of digits.
    pub(crate) fn integer(&mut self, field: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.take(&[field])?;
        let number = match &value {
            Value::Number(number) => number
                .as_i64()
                .map(i128::from)
                .or_else(|| number.as_u64().map(i128::from)),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let Some(number) = number else {
            return self.reject(field, "integer", format!("The {field} must be an integer."));
        };
        let (min, max) = (*range.start(), *range.end());
        if number < i128::from(min) {
            return self.reject(field, "min", format!("The {field} must be at least {min}."));
        }
        if number > i128::from(max) {
            let detail = format!("The {field} may not be greater than {max}.");
            return self.reject(field, "max", detail);
        }
        u64::try_from(number).ok()
    }

    /// Takes a number, as a number or as a string, and drops its fraction.
    pub(crate) fn number(&mut self, field: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let value = self.take(&[field])?;
        let number = match &value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => {
                let text = text.trim();
                let is_decimal = text
                    .bytes()
                    .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
                text.parse().ok().filter(|_| is_decimal)
            }
            _ => None,
        };
        let Some(number) = number else {
            return self.reject(field, "numeric", format!("The {field} must be a number."));
        };
        let (min, max) = (*range.start(), *range.end());
        if number < f64::from(min) {
            return self.reject(field, "min", format!("The {field} must be at least {min}."));
        }
        if number > f64::from(max) {
            let detail = format!("The {field} may not be greater than {max}.");
            return self.reject(field, "max", detail);
        }
        // Within the range of u32, so this drops nothing but the fraction.
        Some(number as u32)
    }

    /// Takes a list of strings that `parse` reads. A single string counts as a list with one entry.
    pub(crate) fn list<T>(
        &mut self,
        field: &str,
        rule: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let values = match self.take(&[field])? {
            Value::Array(values) => values,
            text @ Value::String(_) => vec![text],
            _ => return self.reject(field, "array", format!("The {field} must be an array.")),
        };
        let mut taken = Vec::with_capacity(values.len());
        for (i, value) in values.iter().enumerate() {
            let field = format!("{field}.{i}");
            match value.as_str().map(|text| parse(text.trim())) {
                Some(Some(value)) => taken.push(value),
                Some(None) => {
                    self.add_violation(&field, rule, format!("The {field} must be {expected}."))
                }
                None => {
                    self.add_violation(&field, "string", format!("The {field} must be a string."))
                }
            }
        }
        Some(taken)
    }

    /// Takes a field whose null resets a value. Returns `None` if it was not sent, and `Some(None)`
    /// if it was null.
    pub(crate) fn nullable<T>(
        &mut self,
        field: &str,
        take: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        let is_sent = self.values.contains_key(field);
        let violations = self.violations.len();
        let value = take(self);
        (is_sent && self.violations.len() == violations).then_some(value)
    }

    /// Records that a required field is missing, unless it already has a violation.
    pub(crate) fn require<T>(&mut self, field: &str, value: Option<&T>) {
        if value.is_none() && !self.is_invalid(field) {
            self.add_violation(field, "required", format!("The {field} field is required."));
        }
    }

    /// Returns whether a field has a violation.
    pub(crate) fn is_invalid(&self, field: &str) -> bool {
        let mut violations = self.violations.iter();
        violations.any(|violation| violation.field == field)
    }

    /// Records a violation of `rule` by `field`. The first [`VIOLATIONS_MAX`] are kept.
    pub(crate) fn add_violation(
        &mut self,
        field: &str,
        rule: &'static str,
        detail: impl Into<String>,
    ) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation::new(field, rule, detail));
        }
    }

    fn not_a_string<T>(&mut self, field: &str) -> Option<T> {
        self.reject(field, "string", format!("The {field} must be a string."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ApiError;

    fn fields(body: &str) -> Fields {
        Fields::parse(body.as_bytes(), "").expect("fields")
    }

    fn rules(fields: Fields) -> Vec<(String, &'static str)> {
        match fields.check() {
            Err(ApiError::Invalid(found)) => found.into_iter().map(|v| (v.field, v.rule)).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn an_integer_is_a_number_or_digits_within_its_range() {
        for (body, number, rule) in [
            (r#"{"n":5}"#, Some(5), None),
            (r#"{"n":" 5 "}"#, Some(5), None),
            (r#"{"n":""}"#, None, None),
            (r#"{}"#, None, None),
            (r#"{"n":0}"#, None, Some("min")),
            (r#"{"n":-3}"#, None, Some("min")),
            (r#"{"n":11}"#, None, Some("max")),
            (r#"{"n":18446744073709551615}"#, None, Some("max")),
            (r#"{"n":1.5}"#, None, Some("integer")),
            (r#"{"n":true}"#, None, Some("integer")),
            (r#"{"n":"x"}"#, None, Some("integer")),
        ] {
            let mut fields = fields(body);
            assert_eq!(fields.integer("n", 1..=10), number, "{body}");
            let found = rules(fields);
            assert_eq!(found.first().map(|(_, rule)| *rule), rule, "{body}");
        }
    }

    #[test]
    fn a_number_may_be_a_string_and_loses_its_fraction() {
        for (body, number, rule) in [
            (r#"{"n":5}"#, Some(5), None),
            (r#"{"n":" 5 "}"#, Some(5), None),
            (r#"{"n":"0"}"#, Some(0), None),
            (r#"{"n":5.0}"#, Some(5), None),
            (r#"{"n":"5.9"}"#, Some(5), None),
            (r#"{"n":"1e1"}"#, Some(10), None),
            (r#"{"n":""}"#, None, None),
            (r#"{"n":null}"#, None, None),
            (r#"{"n":-0.5}"#, None, Some("min")),
            (r#"{"n":10.1}"#, None, Some("max")),
            (r#"{"n":1e308}"#, None, Some("max")),
            (r#"{"n":"1e999"}"#, None, Some("max")),
            (r#"{"n":"inf"}"#, None, Some("numeric")),
            (r#"{"n":"nan"}"#, None, Some("numeric")),
            (r#"{"n":"five"}"#, None, Some("numeric")),
            (r#"{"n":true}"#, None, Some("numeric")),
            (r#"{"n":[5]}"#, None, Some("numeric")),
        ] {
            let mut fields = fields(body);
            assert_eq!(fields.number("n", 0..=10), number, "{body}");
            let found = rules(fields);
            assert_eq!(found.first().map(|(_, rule)| *rule), rule, "{body}");
        }
    }

    #[test]
    fn null_resets_a_field_and_an_absent_field_is_not_changed() {
        let take = |body: &str| {
            let mut fields = fields(body);
            fields.nullable("n", |fields| fields.integer("n", 1..=10))
        };
        assert_eq!(take("{}"), None);
        assert_eq!(take(r#"{"n":null}"#), Some(None));
        assert_eq!(take(r#"{"n":""}"#), Some(None));
        assert_eq!(take(r#"{"n":3}"#), Some(Some(3)));
        assert_eq!(take(r#"{"n":"x"}"#), None);
    }

    #[test]
    fn a_missing_field_is_reported_once_and_a_list_entry_by_its_index() {
        let mut fields = fields(r#"{"name":7,"list":["10","x",5],"email":"nobody"}"#);
        let name = fields.text("name", 10);
        fields.require("name", name.as_ref());
        let other = fields.text("other", 10);
        fields.require("other", other.as_ref());
        fields.list("list", "ip", "a number", |text| text.parse::<u8>().ok());
        fields.email("email");
        let found = rules(fields);
        let found: Vec<(&str, &str)> = found.iter().map(|(f, r)| (f.as_str(), *r)).collect();
        assert_eq!(
            found,
            [
                ("name", "string"),
                ("other", "required"),
                ("list.1", "ip"),
                ("list.2", "string"),
                ("email", "email"),
            ]
        );
    }
}
