//! `GET …/contents` and `…/contents/file`: the contents of a backup, without reading all of it.

use reqwest::Method;
use serde_json::{Value, json};

use holdfast_domain::Permission;

use crate::support::app::App;
use crate::support::client::{Answer, Client, send};
use crate::support::files;

async fn folder(client: &Client, backup: &str, query: &str) -> Answer {
    send(client.request(Method::GET, &format!("/{backup}/contents{query}"))).await
}

async fn file(client: &Client, backup: &str, path: &str) -> Answer {
    let path = format!("/{backup}/contents/file?path={path}");
    send(client.request(Method::GET, &path)).await
}

fn entries(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.json());
    let data = answer.json()["data"].as_array().unwrap().clone();
    data.into_iter()
        .inspect(|entry| assert_eq!(entry["object"], "file_object"))
        .map(|entry| entry["attributes"].clone())
        .collect()
}

fn names(answer: &Answer) -> Vec<String> {
    let name = |entry: Value| entry["name"].as_str().unwrap().to_owned();
    entries(answer).into_iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_a_backup_is_listed_as_it_was_backed_up() {
    let app = App::start().await;
    files::make_server(&app.directory);
    let uuid = app.backup().await;
    fs_err::remove_dir_all(&app.directory).unwrap();
    let owner = app.as_owner();

    let root = folder(&owner, &uuid, "").await;
    assert_eq!(root.json()["object"], "list");
    let found = entries(&root);
    let of = |name: &str| {
        let named = |entry: &&Value| entry["name"] == name;
        found.iter().find(named).unwrap()
    };
    let script = of("start.sh");
    assert_eq!(script["kind"], "file");
    assert_eq!(script["mode"], "-rwxr-xr-x");
    assert_eq!(script["mode_bits"], "755");
    assert_eq!(script["size"], 20);
    assert_eq!(
        (&script["is_file"], &script["is_symlink"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(script["modified_at"].as_str().unwrap().len(), 25);
    assert_eq!(of("plugins")["kind"], "directory");
    assert_eq!(of("plugins")["mode"], "drwxr-x---");
    assert_eq!(of("level")["kind"], "symlink");
    assert_eq!(of("level")["target"], "world/level.dat");
    assert_eq!(of("zz-level.dat")["kind"], "hard_link");
    assert_eq!(of("zz-level.dat")["target"], "world/level.dat");

    for query in ["?path=world", "?path=/world/", "?path=.%2Fworld"] {
        let world = folder(&owner, &uuid, query).await;
        assert_eq!(names(&world), ["level.dat", "region", "ünï"], "{query}");
    }
    assert_eq!(
        names(&folder(&owner, &uuid, "?path=plugins").await),
        [""; 0]
    );
    let inner = folder(&owner, &uuid, "?path=world/ünï").await;
    let [inner] = &entries(&inner)[..] else {
        panic!("one file")
    };
    assert_eq!(inner["path"], "world/ünï/ναι 1.txt");
    let encoded = inner["encoded_path"].as_str().unwrap();
    assert!(encoded.is_ascii() && !encoded.contains([' ', '/']));
    assert_eq!(
        file(&owner, &uuid, encoded).await.bytes,
        "κόσμε\n".as_bytes()
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_folder_is_listed_in_linked_pages() {
    let app = App::start().await;
    files::make_server(&app.directory);
    for number in 0..60 {
        files::write(
            &app.directory.join(format!("many & more/{number:02}")),
            b"x",
        );
    }
    files::write(&app.directory.join("many & more!/not-this"), b"x");
    let uuid = app.backup().await;
    let owner = app.as_owner();
    let mut page = folder(&owner, &uuid, "?per_page=25&path=many+%26%20more").await;
    let mut found = names(&page);
    while let Some(next) = page.json()["meta"]["pagination"]["links"]["next"].as_str() {
        page = send(owner.plain(Method::GET, next)).await;
        found.extend(names(&page));
    }
    let expected: Vec<String> = (0..60).map(|number| format!("{number:02}")).collect();
    assert_eq!(found, expected);
    let pagination = &page.json()["meta"]["pagination"];
    assert_eq!(
        (&pagination["total"], &pagination["count"]),
        (&json!(60), &json!(10))
    );
    let beyond = folder(&owner, &uuid, "?page=9&path=many%20%26%20more").await;
    assert_eq!(names(&beyond), [""; 0]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_folder_is_listed_by_name_whatever_the_order_of_its_archive() {
    const COUNT: usize = 17_000;
    let app = App::start().await;
    let many = app.directory.join("many");
    fs_err::create_dir(&many).unwrap();
    let now = std::time::SystemTime::now();
    let mut expected = Vec::new();
    for number in 0..COUNT {
        let name = format!("{}", number * 7919);
        let file = fs_err::File::create(many.join(&name)).unwrap();
        let days = [0, 2, 10, 100, 1000][number % 5];
        let age = std::time::Duration::from_secs(days * 24 * 60 * 60);
        file.file().set_modified(now - age).unwrap();
        expected.push(name);
    }
    files::write(&many.join("large"), &files::noise(300_000, 1));
    fs_err::create_dir(many.join("folder")).unwrap();
    expected.extend(["large".to_owned(), "folder".to_owned()]);
    expected.sort();
    let uuid = app.backup().await;
    let in_archive: Vec<String> = files::list(&app.archive(&uuid))
        .iter()
        .filter_map(|path| Some(path.strip_prefix("many/")?.trim_end_matches('/').to_owned()))
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(in_archive.len(), expected.len());
    assert_ne!(in_archive, expected, "the archive has another order");
    let owner = app.as_owner();
    for number in [1, 2, 85, 170, 171, 172, u64::MAX as usize] {
        let query = format!("?path=many&per_page=100&page={number}");
        let page = folder(&owner, &uuid, &query).await;
        let from = (number - 1).saturating_mul(100).min(expected.len());
        let until = (from + 100).min(expected.len());
        assert_eq!(names(&page), expected[from..until], "page {number}");
        let pagination = &page.json()["meta"]["pagination"];
        assert_eq!(pagination["total"], json!(expected.len()));
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_file_of_a_backup_is_returned_byte_for_byte() {
    let app = App::start().await;
    files::make_server(&app.directory);
    files::write(&app.directory.join("big"), &files::noise(5_000_000, 3));
    let sparse = fs_err::File::create(app.directory.join("sparse")).unwrap();
    sparse.set_len(3_000_000).unwrap();
    let uuid = app.backup().await;
    let owner = app.as_owner();
    for path in [
        "big",
        "sparse",
        "empty.txt",
        "world/level.dat",
        "zz-level.dat",
        "logs/latest.log",
        "start.sh",
    ] {
        let answer = file(&owner, &uuid, path).await;
        assert_eq!(answer.status, 200, "{path}");
        let expected = fs_err::read(app.directory.join(path)).unwrap();
        assert!(answer.bytes == expected, "other bytes for {path}");
        assert_eq!(answer.header("content-length"), expected.len().to_string());
        assert_eq!(answer.header("content-type"), "application/octet-stream");
        let name = path.rsplit('/').next().unwrap();
        assert_eq!(
            answer.header("content-disposition"),
            format!("attachment; filename=\"{name}\"")
        );
    }
    let before = app.sql().number("SELECT count(*) FROM activity").await;
    let path = format!("/{uuid}/contents/file?path=big");
    let head = send(owner.request(Method::HEAD, &path)).await;
    assert_eq!((head.status, head.bytes.len()), (200, 0));
    assert_eq!(head.header("content-length"), "5000000");
    assert_eq!(
        app.sql().number("SELECT count(*) FROM activity").await,
        before
    );

    let url = format!("/api/client/servers/{}/activity", app.server.id);
    let activity = send(owner.plain(Method::GET, &app.base_url_of(&url))).await;
    let last = &activity.json()["data"][0]["attributes"];
    assert_eq!(last["event"], "server:backup.download");
    assert_eq!(last["properties"]["file"], "start.sh");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_that_cannot_be_shown_are_refused_in_json() {
    let app = App::start().await;
    files::make_server(&app.directory);
    let uuid = app.backup().await;
    let failed = app.failed_backup().await;
    let owner = app.as_owner();
    let reader = app.as_subuser(&[Permission::Read]).await;
    let not_found = "The requested resource could not be found.";
    let no_folder = "The requested path is not a folder of this backup.";
    let no_file = "The requested path is not a file of this backup.";
    let bad = "BadRequestHttpException";
    let missing = "NotFoundHttpException";
    for (client, path, status, code, text) in [
        (
            &owner,
            format!("/{uuid}/contents?path=nothing"),
            404,
            missing,
            not_found,
        ),
        (
            &owner,
            format!("/{uuid}/contents?path=../.."),
            404,
            missing,
            not_found,
        ),
        (
            &owner,
            format!("/{uuid}/contents?path=%00%FF"),
            404,
            missing,
            not_found,
        ),
        (
            &owner,
            format!("/{uuid}/contents?path=start.sh"),
            400,
            bad,
            no_folder,
        ),
        (
            &owner,
            format!("/{uuid}/contents?path=start.sh/x"),
            404,
            missing,
            not_found,
        ),
        (
            &owner,
            format!("/{uuid}/contents/file?path=worl"),
            404,
            missing,
            not_found,
        ),
        (
            &owner,
            format!("/{uuid}/contents/file?path=world"),
            400,
            bad,
            no_file,
        ),
        (
            &owner,
            format!("/{uuid}/contents/file?path=level"),
            400,
            bad,
            no_file,
        ),
        (
            &owner,
            format!("/{uuid}/contents/file?path=/"),
            400,
            bad,
            no_file,
        ),
        (
            &owner,
            format!("/{failed}/contents"),
            400,
            "BackupFailedException",
            "This backup failed and cannot be downloaded.",
        ),
        (
            &reader,
            format!("/{uuid}/contents"),
            403,
            "InsufficientPermissionsException",
            "This action requires additional permissions.",
        ),
    ] {
        let answer = send(client.request(Method::GET, &path)).await;
        let expected = (status, code.to_owned(), text.to_owned());
        assert_eq!(answer.refusal(), expected, "{path}");
    }
    let nameless = send(owner.request(Method::GET, &format!("/{uuid}/contents/file"))).await;
    assert_eq!(nameless.status, 422);
    let error = &nameless.json()["errors"][0];
    assert_eq!(
        error["meta"],
        json!({ "source_field": "path", "rule": "required" })
    );

    let index = app
        .archive(&uuid)
        .with_extension("")
        .with_extension("index");
    let whole = fs_err::read(&index).unwrap();
    fs_err::write(&index, &whole[..whole.len() - 1]).unwrap();
    let (status, _, text) = folder(&owner, &uuid, "").await.refusal();
    assert_eq!(status, 404);
    assert!(
        text.starts_with("The index of this backup is missing"),
        "{text}"
    );
    fs_err::remove_file(&index).unwrap();
    assert_eq!(file(&owner, &uuid, "start.sh").await.status, 404);
    fs_err::write(&index, &whole).unwrap();
    fs_err::write(app.archive(&uuid), vec![0; 1_000_000]).unwrap();
    let damaged = file(&owner, &uuid, "start.sh").await.refusal();
    assert_eq!(
        (damaged.0, &*damaged.2),
        (500, "The archive of this backup is damaged.")
    );
    fs_err::remove_file(app.archive(&uuid)).unwrap();
    let gone = file(&owner, &uuid, "start.sh").await.refusal();
    assert_eq!(
        gone.2,
        "The archive of this backup is missing from its storage."
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_list_at_once_wait_or_are_refused() {
    let app = App::start().await;
    for number in 0..2000 {
        files::write(&app.directory.join(format!("many/{number:04}")), b"x");
    }
    let uuid = app.backup().await;
    let owner = app.as_owner();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..150 {
        let (owner, uuid) = (owner.clone(), uuid.clone());
        all.spawn(async move { folder(&owner, &uuid, "?path=many&page=20&per_page=100").await });
    }
    let mut listed = 0;
    while let Some(answer) = all.join_next().await {
        let answer = answer.unwrap();
        match answer.status {
            200 => {
                assert_eq!(names(&answer).len(), 100);
                listed += 1;
            }
            status => {
                let (_, code, _) = answer.refusal();
                assert_eq!(
                    (status, code.as_str()),
                    (429, "TooManyRequestsHttpException")
                );
                assert_eq!(answer.header("retry-after"), "2");
            }
        }
    }
    assert!(
        listed >= 64,
        "those that had a place were answered: {listed}"
    );
    assert_eq!(folder(&owner, &uuid, "?path=many").await.status, 200);
    app.stop().await;
}
