//! Formats an error with its sources, for logs, API answers and the terminal.

use std::error::Error;

/// Formats an error and its sources, joined by `: `. A source whose text is already contained is
/// left out.
///
/// ```
/// use holdfast_domain::error_chain::chain;
///
/// let error = "x".parse::<u32>().unwrap_err();
/// let error = std::io::Error::other(error);
/// assert_eq!(chain(&error), "invalid digit found in string");
/// ```
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    #[test]
    fn each_source_appears_once() {
        let inner = Box::new(Layer {
            text: "no space",
            source: None,
        });
        let middle = Box::new(Layer {
            text: "write: no space",
            source: Some(inner),
        });
        let outer = Layer {
            text: "the disk failed",
            source: Some(middle),
        };
        assert_eq!(chain(&outer), "the disk failed: write: no space");
    }
}
