//! Conventions that a machine can check. CONTRIBUTING.md explains them.

mod imports;
mod wording;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The most lines of a source file, without unit tests at its end. Test files count as well.
const MAX_LINES: usize = 400;

/// The crates of the workspace that each crate may depend on.
const ALLOWED_DEPENDENCIES: [(&str, &[&str]); 9] = [
    ("domain", &[]),
    ("ioctl", &[]),
    ("archive", &["ioctl"]),
    ("postgres", &[]),
    ("storage", &["domain"]),
    ("db", &["domain"]),
    ("api", &["domain", "db", "storage", "archive"]),
    ("worker", &["domain", "db", "ioctl", "storage", "archive"]),
    (
        "cli",
        &[
            "api", "archive", "db", "domain", "postgres", "storage", "worker",
        ],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every file in git that was not deleted in the work tree; none outside of a checkout.
fn tracked() -> Vec<String> {
    let mut git = Command::new("git");
    // The checkout may belong to another user. Git refuses that by default.
    git.args(["-c", "safe.directory=*", "ls-files", "-z"]);
    let output = git.current_dir(root()).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        crate::support::skipped("this directory is not a git checkout");
        return Vec::new();
    };
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text.split_terminator('\0').map(str::to_owned);
    names.filter(|name| root().join(name).exists()).collect()
}

fn tracked_sources() -> Vec<(String, String)> {
    let sources = tracked().into_iter().filter(|name| name.ends_with(".rs"));
    sources
        .map(|name| {
            let text = fs_err::read_to_string(root().join(&name)).unwrap();
            (name, text)
        })
        .collect()
}

fn manifest(path: &str) -> toml::Table {
    let text = fs_err::read_to_string(root().join(path)).unwrap();
    text.parse().unwrap()
}

/// The names of all dependencies of a crate: at run time, in its build or in its tests.
fn dependencies(krate: &str) -> BTreeSet<String> {
    let manifest = manifest(&format!("crates/{krate}/Cargo.toml"));
    ["dependencies", "dev-dependencies", "build-dependencies"]
        .iter()
        .filter_map(|section| manifest.get(*section)?.as_table())
        .flat_map(|section| section.keys().cloned())
        .collect()
}

#[track_caller]
fn assert_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn crates_have_only_the_allowed_dependencies() {
    let mut folders: Vec<String> = fs_err::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let mut known: Vec<&str> = ALLOWED_DEPENDENCIES
        .iter()
        .map(|(krate, _)| *krate)
        .collect();
    known.sort_unstable();
    assert_eq!(folders, known, "add a new crate to ALLOWED_DEPENDENCIES");
    for (krate, allowed) in ALLOWED_DEPENDENCIES {
        let found: Vec<String> = dependencies(krate)
            .iter()
            .filter_map(|name| name.strip_prefix("holdfast-"))
            .filter(|name| !allowed.contains(name))
            .map(str::to_owned)
            .collect();
        assert_none(&found, &format!("{krate} must not depend on"));
    }
}

/// The packages of a lock file, each with its version.
fn locked(path: &str) -> BTreeSet<(String, String)> {
    let lock = manifest(path);
    let packages = lock["package"].as_array().unwrap().iter();
    let text = |package: &toml::Value, key: &str| package[key].as_str().unwrap().to_owned();
    packages
        .map(|package| (text(package, "name"), text(package, "version")))
        .collect()
}

#[test]
fn the_fuzz_targets_use_the_versions_of_the_workspace() {
    let own = ["arbitrary", "holdfast-fuzz", "libfuzzer-sys"];
    let workspace = locked("Cargo.lock");
    let found: Vec<String> = locked("fuzz/Cargo.lock")
        .iter()
        .filter(|package| !workspace.contains(package) && !own.contains(&package.0.as_str()))
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    assert_none(&found, "run `scripts/fuzz --lock` because of");
}

#[test]
fn sqlx_actix_and_clap_are_used_only_by_their_crates() {
    // `postgres` uses sqlx only for its connection: it checks whether a cluster is ready. `cli`
    // uses actix-web only in tests, for stand-ins of a panel.
    let owners: [(&str, &[&str]); 3] = [
        ("sqlx", &["db", "postgres"]),
        ("actix", &["api", "cli"]),
        ("clap", &["cli"]),
    ];
    for (prefix, owners) in owners {
        for (krate, _) in ALLOWED_DEPENDENCIES {
            let uses = dependencies(krate)
                .iter()
                .any(|name| name.starts_with(prefix));
            assert_eq!(uses, owners.contains(&krate), "{prefix} in {krate}");
        }
    }
    let pure = dependencies("domain");
    for impure in ["tokio", "fs-err", "rustix", "reqwest"] {
        assert!(!pure.contains(impure), "domain must not depend on {impure}");
    }
    let mut found = Vec::new();
    for (name, text) in tracked_sources() {
        let elsewhere = name.starts_with("crates/") && !name.starts_with("crates/api/");
        for word in ["StatusCode", "actix_web"] {
            if elsewhere && text.contains(word) {
                found.push(format!("{name}: {word}"));
            }
        }
        let may_use_sqlx =
            name.starts_with("crates/db/") || name.starts_with("crates/postgres/src/");
        if name.starts_with("crates/") && !may_use_sqlx && text.contains("sqlx::") {
            found.push(format!("{name}: sqlx"));
        }
    }
    assert_none(
        &found,
        "only api may use HTTP types, only db and postgres may use sqlx",
    );
}

#[test]
fn every_source_file_starts_with_its_purpose() {
    let found: Vec<String> = tracked_sources()
        .into_iter()
        .filter(|(_, text)| {
            let first = text.lines().next().unwrap_or_default();
            first.len() <= "//! ".len() || !first.starts_with("//! ")
        })
        .map(|(name, _)| name)
        .collect();
    assert_none(&found, "the first line must be a `//! ` comment");
}

#[test]
fn no_source_file_is_too_long() {
    let mut found = Vec::new();
    for (name, text) in tracked_sources() {
        let length = text
            .lines()
            .take_while(|line| *line != "#[cfg(test)]")
            .count();
        if length > MAX_LINES {
            found.push(format!("{name}: {length}"));
        }
    }
    assert_none(&found, &format!("longer than {MAX_LINES} lines"));
}

#[test]
fn no_module_has_a_vague_name() {
    let found: Vec<String> = tracked()
        .into_iter()
        .filter(|name| {
            let stem = Path::new(name).file_stem().unwrap_or_default();
            let is_rust = name.ends_with(".rs");
            let vague = ["mod", "utils", "util", "helpers", "common", "types", "misc"];
            is_rust && vague.iter().any(|word| stem == *word)
        })
        .collect();
    assert_none(
        &found,
        "name the module after its content, and use `name.rs` with `name/`",
    );
}

#[test]
fn nothing_is_unfinished_and_nothing_names_files_outside_of_the_repository() {
    // Joined at run time, so that this file does not contain the words.
    let words = [
        ["todo", "!("],
        ["unimplemented", "!("],
        ["FIX", "ME"],
        ["XX", "X:"],
        ["../", "shared"],
        ["/work/", "shared"],
        [".lib", "rary"],
    ]
    .map(|parts| parts.concat());
    let mut found = Vec::new();
    for name in tracked() {
        // Files that are not text are skipped.
        let Ok(text) = fs_err::read_to_string(root().join(&name)) else {
            continue;
        };
        for word in &words {
            if text.contains(word) {
                found.push(format!("{name}: {word}"));
            }
        }
    }
    assert_none(&found, "remove these");
}

#[test]
fn lints_are_silenced_with_a_reason() {
    let mut found = Vec::new();
    for (name, text) in tracked_sources() {
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_start();
            let silences = ["#[expect(", "#![expect(", "#[allow(", "#![allow("];
            if !silences.iter().any(|start| line.starts_with(start)) {
                continue;
            }
            let rest: Vec<&str> = text.lines().skip(index).take(6).collect();
            let whole = rest.join(" ");
            let attribute = whole.split(")]").next().unwrap_or_default();
            if !attribute.contains("reason =") {
                found.push(format!("{name}:{}", index + 1));
            }
        }
    }
    assert_none(&found, "add `reason = \"…\"` to the attribute");
}

