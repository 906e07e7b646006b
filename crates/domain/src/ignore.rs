//! Ignore patterns of a request, split into lines and checked against limits.
//!
//! The archive engine matches them, with the semantics of `.gitignore`. It has the same limits for
//! a pattern; comments are no patterns, so only the total size limits them.

/// The maximum number of patterns, without comments.
pub const PATTERNS_MAX: usize = 256;
/// The maximum length of a line, in bytes.
pub const LINE_BYTES_MAX: usize = 1024;
/// The maximum number of `*`, `?` and `[` in a pattern.
pub const WILDCARDS_MAX: usize = 64;

/// Lines of ignore patterns, within the limits, without blank lines and `\r`. Comments are kept.
///
/// ```
/// use holdfast_domain::ignore::IgnorePatterns;
///
/// let patterns = IgnorePatterns::parse(["*.log\r\n\n# caches\ncache/"], 1024)?;
/// assert_eq!(patterns.lines(), ["*.log", "# caches", "cache/"]);
/// # Ok::<(), holdfast_domain::ignore::IgnoreRefused>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IgnorePatterns(Vec<String>);

/// Ignore patterns that are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct IgnoreRefused {
    /// The index of the text that has the refused line; `None` if the list as a whole is refused.
    pub text: Option<usize>,
    /// The limit that is exceeded.
    pub reason: IgnoreLimit,
}

/// Why ignore patterns are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreLimit {
    /// The patterns are longer in total than the setting allows.
    #[error("the patterns are longer than {max_bytes} bytes in all")]
    TooLong {
        /// The maximum total length, in bytes.
        max_bytes: usize,
    },
    /// There are more than [`PATTERNS_MAX`] patterns.
    #[error("there are more than {PATTERNS_MAX} patterns")]
    TooMany,
    /// A line is longer than [`LINE_BYTES_MAX`].
    #[error("a pattern is longer than {LINE_BYTES_MAX} bytes")]
    LineTooLong,
    /// A pattern has more than [`WILDCARDS_MAX`] wildcards.
    #[error("a pattern has more than {WILDCARDS_MAX} wildcards")]
    TooManyWildcards,
    /// A line contains a NUL character.
    #[error("a pattern holds a NUL character")]
    Nul,
}

impl IgnorePatterns {
    /// Parses patterns from texts of one or more lines, separated by `\n` or `\r\n`. All lines
    /// together may have `max_bytes` bytes.
    ///
    /// # Errors
    /// [`IgnoreRefused`] with the first exceeded limit.
    pub fn parse<'a>(
        texts: impl IntoIterator<Item = &'a str>,
        max_bytes: usize,
    ) -> Result<Self, IgnoreRefused> {
        let mut lines = Vec::new();
        let mut total_bytes = 0;
        let mut patterns = 0;
        let of_list = |reason| IgnoreRefused { text: None, reason };
        let texts = texts.into_iter().enumerate();
        for (text, line) in texts.flat_map(|(i, text)| text.split('\n').map(move |line| (i, line)))
        {
            let line = line.trim_end_matches('\r');
            total_bytes += line.len() + 1;
            if total_bytes > max_bytes.saturating_add(1) {
                return Err(of_list(IgnoreLimit::TooLong { max_bytes }));
            }
            if line.trim().is_empty() {
                continue;
            }
            check_line(line).map_err(|reason| IgnoreRefused {
                text: Some(text),
                reason,
            })?;
            patterns += usize::from(!line.starts_with('#'));
            if patterns > PATTERNS_MAX {
                return Err(of_list(IgnoreLimit::TooMany));
            }
            lines.push(line.to_owned());
        }
        Ok(Self(lines))
    }

    /// Returns the lines.
    pub fn lines(&self) -> &[String] {
        &self.0
    }

    /// Returns whether there are no lines. Then the server's own `.pteroignore` or
    /// `.pelicanignore` applies.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn check_line(line: &str) -> Result<(), IgnoreLimit> {
    if line.contains('\0') {
        return Err(IgnoreLimit::Nul);
    }
    if line.starts_with('#') {
        return Ok(());
    }
    if line.len() > LINE_BYTES_MAX {
        return Err(IgnoreLimit::LineTooLong);
    }
    let is_wildcard = |byte: &u8| matches!(byte, b'*' | b'?' | b'[');
    if line.bytes().filter(is_wildcard).count() > WILDCARDS_MAX {
        return Err(IgnoreLimit::TooManyWildcards);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_and_stripped_and_blank_lines_are_dropped() {
        let parsed =
            IgnorePatterns::parse(["*.log\r\n\r\n  \n# kept\n!a\\ ", "b/"], 100).expect("patterns");
        assert_eq!(parsed.lines(), ["*.log", "# kept", "!a\\ ", "b/"]);
    }

    #[test]
    fn patterns_beyond_a_limit_are_refused() {
        let many = "a\n".repeat(PATTERNS_MAX + 1);
        let comments = "#a\n".repeat(PATTERNS_MAX + 1);
        let long = "a".repeat(LINE_BYTES_MAX + 1);
        let long_comment = format!("#{}", "*".repeat(32 << 10));
        let stars = "*a".repeat(WILDCARDS_MAX + 1);
        let of_list = |reason| Err(IgnoreRefused { text: None, reason });
        let of_line = |reason| {
            let text = Some(1);
            Err(IgnoreRefused { text, reason })
        };
        for (text, max, expected) in [
            (many.as_str(), 65536, of_list(IgnoreLimit::TooMany)),
            (comments.as_str(), 65536, Ok(PATTERNS_MAX + 2)),
            (long.as_str(), 65536, of_line(IgnoreLimit::LineTooLong)),
            (long_comment.as_str(), 65536, Ok(2)),
            (
                stars.as_str(),
                65536,
                of_line(IgnoreLimit::TooManyWildcards),
            ),
            ("a\0", 65536, of_line(IgnoreLimit::Nul)),
            ("#a\0", 65536, of_line(IgnoreLimit::Nul)),
            ("345", 5, Ok(2)),
            ("3456", 5, of_list(IgnoreLimit::TooLong { max_bytes: 5 })),
            ("", 2, Ok(1)),
        ] {
            assert_eq!(
                IgnorePatterns::parse(["a", text], max).map(|p| p.lines().len()),
                expected
            );
        }
        assert_eq!(
            IgnorePatterns::parse([""], 0),
            Ok(IgnorePatterns::default())
        );
    }
}
