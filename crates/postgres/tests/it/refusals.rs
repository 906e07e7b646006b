//! Errors of a private cluster: each is one line, and leaves no incomplete cluster behind.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use holdfast_postgres::{Error, PostgresOptions, PrivatePostgres};

use crate::support::Folder;

async fn refusal(options: &PostgresOptions) -> Error {
    match PrivatePostgres::start(options).await {
        Ok(_) => panic!("the start succeeded"),
        Err(error) => error,
    }
}

fn write_program(path: &Path, script: &str) {
    fs_err::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Creates a folder with replacements of `initdb` and `postgres`.
fn fake_programs(folder: &Folder, initdb: &str, postgres: &str) -> PostgresOptions {
    let binaries = folder.root().join("bin");
    fs_err::create_dir_all(&binaries).unwrap();
    folder.open();
    write_program(&binaries.join("initdb"), initdb);
    write_program(&binaries.join("postgres"), postgres);
    PostgresOptions {
        binaries: Some(binaries),
        ..folder.options()
    }
}

const VERSION: &str = "[ \"$1\" = --version ] && echo 'postgres (PostgreSQL) 15.14' && exit 0";

#[tokio::test]
async fn each_broken_program_is_one_clear_error_and_leaves_no_incomplete_cluster() {
    let working = "while [ $# -gt 0 ]; do \
                   [ \"$1\" = -D ] && mkdir -p \"$2\" && echo 15 > \"$2/PG_VERSION\"; shift; done";
    let table = [
        (
            "exit 1",
            "exit 1",
            "--version did not print a version of PostgreSQL: exit status: 1",
        ),
        (
            "echo 'initdb: error: no space left' >&2; exit 1",
            VERSION,
            "cannot create a cluster in",
        ),
        (
            "mkdir -p \"$2\"; echo 'initdb: error: no space left' >&2; exit 1",
            VERSION,
            "no space left",
        ),
        (
            working,
            &format!("{VERSION}; echo 'x FATAL:  no luck' >&2; exit 1"),
            "did not start: no luck",
        ),
    ];
    for (initdb, postgres, expected) in table {
        let folder = Folder::new();
        let text = refusal(&fake_programs(&folder, initdb, postgres))
            .await
            .to_string();
        assert!(text.contains(expected) && !text.contains('\n'), "{text}");
        let names = folder.names();
        assert!(
            !names.iter().any(|name| name.starts_with("data.new")),
            "{names:?}"
        );
        assert_eq!(
            names.contains(&"data".to_owned()),
            initdb == working,
            "{names:?}"
        );
    }
}

#[tokio::test]
async fn a_folder_without_the_programs_is_named() {
    let folder = Folder::new();
    let options = PostgresOptions {
        binaries: Some("/etc".into()),
        ..folder.options()
    };
    let text = refusal(&options).await.to_string();
    assert_eq!(
        text,
        "no initdb in /etc, the folder given for PostgreSQL's programs"
    );
    assert!(!folder.cluster().exists());
}

#[tokio::test]
async fn an_unfinished_cluster_of_a_killed_process_is_removed() {
    let folder = Folder::new();
    PrivatePostgres::start(&folder.options())
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    let unfinished = folder.cluster().join("data.new-1");
    fs_err::create_dir_all(unfinished.join("base")).unwrap();
    PrivatePostgres::start(&folder.options())
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    assert!(!unfinished.exists());
}

#[tokio::test]
async fn a_cluster_of_another_major_version_is_refused_with_both_versions() {
    let folder = Folder::new();
    let data = folder.cluster().join("data");
    PrivatePostgres::start(&folder.options())
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    fs_err::write(data.join("PG_VERSION"), "9\n").unwrap();
    let options = fake_programs(&folder, "exit 1", VERSION);
    let text = refusal(&options).await.to_string();
    assert!(
        text.contains("was made by PostgreSQL 9, but only 15 is installed"),
        "{text}"
    );
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_is_refused_with_its_length() {
    let folder = Folder::new();
    let directory = folder.root().join("x".repeat(100));
    let text = refusal(&PostgresOptions::new(&directory)).await.to_string();
    let length = directory.join(".s.PGSQL.5432").as_os_str().len();
    assert!(text.contains(&format!("is {length} bytes long")), "{text}");
    assert!(!directory.exists());
}

#[tokio::test]
async fn a_folder_with_other_files_stays_unchanged() {
    let folder = Folder::new();
    fs_err::create_dir(folder.cluster()).unwrap();
    fs_err::write(folder.cluster().join("holiday.jpg"), "").unwrap();
    let mode = fs_err::metadata(folder.cluster())
        .unwrap()
        .permissions()
        .mode();
    let text = refusal(&folder.options()).await.to_string();
    assert!(
        text.contains("is not empty and contains no PostgreSQL cluster of Holdfast"),
        "{text}"
    );
    assert_eq!(
        fs_err::metadata(folder.cluster())
            .unwrap()
            .permissions()
            .mode(),
        mode
    );
}

#[tokio::test]
async fn a_large_log_is_rotated() {
    let folder = Folder::new();
    PrivatePostgres::start(&folder.options())
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    let log = fs_err::OpenOptions::new()
        .write(true)
        .open(folder.cluster().join("postgres.log"));
    log.unwrap().set_len(11 * 1024 * 1024).unwrap();
    PrivatePostgres::start(&folder.options())
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    assert!(folder.names().contains(&"postgres.log.1".to_owned()));
    assert!(folder.log().len() < 64 * 1024);
}
