//! Rules for imports: the files of a crate form no circle, and `use` lines stand in order.

use std::collections::{BTreeMap, BTreeSet};

use super::{ALLOWED_DEPENDENCIES, assert_none, tracked_sources};

/// The part of a source file before its unit tests, without comments.
fn code(text: &str) -> String {
    text.lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The module path of a file below `src`: `jobs/query.rs` is `["jobs", "query"]`, `lib.rs` is `[]`.
fn module(file: &str) -> Vec<String> {
    match file.trim_end_matches(".rs") {
        "lib" | "main" => Vec::new(),
        path => path.split('/').map(str::to_owned).collect(),
    }
}

/// Writes `a::{b, c::{d, e}}` out as `a::b`, `a::c::d`, `a::c::e`.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((prefix, rest)) = tree.split_once('{') else {
        return vec![tree.to_owned()];
    };
    let inner = &rest[..rest.rfind('}').unwrap_or(rest.len())];
    let (mut depth, mut start, mut parts) = (0_i32, 0, Vec::new());
    for (index, character) in inner.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[start..]);
    parts
        .into_iter()
        .filter(|part| !part.trim().is_empty())
        .flat_map(|part| expand(&format!("{prefix}{}", part.trim())))
        .collect()
}

/// Every path in the code that starts at the crate or at a parent module.
fn paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = ["crate::", "super::", "self::"]
        .iter()
        .filter_map(|start| rest.find(start))
        .min()
    {
        let before = rest[..at].chars().next_back();
        let is_inside_a_path = before.is_some_and(|c| c.is_alphanumeric() || ":_$".contains(c));
        let is_exported = rest[..at].ends_with("pub use ");
        let is_import = rest[..at].ends_with("use ");
        let path = &rest[at..];
        let end = if is_import {
            path.find(';')
        } else {
            path.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        };
        let end = end.unwrap_or(path.len());
        if !is_inside_a_path && !is_exported {
            found.extend(expand(&path[..end]));
        }
        rest = &path[end.max(1)..];
    }
    found
}

/// Returns the file that a path in the file `from` leads to, if it is one of `files`.
fn target<'a>(
    files: &BTreeMap<Vec<String>, &'a str>,
    from: &[String],
    path: &str,
) -> Option<&'a str> {
    let mut base = from.to_vec();
    let mut segments = path.split(" as ").next()?.split("::").peekable();
    match segments.next()? {
        "crate" => base.clear(),
        "super" => {
            base.pop();
            while segments.next_if_eq(&"super").is_some() {
                base.pop();
            }
        }
        _ => {}
    }
    base.extend(segments.map(str::to_owned));
    (0..=base.len())
        .rev()
        .find_map(|length| files.get(&base[..length]).copied())
}

/// Which files each file of a crate imports from.
fn imports(krate: &str) -> BTreeMap<String, BTreeSet<String>> {
    let folder = format!("crates/{krate}/src/");
    let sources: Vec<(String, String)> = tracked_sources()
        .into_iter()
        .filter_map(|(name, text)| Some((name.strip_prefix(&folder)?.to_owned(), text)))
        .filter(|(name, _)| name != "main.rs")
        .collect();
    let files: BTreeMap<Vec<String>, &str> = sources
        .iter()
        .map(|(name, _)| (module(name), name.as_str()))
        .collect();
    sources
        .iter()
        .map(|(name, text)| {
            let from = module(name);
            let targets = paths(&code(text))
                .iter()
                .filter_map(|path| target(&files, &from, path))
                .filter(|target| target != name)
                .map(str::to_owned)
                .collect();
            (name.clone(), targets)
        })
        .collect()
}

