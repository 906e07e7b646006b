//! What a caller may do is read again in the transaction that acts, in every route that changes
//! something. So a right that is withdrawn meanwhile is lost, or the action comes first.

mod bodies;

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use holdfast_domain::key::KeyKind;
use holdfast_domain::{Permission, Profile, UserId};

use crate::support::app::App;
use crate::support::client::{Answer, Client, send};
use crate::support::{eventually, files};

/// A backup that the API considers completed.
const BACKUP: &str = "a4962fe6-90c8-4b89-ba62-a5d3b06426c0";
/// Held by a transaction of the test, as soon as it has changed something.
const CHANGED: &str = "SELECT pg_advisory_xact_lock(4711);";

/// Every route that can change something, from the page that lists them: method and path.
fn routes() -> Vec<(String, String)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/src/routes.rs");
    let page = fs_err::read_to_string(page).unwrap();
    let mut prefix = String::new();
    let mut routes = Vec::new();
    for line in page.lines() {
        let mut texts = line.split('"').skip(1).step_by(2);
        if line.contains("scope(\"") {
            prefix = texts.next().unwrap().to_owned();
        } else if line.contains("resource(\"") {
            let path = texts.next().unwrap();
            let methods = texts
                .next()
                .expect("the methods are in the line of the path");
            for method in methods.split(", ") {
                if !["GET", "HEAD"].contains(&method) {
                    routes.push((method.to_owned(), format!("{prefix}{path}")));
                }
            }
        }
    }
    let resources = page.matches("resource(\"").count();
    let lines = page.lines().filter(|line| line.contains("resource(\""));
    assert_eq!(lines.count(), resources, "one resource a line");
    assert!(routes.len() > 20, "{routes:?}");
    routes
}

/// A valid body for each route that can change something, by method and path.
type Bodies = BTreeMap<(&'static str, &'static str), Value>;

struct Fixture {
    app: App,
    admin: UserId,
    bodies: Bodies,
    _folder: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let folder = files::scratch();
        let root = fs_err::canonicalize(folder.path()).unwrap();
        let roots = root.to_str().unwrap().to_owned();
        let app = App::without_worker(&[("worker.roots", &roots)]).await;
        let admin = holdfast_db::users::find_by_email(&app.database, "admin@example.com").await;
        let admin = admin.unwrap().unwrap().id;
        let bodies = bodies::bodies(&root);
        let statements = format!(
            "INSERT INTO backups (id, server_id, name, disk, state, completed_at, sha256,
                                  size_bytes, archive_attempt)
             VALUES ('{BACKUP}', '{}', 'kept', 'local', 'completed', now(),
                     decode(repeat('00', 32), 'hex'), 1, 1);
             INSERT INTO jobs (id, kind, server_id, backup_id, node)
             OVERRIDING SYSTEM VALUE VALUES (1000000, 'verify_backup', '{0}', '{BACKUP}', 'local');
             INSERT INTO schedules (id, server_id, name, minute, hour, day_of_month, month,
                                    day_of_week)
             OVERRIDING SYSTEM VALUE VALUES (1000000, '{0}', 'kept', '0', '4', '*', '*', '*');
             INSERT INTO schedule_tasks (id, schedule_id, sequence, action)
             OVERRIDING SYSTEM VALUE VALUES (1000000, 1000000, 1, 'backup')",
            app.server.id
        );
        app.sql().query(&statements).await;
        Self {
            app,
            admin,
            bodies,
            _folder: folder,
        }
    }

    async fn operator(&self) -> Client {
        let token = self
            .app
            .key(self.admin, KeyKind::Application, Profile::Documented)
            .await;
        self.app.as_admin().with_token(&token)
    }

    async fn ask(&self, client: &Client, method: &str, path: &str, body: &Value) -> Answer {
        let path = path
            .replace("{server}", &self.app.server.id.to_string())
            .replace("{backup}", BACKUP)
            .replace("{user}", "stranger@example.com")
            .replace("{key}", &self.app.as_stranger().token().unwrap()[..16])
            .replace("{job}", "1000000")
            .replace("{schedule}", "1000000")
            .replace("{task}", "1000000");
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = client.plain(method, &format!("{}{path}", self.app.base_url));
        send(match body {
            Value::Null => request,
            body => request.json(body),
        })
        .await
    }

    /// What the routes can change, apart from users and keys.
    async fn state(&self) -> Vec<Vec<Option<String>>> {
        let tables = [
            "servers",
            "backups",
            "jobs",
            "activity",
            "schedules",
            "schedule_tasks",
            "schedule_runs",
        ];
        let hashes = tables.map(|table| {
            format!("(SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} t)")
        });
        self.app
            .sql()
            .query(&format!("SELECT {}", hashes.join(", ")))
            .await
    }

    /// Runs statements in a transaction that waits, before it commits, until `condition` holds.
    async fn hold(&self, statements: &str, condition: &str) {
        let wait = format!(
            "{statements}; {CHANGED}
             DO $$ BEGIN
                 FOR round IN 1..1500 LOOP
                     IF {condition} THEN RETURN; END IF;
                     PERFORM pg_sleep(0.01);
                 END LOOP;
                 RAISE EXCEPTION 'nothing waits for the transaction of the test';
             END $$"
        );
        self.app.sql().query(&wait).await;
    }

    /// Waits until the transaction of [`Fixture::hold`] has changed what it changes.
    async fn changed(&self) {
        let held = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                    WHERE locktype = 'advisory' AND objid = 4711 AND granted
                        AND datname = current_database()";
        eventually("the change is made", async || {
            (self.app.sql().number(held).await == 1).then_some(())
        })
        .await;
    }
}

