//! Sessions of the panel's pages: which cookies count, and the proof that no other page has sent a
//! request.

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use super::{World, refusal};
use crate::stand_ins::panel::client_api::SESSION_COOKIE;
use crate::support::client::{Client, send};

/// As Laravel writes it: encoded in the cookie, decoded in the header.
const TOKEN_COOKIE: &str = "eyJpdiI6Ik5ldmVyIGEgc2VjcmV0In0%3D";
const TOKEN: &str = "eyJpdiI6Ik5ldmVyIGEgc2VjcmV0In0=";

/// A page of the panel in the browser of a user.
struct Page {
    anonymous: Client,
    session: String,
    origin: String,
}

impl Page {
    fn open(world: &World, user: &str) -> Self {
        Self {
            anonymous: world.app.as_anonymous(),
            session: world.client_api(|api| api.sign_in(user)),
            origin: world.panel.url(),
        }
    }

    fn cookies(&self) -> String {
        let session = &self.session;
        format!("_ga=1; XSRF-TOKEN={TOKEN_COOKIE}; {SESSION_COOKIE}={session}; remember_web_1=r")
    }

    fn read(&self) -> RequestBuilder {
        let request = self.anonymous.request(Method::GET, "");
        request.header("cookie", self.cookies())
    }

    /// A request without any proof.
    fn bare_write(&self) -> RequestBuilder {
        let request = self.anonymous.request(Method::POST, "").json(&json!({}));
        request.header("cookie", self.cookies())
    }

