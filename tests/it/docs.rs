//! `/api/openapi.json` and `/api/docs`: the service's own documentation.

use reqwest::Method;

use crate::support::app::App;
use crate::support::client::{Answer, send};
use crate::support::process::{holdfast, run};

async fn get(app: &App, path: &str) -> Answer {
    let url = format!("{}{path}", app.base_url);
    send(app.as_anonymous().plain(Method::GET, &url)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn service_command_and_repository_have_the_same_document() {
    let app = App::without_worker(&[]).await;
    let served = get(&app, "/api/openapi.json").await;
    assert_eq!(served.status, 200);
    assert_eq!(served.header("content-type"), "application/json");
    let printed = run(holdfast(&[]).arg("openapi"));
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let committed = fs_err::read_to_string(format!("{root}/docs/openapi.json")).unwrap();
    assert_eq!(
        printed.stdout, committed,
        "cargo run -- openapi > docs/openapi.json"
    );
    let served = String::from_utf8(served.bytes).unwrap();
    assert_eq!(served.trim_end(), committed.trim_end());
    app.stop().await;
}

/// What a page loads: the values of its `src` and `href`.
fn loaded(html: &str) -> Vec<&str> {
    let parts = ["src=\"", "href=\""];
    let parts = parts.iter().flat_map(|part| html.split(part).skip(1));
    parts.map(|rest| rest.split('"').next().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_the_document_loads_nothing_from_other_hosts() {
    let app = App::without_worker(&[]).await;
    // The client follows the redirect of `/api/docs`.
    let page = get(&app, "/api/docs").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    let html = String::from_utf8(page.bytes).unwrap();
    let files = loaded(&html);
    assert!(files.len() >= 4, "{files:?}");
    for file in &files {
        assert!(!file.contains("//"), "{file} is another host's");
        let answer = get(&app, &format!("/api/docs/{file}")).await;
        assert_eq!(answer.status, 200, "{file}");
    }
    let begins = files.iter().find(|file| file.contains("initializer"));
    let begins = get(&app, &format!("/api/docs/{}", begins.unwrap())).await;
    let script = String::from_utf8(begins.bytes).unwrap();
    for text in [&html, &script] {
        assert!(
            !text.contains("http://") && !text.contains("https://"),
            "{text}"
        );
    }
    assert!(script.contains("\"/api/openapi.json\""), "{script}");
    // Otherwise the page would send its address to an external validator, unless it is on this
    // machine.
    let compact: String = script.split_whitespace().collect();
    assert!(compact.contains(r#""validatorUrl":"none""#), "{script}");
    app.stop().await;
}
