//! The commands in the documents: every `holdfast …` exists, with all its options.

use crate::support::process::{holdfast, run};

/// Words that may precede the program's name.
const BEFORE: [&str; 9] = [
    "sudo", "-E", "docker", "compose", "exec", "-T", "api", "worker", "until",
];

/// Returns the arguments of every command of a page, from its shell blocks and code spans.
pub(super) fn of(page: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let mut block: Option<bool> = None;
    let mut begun = String::new();
    for line in page.lines() {
        if let Some(kind) = line.trim_start().strip_prefix("```") {
            block = match block {
                Some(_) => None,
                None => Some(matches!(kind, "bash" | "sh")),
            };
            continue;
        }
        match block {
            Some(true) => {
                begun.push_str(line);
                if begun.ends_with('\\') {
                    begun.pop();
                } else {
                    commands.extend(arguments(&std::mem::take(&mut begun)));
                }
            }
            Some(false) => {}
            // A span that abbreviates several commands, or leaves something out, is skipped.
            None => {
                // A span that continues in the next line is skipped.
                let whole = line.matches('`').count() / 2;
                let spans = line.split('`').skip(1).step_by(2).take(whole);
                let whole = spans.filter(|span| !span.contains(['|', '…', '[']));
                commands.extend(whole.filter_map(arguments));
            }
        }
    }
    commands
}

/// Returns the arguments of a line that runs the program.
fn arguments(line: &str) -> Option<Vec<String>> {
    let line = line.split(" #").next().unwrap_or_default();
    let words = words(line);
    let mut words = words.iter().map(String::as_str);
    if line.trim_start().starts_with("cargo run ") {
        words.find(|word| *word == "--")?;
    } else {
        let program = words.find(|word| !BEFORE.contains(word))?;
        (program == "holdfast" || program.ends_with("/holdfast")).then_some(())?;
    }
    let mut arguments = Vec::new();
    for word in words {
        if matches!(word, "|" | "&" | "&&" | "||" | ";") || word.starts_with(['>', '<']) {
            break;
        }
        let argument = match word.trim_end_matches(';') {
            "UUID" | "ID" => "d3aac109-e5a0-4331-b03e-3454f7e136dc",
            "SERVER" => "d3aac109",
            "SCHEDULE" => "7",
            other => other,
        };
        arguments.push(argument.to_owned());
        if word.ends_with(';') {
            break;
        }
    }
    Some(arguments)
}

/// Splits a line at spaces outside of quotes, and removes the quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None::<String>;
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(end) if c == end => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn words_in_quotes_stay_together() {
    let split = words(r#"create --cron "0 4 * * *" --name '' "$SERVER" 'a "b"'"#);
    assert_eq!(
        split,
        [
            "create",
            "--cron",
            "0 4 * * *",
            "--name",
            "",
            "$SERVER",
            "a \"b\""
        ]
    );
}

#[test]
fn every_command_in_the_pages_exists() {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut pages = vec![root.join("README.md"), root.join("SECURITY.md")];
    for entry in fs_err::read_dir(root.join("docs")).unwrap() {
        pages.push(entry.unwrap().path());
    }
    let mut found = 0;
    for page in pages {
        if page.extension().is_none_or(|kind| kind != "md") {
            continue;
        }
        for arguments in of(&fs_err::read_to_string(&page).unwrap()) {
            // The program reports an unknown word before it reaches `--help`.
            let ended = run(holdfast(&[]).args(&arguments).arg("--help"));
            let page = page.display();
            assert_eq!(ended.code, Some(0), "{page}: {arguments:?}: {ended:?}");
            found += 1;
        }
    }
    assert!(found > 40, "{found}");
    // An unknown option must fail.
    let unknown = of("`holdfast admin server create --no-such-option`");
    let ended = run(holdfast(&[]).args(&unknown[0]).arg("--help"));
    assert_ne!(ended.code, Some(0), "{ended:?}");
}