    fn write(&self) -> RequestBuilder {
        let request = self.bare_write().header("x-xsrf-token", TOKEN);
        let request = request.header("origin", &self.origin);
        request.header("sec-fetch-site", "same-origin")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_the_panel_reads_and_writes_with_its_session() {
    let world = World::start(&[]).await;
    let page = Page::open(&world, "owner");
    assert_eq!(send(page.read()).await.status, 200);
    let answer = send(page.write()).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert!(answer.headers.get("set-cookie").is_none());
    // Only the session is sent on. A panel would remember the page of another kind of request.
    for asked in world.asked() {
        let session = format!("{SESSION_COOKIE}={}", page.session);
        assert_eq!(asked.header("cookie"), [session.as_str()]);
        assert_eq!(asked.header("authorization"), [""; 0]);
        assert_eq!(asked.header("x-requested-with"), ["XMLHttpRequest"]);
        assert_eq!(asked.header("origin"), [""; 0]);
    }
    let log = world
        .app
        .sql()
        .query("SELECT actor_email, key_identifier FROM activity")
        .await;
    assert_eq!(
        log,
        [[Some("panel".to_owned()), Some("session".to_owned())]]
    );

    let stranger = Page::open(&world, "stranger");
    assert_eq!(send(stranger.read()).await.status, 404);
    let key = page.session.clone();
    world.client_api(|api| api.sessions.remove(&key));
    assert_eq!(send(page.write()).await.status, 401);
    assert_eq!(send(page.read()).await.status, 401);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_page_changes_nothing_with_a_users_cookies() {
    let world = World::start(&[]).await;
    let page = Page::open(&world, "owner");
    let mismatch = (403, "TokenMismatchException".to_owned());
    let own = &page.origin;
    let token = || page.bare_write().header("x-xsrf-token", TOKEN);
    let same = |request: RequestBuilder| request.header("sec-fetch-site", "same-origin");
    let with_cookie = |cookie: &str| {
        let session = format!("{SESSION_COOKIE}={}", page.session);
        let request = page.anonymous.request(Method::POST, "").json(&json!({}));
        let request = request.header("cookie", format!("{session}; {cookie}"));
        same(request.header("origin", own))
    };
    let other_host = own.replace("127.0.0.1", "localhost");
    let other_port = format!("{own}1");
    for (what, request) in [
        ("no proof", page.bare_write()),
        ("no token", same(page.bare_write().header("origin", own))),
        ("no origin", token()),
        (
            "another token",
            same(
                page.bare_write()
                    .header("x-xsrf-token", TOKEN.replace('e', "f")),
            ),
        ),
        (
            "half a token",
            same(page.bare_write().header("x-xsrf-token", &TOKEN[..20])),
        ),
        ("two tokens", same(token().header("x-xsrf-token", TOKEN))),
        ("cross-site", token().header("sec-fetch-site", "cross-site")),
        ("same-site", token().header("sec-fetch-site", "same-site")),
        ("typed in", token().header("sec-fetch-site", "none")),
        (
            "another origin",
            same(token().header("origin", "https://evil.example")),
        ),
        ("another host", token().header("origin", &other_host)),
        ("another port", token().header("origin", &other_port)),
        (
            "another scheme",
            token().header("origin", own.replace("http:", "https:")),
        ),
        ("no name", same(token().header("origin", "null"))),
        (
            "two origins",
            same(token().header("origin", own).header("origin", own)),
        ),
        (
            "a prefix",
            token().header("origin", format!("{own}.evil.example")),
        ),
        (
            "no cookie",
            with_cookie("a=b").header("x-xsrf-token", TOKEN),
        ),
        (
            "an empty cookie",
            with_cookie("XSRF-TOKEN=").header("x-xsrf-token", ""),
        ),
        (
            "a short cookie",
            with_cookie("XSRF-TOKEN=short").header("x-xsrf-token", "short"),
        ),
        (
            "a cookie of another page beside it",
            with_cookie(&format!(
                "XSRF-TOKEN={TOKEN_COOKIE}; XSRF-TOKEN=planted-by-another-page"
            ))
            .header("x-xsrf-token", "planted-by-another-page"),
        ),
    ] {
        assert_eq!(refusal(request).await, mismatch, "{what}");
    }
    for method in [Method::DELETE, Method::PUT, Method::PATCH] {
        let path = "/a4962fe6-90c8-4b89-ba62-a5d3b06426c0";
        for end in ["", "/rename", "/lock", "/download"] {
            let request = page
                .anonymous
                .request(method.clone(), &format!("{path}{end}"));
            let answer = send(request.header("cookie", page.cookies())).await;
            assert!(
                [403, 405].contains(&answer.status),
                "{method} {end}: {}",
                answer.status
            );
        }
    }
    // Without a proof, the panel is not even asked.
    assert!(world.asked().is_empty());
    let rows = world.app.sql().query("SELECT count(*) FROM backups").await;
    assert_eq!(rows, [[Some("0".to_owned())]]);

    // Browsers that say only one of the two, and the origin of this service itself.
    for request in [
        token().header("sec-fetch-site", "same-origin"),
        token().header("origin", own),
        token().header("origin", &world.app.base_url),
    ] {
        let status = send(request).await.status;
        assert!([200, 409].contains(&status), "{status}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_key_cookies_do_not_count() {
    let world = World::start(&[]).await;
    let page = Page::open(&world, "owner");
    for authorization in [
        "Bearer nonsense",
        "Basic b3duZXI6",
        "nonsense",
        "Bearer a b",
    ] {
        let request = page.read().header("authorization", authorization);
        assert_eq!(send(request).await.status, 401, "{authorization}");
    }
    // With a key, no proof is needed: other pages cannot send one.
    let stranger = world.with_key_of("stranger");
    let request = stranger
        .request(Method::POST, "")
        .header("cookie", page.cookies());
    assert_eq!(send(request).await.status, 404);
    for asked in world.asked() {
        assert_eq!(asked.header("cookie"), [""; 0]);
    }
    world.stop().await;

    let world = World::start(&[("auth.panel.session_cookies", "false")]).await;
    let page = Page::open(&world, "owner");
    assert_eq!(send(page.read()).await.status, 401);
    assert_eq!(send(page.write()).await.status, 401);
    assert!(world.asked().is_empty());
    world.stop().await;
}
