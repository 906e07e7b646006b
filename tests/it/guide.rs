//! The documents match the sources: generated pages are current, and what the pages quote exists.
//!
//! `HOLDFAST_WRITE_DOCS=1 cargo test -p holdfast-cli --test it guide::` updates generated pages.

mod commands;
mod configure;

use std::collections::BTreeSet;

/// Reads a file of the repository.
fn read(path: &str) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    fs_err::read_to_string(format!("{root}/{path}")).unwrap()
}

/// Compares a page with its expected text, or writes it.
fn is_committed(path: &str, expected: &str) {
    if std::env::var_os("HOLDFAST_WRITE_DOCS").is_some() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        fs_err::write(format!("{root}/{path}"), expected).unwrap();
    }
    assert_eq!(
        read(path),
        expected,
        "{path} is stale: HOLDFAST_WRITE_DOCS=1 cargo test … guide::"
    );
}

#[test]
fn the_page_of_settings_is_generated_from_their_list() {
    let page = configure::page(&read("config/default.toml"));
    is_committed("docs/configure.md", &page);
}

/// Returns every source of the program, without line breaks inside strings of several lines.
fn sources() -> String {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut folders = vec![root.join("crates")];
    let mut all = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                all.push_str(&fs_err::read_to_string(path).unwrap());
            }
        }
    }
    // Joins strings like the compiler: at a backslash at the end of a line.
    let mut joined = String::new();
    for line in all.lines() {
        match line.strip_suffix('\\') {
            Some(begun) if joined.ends_with('\u{1}') => {
                joined.pop();
                joined.push_str(begun.trim_start());
                joined.push('\u{1}');
            }
            Some(begun) => {
                joined.push_str(begun);
                joined.push('\u{1}');
            }
            None if joined.ends_with('\u{1}') => {
                joined.pop();
                joined.push_str(line.trim_start());
                joined.push('\n');
            }
            None => {
                joined.push_str(line);
                joined.push('\n');
            }
        }
    }
    joined
}

#[test]
fn troubleshooting_headings_are_messages_of_the_program() {
    let page = read("docs/troubleshooting.md");
    let sources = sources();
    let headings: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    assert!(headings.len() >= 30, "{headings:?}");
    for heading in headings {
        // `…` stands for a value that the program inserts.
        for part in heading.trim_matches('`').split('…') {
            assert!(
                sources.contains(part.trim()),
                "`{part}` of `{heading}` is nowhere in the sources"
            );
        }
    }
}

/// The most words of the pages that are read first.
const MOST_WORDS: [(&str, usize); 2] = [("README.md", 900), ("ARCHITECTURE.md", 2500)];

/// Returns every page that people read, as a path from the root of the repository.
fn pages() -> Vec<String> {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut pages: Vec<String> = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "deploy/README.md",
        "migrations/README.md",
    ]
    .map(str::to_owned)
    .into();
    for folder in ["docs", "docs/internals"] {
        for entry in fs_err::read_dir(root.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                pages.push(format!("{folder}/{name}"));
            }
        }
    }
    pages
}

#[test]
fn every_page_is_in_the_index_and_every_link_leads_somewhere() {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let index = read("docs/README.md");
    for page in pages() {
        if let Some(name) = page.strip_prefix("docs/") {
            assert!(
                name == "README.md" || index.contains(&format!("({name})")),
                "{name}"
            );
        }
        let text = read(&page);
        let folder = root.join(&page);
        let folder = folder.parent().unwrap();
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            if path.contains("://") {
                continue;
            }
            let target = match path {
                "" => root.join(&page),
                path => folder.join(path),
            };
            assert!(target.exists(), "{page} links to {link}");
            if !anchor.is_empty() {
                let text = fs_err::read_to_string(&target).unwrap();
                let anchors: BTreeSet<String> = text.lines().filter_map(anchor_of).collect();
                assert!(
                    anchors.contains(anchor),
                    "{page} links to {link}: {anchors:?}"
                );
            }
        }
    }
}

#[test]
fn every_source_file_that_a_page_names_exists() {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut sources = Vec::new();
    let mut folders = vec![root.join("crates"), root.join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                sources.push(path);
            }
        }
    }
    let mut found = 0;
    for page in pages() {
        let text = read(&page);
        let words = text.split('`').skip(1).step_by(2);
        for name in words.filter(|word| word.ends_with(".rs") && !word.contains(' ')) {
            // A page may leave out the folders in front.
            assert!(
                sources.iter().any(|source| source.ends_with(name)),
                "{page} names {name}"
            );
            found += 1;
        }
    }
    assert!(found > 100, "{found}");
}

#[test]
fn the_first_pages_are_short() {
    for (page, most) in MOST_WORDS {
        let words = read(page).split_whitespace().count();
        assert!(words <= most, "{page} has {words} words, {most} at most");
    }
}

/// Returns the anchor of a heading.
fn anchor_of(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').trim();
    let kept = heading.to_lowercase().replace(' ', "-");
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || "-_".contains(*c));
    Some(kept.collect())
}

#[test]
fn the_security_page_names_tests_that_exist() {
    let page = read("SECURITY.md");
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut files = 0;
    for file in page.split('`').filter(|word| word.ends_with(".rs")) {
        assert!(root.join(file).exists(), "{file}");
        files += 1;
    }
    assert!(files > 15, "{files}");
}

#[test]
fn the_guide_leaves_no_endpoint_out() {
    let guide = read("docs/api.md");
    let document: serde_json::Value = serde_json::from_str(&read("docs/openapi.json")).unwrap();
    let mut missing = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let endpoint = format!("`{} {path}`", method.to_uppercase());
            if !guide.contains(&endpoint) {
                missing.push(endpoint);
            }
        }
    }
    assert!(
        missing.is_empty(),
        "docs/api.md says nothing of {missing:?}: a heading, \
         and a command that scripts/api-guide runs"
    );
}

#[test]
fn every_endpoint_of_the_guide_is_one() {
    let guide = read("docs/api.md");
    let document: serde_json::Value = serde_json::from_str(&read("docs/openapi.json")).unwrap();
    let mut found = 0;
    for words in guide.split('`').skip(1).step_by(2) {
        let Some((method, path)) = words.split_once(" /") else {
            continue;
        };
        // The document does not describe itself, and code blocks are no endpoints.
        let is_method = method.bytes().all(|byte| byte.is_ascii_uppercase());
        if path == "api/openapi.json" || !is_method {
            continue;
        }
        let operation = &document["paths"][format!("/{path}")][method.to_lowercase()];
        assert!(
            operation.is_object(),
            "`{words}` of docs/api.md is no endpoint"
        );
        found += 1;
    }
    assert!(found >= 35, "{found}");
}
