//! Rules for names and comments: one name for one type, comments that say something, lines that
//! fit.

use std::collections::BTreeMap;

use super::{assert_none, root, tracked, tracked_sources};

/// The longest line, in characters.
const WIDEST: usize = 100;

/// The name of the type that a line exports, if it exports one.
fn exported_type(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("pub ")?;
    let rest = ["struct ", "enum ", "trait ", "union ", "type "]
        .iter()
        .find_map(|keyword| rest.strip_prefix(keyword))?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
}

#[test]
fn no_two_exported_types_have_the_same_name() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, text) in tracked_sources() {
        if !name.starts_with("crates/") || !name.contains("/src/") {
            continue;
        }
        for line in text.lines() {
            // Each crate has an `Error`. In a macro the name may be a parameter, `$name`.
            let is_checked = |exported: &&str| !["Error", ""].contains(exported);
            let Some(exported) = exported_type(line).filter(is_checked) else {
                continue;
            };
            places
                .entry(exported.to_owned())
                .or_default()
                .push(name.clone());
        }
    }
    let found: Vec<String> = places
        .iter()
        .filter(|(_, places)| places.len() > 1)
        .map(|(name, places)| format!("{name}: {}", places.join(", ")))
        .collect();
    assert_none(&found, "one name, one type");
}

#[test]
fn no_doc_comment_is_empty() {
    let mut found = Vec::new();
    for (name, text) in tracked_sources() {
        let (mut words, mut is_code) = (0, false);
        let mut first = None;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_start();
            if let Some(comment) = line.strip_prefix("///") {
                first.get_or_insert(index + 1);
                words += comment.split_whitespace().count();
                is_code |= comment.contains('`');
            } else if let Some(first) = first.take() {
                if words < 2 && !is_code {
                    found.push(format!("{name}:{first}"));
                }
                (words, is_code) = (0, false);
            }
        }
    }
    assert_none(
        &found,
        "these doc comments say nothing that the name does not say",
    );
}

#[test]
fn no_source_line_is_wider_than_a_page() {
    let mut found = Vec::new();
    for name in tracked() {
        // Other TOML has inline tables, which cannot be wrapped.
        let is_source =
            [".rs", ".sql"].iter().any(|end| name.ends_with(end)) || name.starts_with("config/");
        if !is_source {
            continue;
        }
        let text = fs_err::read_to_string(root().join(&name)).unwrap();
        for (index, line) in text.lines().enumerate() {
            if line.chars().count() > WIDEST {
                found.push(format!("{name}:{}", index + 1));
            }
        }
    }
    assert_none(&found, &format!("lines of more than {WIDEST} columns"));
}