#[test]
fn migrations_have_unique_numbers_and_state_their_purpose() {
    let mut numbers = BTreeSet::new();
    for path in tracked() {
        let Some(name) = path.strip_prefix("migrations/") else {
            continue;
        };
        if !name.ends_with(".sql") {
            continue;
        }
        let (number, _) = name.split_once('_').unwrap_or_default();
        let four_digits = number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
        assert!(four_digits, "{name} should begin with four digits");
        assert!(
            numbers.insert(number.to_owned()),
            "{name} repeats the number of another migration"
        );
        let text = fs_err::read_to_string(root().join(&path)).unwrap();
        assert!(
            text.starts_with("-- "),
            "{name} must open with a `-- ` comment"
        );
    }
}

#[test]
fn only_scripts_are_executable() {
    let mut found = Vec::new();
    for name in tracked() {
        let path = root().join(&name);
        let bytes = fs_err::read(&path).unwrap();
        let is_script = bytes.starts_with(b"#!/");
        let mode = fs_err::metadata(&path).unwrap().permissions().mode();
        if is_script != (mode & 0o100 != 0) {
            found.push(format!("{name}: {mode:o}"));
        }
    }
    assert_none(
        &found,
        "a file is executable if and only if it starts with `#!/`",
    );
}

#[test]
fn every_setting_has_a_comment() {
    let text = fs_err::read_to_string(root().join("config/default.toml")).unwrap();
    let mut before = "";
    let mut found = Vec::new();
    for line in text.lines() {
        let is_setting = line.contains(" = ") && !line.starts_with('#');
        if is_setting && !before.starts_with("# ") {
            found.push(line.to_owned());
        }
        before = line;
    }
    assert_none(&found, "add a comment above these settings");
}

#[test]
fn every_crate_keeps_the_lints_and_versions_of_the_workspace() {
    let workspace_lints = manifest("Cargo.toml")["workspace"]["lints"].clone();
    for (krate, _) in ALLOWED_DEPENDENCIES {
        let manifest = manifest(&format!("crates/{krate}/Cargo.toml"));
        assert_eq!(
            manifest["package"]["name"].as_str(),
            Some(format!("holdfast-{krate}").as_str())
        );
        if krate == "ioctl" {
            // The only crate with unsafe code. All its other lints are those of the workspace.
            let mut lints = workspace_lints.clone();
            lints["rust"]["unsafe_code"] = "deny".into();
            assert_eq!(manifest["lints"], lints);
        } else {
            let inherits = manifest["lints"]["workspace"].as_bool();
            assert_eq!(inherits, Some(true), "lints of {krate}");
        }
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(section) = manifest.get(section).and_then(toml::Value::as_table) else {
                continue;
            };
            for (name, value) in section {
                let inherits = value.get("workspace").and_then(toml::Value::as_bool);
                assert_eq!(
                    inherits,
                    Some(true),
                    "{name} in {krate} must inherit the version of the workspace"
                );
            }
        }
    }
}