/// Another session waits for this one.
const ONE_WAITS: &str = "EXISTS (SELECT 1 FROM pg_locks l
    WHERE NOT l.granted AND pg_backend_pid() = ANY (pg_blocking_pids(l.pid)))";
/// Another session waits for this one, and a third one waits for that.
const TWO_WAIT: &str = "EXISTS (SELECT 1 FROM pg_locks l, pg_locks m
    WHERE NOT l.granted AND NOT m.granted AND pg_backend_pid() = ANY (pg_blocking_pids(l.pid))
        AND l.pid = ANY (pg_blocking_pids(m.pid)))";

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_withdrawn_while_a_request_acts_is_lost_in_every_route() {
    let fixture = Fixture::new().await;
    let app = &fixture.app;
    let before = fixture.state().await;
    for (method, path) in routes() {
        // It only signs a link, whose key is checked again when it is used. The panel has the token
        // of its node, which no one withdraws.
        if path.ends_with("/download") || path.starts_with("/api/servers/") {
            continue;
        }
        let of = |(known, with_query): &(&str, &str)| {
            *known == method && with_query.split('?').next() == Some(path.as_str())
        };
        let found = fixture.bodies.iter().find(|(route, _)| of(route));
        let Some(((_, target), body)) = found else {
            panic!("{method} {path} changes something: add it to `bodies` with a valid body");
        };
        let changes: &[(&str, u16)] = match path.starts_with("/api/client") {
            true => &[
                ("DELETE FROM api_keys WHERE identifier = 'KEY'", 401),
                (
                    "DELETE FROM users WHERE id = (SELECT user_id FROM api_keys \
                  WHERE identifier = 'KEY')",
                    401,
                ),
                (
                    "UPDATE subusers SET permissions = '{backup.read}' WHERE user_id = \
                  (SELECT user_id FROM api_keys WHERE identifier = 'KEY')",
                    403,
                ),
                ("DELETE FROM subusers", 404),
                ("UPDATE servers SET deleting_at = now()", 404),
            ],
            false => &[
                ("DELETE FROM api_keys WHERE identifier = 'KEY'", 401),
                (
                    "UPDATE users SET is_admin = false WHERE email = 'admin@example.com'",
                    403,
                ),
            ],
        };
        for (change, expected) in changes {
            let client = match path.starts_with("/api/client") {
                true => app.as_subuser(&Permission::ALL).await,
                false => fixture.operator().await,
            };
            let change = change.replace("KEY", &client.token().unwrap()[..16]);
            let request = async {
                fixture.changed().await;
                fixture.ask(&client, &method, target, body).await
            };
            let (answer, ()) = tokio::join!(request, fixture.hold(&change, ONE_WAITS));
            assert_eq!(answer.status, *expected, "{method} {path}: {change}");
            let restore = "UPDATE servers SET deleting_at = NULL;
                UPDATE users SET is_admin = true WHERE email = 'admin@example.com'";
            app.sql().query(restore).await;
        }
    }
    // Nothing was done.
    assert_eq!(fixture.state().await, before);
    let done = "SELECT count(*) FROM operator_actions WHERE status < 400";
    assert_eq!(app.sql().number(done).await, 0);
    fixture.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_revokes_a_key_waits_for_the_request_that_acts() {
    let fixture = Fixture::new().await;
    let app = &fixture.app;
    let client = app.as_subuser(&Permission::ALL).await;
    let operator = fixture.operator().await;
    let identifier = client.token().unwrap()[..16].to_owned();
    let hold = format!("SELECT FROM backups WHERE id = '{BACKUP}' FOR UPDATE");
    let act = async {
        fixture.changed().await;
        client
            .lock(BACKUP, json!({ "is_locked": true }))
            .await
            .status
    };
    let revoke = async {
        fixture.changed().await;
        let waiting = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                       WHERE NOT granted AND a.datname = current_database()";
        eventually("the request waits for the backup", async || {
            (app.sql().number(waiting).await == 1).then_some(())
        })
        .await;
        let path = format!("/api/application/keys/{identifier}");
        let status = fixture
            .ask(&operator, "DELETE", &path, &Value::Null)
            .await
            .status;
        let locked = "SELECT count(*) FROM backups WHERE is_locked";
        (status, app.sql().number(locked).await)
    };
    let (status, revoked, ()) = tokio::join!(act, revoke, fixture.hold(&hold, TWO_WAIT));
    assert_eq!((status, revoked), (204, (204, 1)));
    assert_eq!(client.lock(BACKUP, json!({})).await.status, 401);
    fixture.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_who_act_against_each_other_never_deadlock() {
    let fixture = Fixture::new().await;
    let app = &fixture.app;
    let sql = app.sql();
    let none = Value::Null;
    for round in 0..6 {
        let other = format!(
            "INSERT INTO users (id, email, is_admin)
            VALUES (gen_random_uuid(), 'other{round}@example.com', true)"
        );
        sql.query(&other).await;
        let email = format!("other{round}@example.com");
        let other = holdfast_db::users::find_by_email(&app.database, &email).await;
        let other = other.unwrap().unwrap().id;
        let (one, two) = (
            fixture.operator().await,
            app.key(other, KeyKind::Application, Profile::Documented)
                .await,
        );
        let two = one.with_token(&two);
        let key =
            |client: &Client| format!("/api/application/keys/{}", &client.token().unwrap()[..16]);
        let user = |id: UserId| format!("/api/application/users/{}", id.0);
        let demote = json!({ "admin": false });
        let asks: [(&Client, &str, String, &Value); 2] = match round % 3 {
            0 => [
                (&one, "DELETE", key(&two), &none),
                (&two, "DELETE", key(&one), &none),
            ],
            1 => [
                (&one, "PATCH", user(other), &demote),
                (&two, "PATCH", user(fixture.admin), &demote),
            ],
            _ => [
                (&one, "DELETE", user(other), &none),
                (&two, "PATCH", user(fixture.admin), &demote),
            ],
        };
        // Beside them, the same users act as clients, and change the server of both.
        let client = app.as_subuser(&Permission::ALL).await;
        let operator = fixture.operator().await;
        let subuser = "/api/application/servers/{server}/subusers/{user}";
        let rights = json!({ "permissions": ["backup.read", "backup.delete"] });
        let renamed = json!({ "name": format!("round {round}") });
        let lock = format!("/api/client/servers/{{server}}/backups/{BACKUP}/lock");
        let admin = app.as_admin();
        let beside: Vec<(&Client, &str, &str, &Value)> = vec![
            (&client, "POST", &lock, &none),
            (&admin, "POST", &lock, &none),
            (&operator, "PUT", subuser, &rights),
            (
                &operator,
                "PATCH",
                "/api/application/servers/{server}",
                &renamed,
            ),
            (&admin, "POST", &lock, &none),
            (&client, "POST", &lock, &none),
        ];
        let against = asks
            .iter()
            .map(|(client, method, path, body)| fixture.ask(client, method, path, body));
        let beside = beside
            .iter()
            .map(|(client, method, path, body)| fixture.ask(client, method, path, body));
        let (against, beside) = tokio::join!(join_all(against), join_all(beside));
        let statuses: Vec<u16> = against.iter().map(|answer| answer.status).collect();
        let won = statuses.iter().filter(|status| **status < 300).count();
        let lost = statuses
            .iter()
            .filter(|status| [401, 403, 404].contains(*status))
            .count();
        assert_eq!((won, lost), (1, 1), "{round}: {statuses:?}");
        for answer in beside {
            assert!(answer.status < 500, "{round}: {}", answer.json());
        }
        sql.query("UPDATE users SET is_admin = email = 'admin@example.com'")
            .await;
    }
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(sql.number(deadlocks).await, 0);
    fixture.app.stop().await;
}
