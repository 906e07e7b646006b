//! A validation failure: one rule that one field of a request breaks.
//!
//! It knows nothing of HTTP; `error` and `views` turn it into an answer.

/// A rule that a field breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The canonical name of the field, even if an alias was sent.
    pub(crate) field: String,
    /// The name of the rule: `required`, `string`, `boolean`, `max` or `array`. The paths
    /// of a restore also have `min`, `regex`, `distinct` and `exists`. Schedules also have
    /// `required_unless`, `in`, `numeric`, `integer`, `min`, `timezone` and `rules`. The
    /// application API also has `integer`, `min`, `email`, `in`, `uuid`, `date`, `ip`, `exists`,
    /// `unique`, `rules` and `directory`.
    pub(crate) rule: &'static str,
    /// The text for the user.
    pub(crate) detail: String,
}

impl Violation {
    /// Creates a violation of `rule` by `field`.
    pub(crate) fn new(
        field: impl Into<String>,
        rule: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            rule,
            detail: detail.into(),
        }
    }
}
