//! How an error is told: one place for log, answer and terminal.

use std::error::Error;

/// Writes an error with all its sources, since each names only its own part. A source that is in the
/// text already is left out.
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
    fn each_source_is_told_once() {
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
