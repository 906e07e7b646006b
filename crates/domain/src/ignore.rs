//! Ignore patterns as a request brings them: lines, counted and bounded. What
//! they match is the archive engine's business; gitignore semantics hold there.

/// The greatest number of patterns, comments not counted.
pub const PATTERNS_MAX: usize = 256;
/// The greatest length of one line, in bytes.
pub const LINE_BYTES_MAX: usize = 1024;
/// The greatest number of `*`, `?` and `[` in one pattern: what a hostile pattern needs to be slow.
pub const WILDCARDS_MAX: usize = 32;

/// Lines of ignore patterns: none blank, without `\r`, within the bounds. Comments are kept, since
/// people who wrote them expect to see them again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IgnorePatterns(Vec<String>);

/// Why a list of patterns is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreRefused {
    /// All lines together are longer than the setting allows.
    #[error("the patterns are longer than {max_bytes} bytes in all")]
    TooLong {
        /// The greatest length, in bytes.
        max_bytes: usize,
    },
    /// More than [`PATTERNS_MAX`] patterns.
    #[error("there are more than {PATTERNS_MAX} patterns")]
    TooMany,
    /// One line is longer than [`LINE_BYTES_MAX`].
    #[error("a pattern is longer than {LINE_BYTES_MAX} bytes")]
    LineTooLong,
    /// One pattern has more than [`WILDCARDS_MAX`] wildcards.
    #[error("a pattern has more than {WILDCARDS_MAX} wildcards")]
    TooManyWildcards,
    /// A line holds a NUL.
    #[error("a pattern holds a NUL character")]
    Nul,
}

impl IgnorePatterns {
    /// Reads patterns from text of one or more lines, parted by `\n` or `\r\n`.
    ///
    /// # Errors
    /// [`IgnoreRefused`] with the first bound that is broken.
    pub fn parse<'a>(
        texts: impl IntoIterator<Item = &'a str>,
        max_bytes: usize,
    ) -> Result<Self, IgnoreRefused> {
        let mut lines = Vec::new();
        let mut total_bytes = 0;
        let mut patterns = 0;
        for line in texts.into_iter().flat_map(|text| text.split('\n')) {
            let line = line.trim_end_matches('\r');
            total_bytes += line.len() + 1;
            if total_bytes > max_bytes.saturating_add(1) {
                return Err(IgnoreRefused::TooLong { max_bytes });
            }
            if line.trim().is_empty() {
                continue;
            }
            if !line.starts_with('#') {
                patterns += 1;
            }
            check_line(line)?;
            if patterns > PATTERNS_MAX {
                return Err(IgnoreRefused::TooMany);
            }
            lines.push(line.to_owned());
        }
        Ok(Self(lines))
    }

    /// Returns the lines.
    pub fn lines(&self) -> &[String] {
        &self.0
    }

    /// Says whether there is no line at all: then the server's own `.pteroignore` counts.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn check_line(line: &str) -> Result<(), IgnoreRefused> {
    if line.contains('\0') {
        return Err(IgnoreRefused::Nul);
    }
    if line.len() > LINE_BYTES_MAX {
        return Err(IgnoreRefused::LineTooLong);
    }
    let wildcards = line
        .bytes()
        .filter(|b| matches!(b, b'*' | b'?' | b'['))
        .count();
    if wildcards > WILDCARDS_MAX && !line.starts_with('#') {
        return Err(IgnoreRefused::TooManyWildcards);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_stripped_and_blank_ones_dropped() {
        let parsed =
            IgnorePatterns::parse(["*.log\r\n\r\n  \n# kept\n!a\\ ", "b/"], 100).expect("patterns");
        assert_eq!(parsed.lines(), ["*.log", "# kept", "!a\\ ", "b/"]);
    }

    #[test]
    fn hostile_lists_are_refused() {
        let many = "a\n".repeat(PATTERNS_MAX + 1);
        let comments = "#a\n".repeat(PATTERNS_MAX + 1);
        let long = "a".repeat(LINE_BYTES_MAX + 1);
        let stars = "*a".repeat(WILDCARDS_MAX + 1);
        for (text, max, expected) in [
            (many.as_str(), 65536, Err(IgnoreRefused::TooMany)),
            (comments.as_str(), 65536, Ok(PATTERNS_MAX + 1)),
            (long.as_str(), 65536, Err(IgnoreRefused::LineTooLong)),
            (stars.as_str(), 65536, Err(IgnoreRefused::TooManyWildcards)),
            ("a\0", 65536, Err(IgnoreRefused::Nul)),
            ("12345", 5, Ok(1)),
            ("123456", 5, Err(IgnoreRefused::TooLong { max_bytes: 5 })),
            ("", 0, Ok(0)),
        ] {
            assert_eq!(
                IgnorePatterns::parse([text], max).map(|p| p.lines().len()),
                expected
            );
        }
    }
}