/// Returns the files that are left when files that import from none of the others are taken away
/// again and again.
fn in_circles(mut graph: BTreeMap<String, BTreeSet<String>>) -> BTreeMap<String, BTreeSet<String>> {
    loop {
        let before = graph.len();
        let left: BTreeSet<String> = graph.keys().cloned().collect();
        graph.retain(|_, targets| {
            targets.retain(|target| left.contains(target));
            !targets.is_empty()
        });
        // The other way round too: what no file of a circle imports only leads into it.
        let imported: BTreeSet<String> = graph.values().flatten().cloned().collect();
        graph.retain(|file, _| imported.contains(file));
        if graph.len() == before {
            return graph;
        }
    }
}

#[test]
fn files_of_a_crate_do_not_import_each_other_in_a_circle() {
    for (krate, _) in ALLOWED_DEPENDENCIES {
        let found: Vec<String> = in_circles(imports(krate))
            .iter()
            .map(|(file, targets)| format!("{file} imports {targets:?}"))
            .collect();
        assert_none(&found, &format!("these files of {krate} import each other"));
    }
}

#[test]
fn the_reader_of_imports_finds_circles() {
    let graph = |edges: &[(&str, &[&str])]| -> BTreeMap<String, BTreeSet<String>> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        edges
            .iter()
            .map(|(file, targets)| ((*file).to_owned(), names(targets)))
            .collect()
    };
    assert!(in_circles(graph(&[("a", &["b"]), ("b", &["c"]), ("c", &[])])).is_empty());
    let circle = in_circles(graph(&[
        ("a", &["b"]),
        ("b", &["c"]),
        ("c", &["b"]),
        ("d", &["a"]),
    ]));
    assert_eq!(circle.keys().collect::<Vec<_>>(), ["b", "c"]);

    let code = "use crate::a::{b, c::{D, self}};\npub use self::e::F;\nlet x = super::g::h(1);";
    let expected = [
        "crate::a::b",
        "crate::a::c::D",
        "crate::a::c::self",
        "super::g::h",
    ];
    assert_eq!(paths(code), expected);

    let names = ["lib.rs", "a.rs", "a/b.rs"];
    let files: BTreeMap<Vec<String>, &str> = names.map(|name| (module(name), name)).into();
    let from = module("a/b.rs");
    assert_eq!(
        target(&files, &from, "super::super::a::b::C"),
        Some("a/b.rs")
    );
    assert_eq!(target(&files, &from, "super::D"), Some("a.rs"));
    assert_eq!(target(&files, &from, "crate::Error"), Some("lib.rs"));
}

/// The group of a `use` line: the standard library, other crates, crates of the workspace, this
/// crate.
fn group(path: &str, own_modules: &BTreeSet<&str>) -> u8 {
    let first = path.split([':', ';', ' ']).next().unwrap_or_default();
    match first {
        "std" | "core" | "alloc" => 0,
        "crate" | "super" | "self" => 3,
        _ if own_modules.contains(first) => 4,
        _ if first.starts_with("holdfast_") => 2,
        _ => 1,
    }
}

#[test]
fn imports_stand_in_order() {
    let mut found = Vec::new();
    for (name, text) in tracked_sources() {
        let own_modules: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.split_once("mod ")?.1.strip_suffix(';'))
            .collect();
        let mut last: Option<u8> = None;
        let mut is_split = false;
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            if line.is_empty() {
                is_split = true;
                continue;
            }
            let Some(path) = line.strip_prefix("use ") else {
                if !line.starts_with("#[") {
                    last = None;
                }
                continue;
            };
            let this = group(path, &own_modules);
            if let Some(last) = last {
                let is_in_order = last < this && is_split || last == this && !is_split;
                if !is_in_order {
                    found.push(format!("{name}:{}: {line}", index + 1));
                }
            }
            (last, is_split) = (Some(this), false);
            if !line.ends_with(';') {
                lines.by_ref().find(|(_, line)| line.ends_with(';'));
            }
        }
    }
    assert_none(
        &found,
        "imports stand in groups: std, other crates, `holdfast_…`, `crate::`, own modules",
    );
}
