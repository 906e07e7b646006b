//! Bad input: each request gets its documented error, and nothing changes.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::{add, backup_task, create, nightly, post};
use crate::support::app::App;
use crate::support::client::{Answer, Client, send};

const CRON_FIELDS: [&str; 5] = ["minute", "hour", "day_of_month", "month", "day_of_week"];

/// Everything that a request about schedules could change.
async fn state(app: &App) -> Vec<Vec<Option<String>>> {
    let all = "SELECT s::text FROM schedules s UNION ALL SELECT t::text FROM schedule_tasks t
               UNION ALL SELECT r::text FROM schedule_runs r
               UNION ALL SELECT a::text FROM activity a ORDER BY 1";
    app.sql().query(all).await
}

/// A service with a schedule and a task, and what it holds.
pub(super) struct Scene {
    pub(super) app: App,
    pub(super) owner: Client,
    pub(super) schedule: String,
    pub(super) task: String,
    before: Vec<Vec<Option<String>>>,
}

impl Scene {
    pub(super) async fn new(settings: &[(&str, &str)]) -> Self {
        let app = App::without_worker(settings).await;
        let owner = app.as_owner();
        let schedule = create(&owner, &json!({})).await;
        let task = add(&owner, &schedule, &json!({})).await;
        let before = state(&app).await;
        Self {
            app,
            owner,
            schedule,
            task,
            before,
        }
    }

    /// Sends a body to both endpoints that take one of this kind: to create, and to change.
    async fn both(&self, body: &Value) -> [Answer; 2] {
        let paths = match body.get("action").or(body.get("time_offset")).is_some() {
            true => [format!("{}/tasks", self.schedule), self.task.clone()],
            false => [String::new(), self.schedule.clone()],
        };
        [
            post(&self.owner, &paths[0], body).await,
            post(&self.owner, &paths[1], body).await,
        ]
    }

    /// Checks that a body violates one rule of one field.
    async fn violates(&self, body: &Value, field: &str, rule: &str) {
        for answer in self.both(body).await {
            let (status, code, _) = answer.refusal();
            assert_eq!(
                (status, code.as_str()),
                (422, "ValidationException"),
                "{field}"
            );
            let error = answer.json()["errors"][0].clone();
            assert_eq!(
                error["meta"],
                json!({ "source_field": field, "rule": rule })
            );
            assert_eq!(error["source"], json!({ "field": field }));
        }
    }

    /// Checks that a body is refused with this text.
    pub(super) async fn refuses(&self, body: &Value, expected: (u16, &str, &str)) {
        for answer in self.both(body).await {
            let (status, code, text) = answer.refusal();
            assert_eq!((status, code.as_str(), text.as_str()), expected, "{body}");
        }
    }

    pub(super) async fn end(self) {
        assert_eq!(state(&self.app).await, self.before, "nothing has changed");
        self.app.stop().await;
    }
}

const NO_CRON: (u16, &str, &str) = (
    400,
    "DisplayException",
    "The cron data provided does not evaluate to a valid expression.",
);

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_in_a_cron_field_is_refused() {
    let scene = Scene::new(&[]).await;
    let long = "1,".repeat(5000) + "1";
    for field in CRON_FIELDS {
        let beyond = match field {
            "minute" => "60",
            "hour" => "24",
            "day_of_month" => "32",
            "month" => "13",
            _ => "8",
        };
        for rubbish in [
            beyond,
            "x",
            "-1",
            "1-",
            "5-2-1",
            "*/0",
            "*/x",
            "1/2/3",
            "1,,2",
            ",1",
            "1.5",
            "1 2",
            "0 4 * * *",
            "@daily",
            "* * * * * *",
            "٣",
            "1;2",
            "%",
            "'",
            "99999999999999999999",
            "**",
            &"9".repeat(10_000),
            &long,
        ] {
            scene
                .refuses(&nightly(&json!({ field: rubbish })), NO_CRON)
                .await;
        }
        for (value, rule) in [
            (Value::Null, "required"),
            (json!(""), "required"),
            (json!("  "), "required"),
            (json!(5), "string"),
            (json!(true), "string"),
            (json!(["1"]), "string"),
            (json!({ "a": 1 }), "string"),
            (json!("1\u{0}"), "string"),
        ] {
            scene
                .violates(&nightly(&json!({ field: value })), field, rule)
                .await;
        }
    }
    // Dates that never come.
    for (day_of_month, month) in [("30", "2"), ("31", "4,6,9,11"), ("30-31", "FEB")] {
        let never = json!({ "day_of_month": day_of_month, "month": month });
        scene.refuses(&nightly(&never), NO_CRON).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_fields_of_a_schedule_are_checked_one_by_one() {
    let scene = Scene::new(&[]).await;
    let long = "x".repeat(10_000);
    for (field, value, rule) in [
        ("name", Value::Null, "required"),
        ("name", json!(" \t"), "required"),
        ("name", json!(7), "string"),
        ("name", json!("a\u{0}b"), "string"),
        ("name", json!("x".repeat(192)), "max"),
        ("name", json!(long), "max"),
        ("is_active", json!("maybe"), "boolean"),
        ("is_active", json!(2), "boolean"),
        ("only_when_online", json!([true]), "boolean"),
        ("timezone", json!("Mars/Olympus"), "timezone"),
        ("timezone", json!("UTC\u{0}"), "timezone"),
        ("timezone", json!("../../etc/localtime"), "timezone"),
        ("timezone", json!(long), "timezone"),
        ("timezone", json!(2), "string"),
        ("jitter_seconds", json!(-1), "min"),
        ("jitter_seconds", json!("-1"), "min"),
        ("jitter_seconds", json!(86_401), "max"),
        ("jitter_seconds", json!(1.5), "integer"),
        ("jitter_seconds", json!("ten"), "integer"),
        ("missed", json!("later"), "in"),
        ("missed", json!(long), "in"),
        ("keep", json!("sometimes"), "rules"),
        ("keep", json!("last=0"), "rules"),
        ("keep", json!("last=99999999999"), "rules"),
        ("keep", json!(["last=3"]), "string"),
    ] {
        scene
            .violates(&nightly(&json!({ field: value })), field, rule)
            .await;
    }
    // Each field that is missing is named.
    for path in ["", &scene.schedule] {
        let answer = post(&scene.owner, path, &json!({})).await;
        assert_eq!(answer.status, 422);
        let errors = answer.json()["errors"].clone();
        let fields = errors.as_array().unwrap().iter();
        let fields: Vec<&str> = fields
            .map(|error| error["meta"]["source_field"].as_str().unwrap())
            .collect();
        assert_eq!(fields, [&["name"][..], &CRON_FIELDS].concat());
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_a_task_are_checked_one_by_one() {
    let scene = Scene::new(&[("power.driver", "docker")]).await;
    let long = "x".repeat(4_001);
    let command = |payload: Value| json!({ "action": "command", "payload": payload });
    let power = |payload: Value| json!({ "action": "power", "payload": payload });
    let patterns = |line: &str, count| json!({ "payload": format!("{line}\n").repeat(count) });
    for (body, field, rule) in [
        (json!({ "action": null }), "action", "required"),
        (json!({ "action": "explode" }), "action", "in"),
        (json!({ "action": 1 }), "action", "string"),
        (command(Value::Null), "payload", "required_unless"),
        (command(json!("  ")), "payload", "required_unless"),
        (command(json!(5)), "payload", "string"),
        (command(json!(["say hi"])), "payload", "string"),
        (command(json!("say hi\nop me")), "payload", "string"),
        (command(json!("say \u{0}")), "payload", "string"),
        (command(json!(long)), "payload", "max"),
        (power(Value::Null), "payload", "required_unless"),
        (power(json!("explode")), "payload", "in"),
        (power(json!(true)), "payload", "string"),
        (json!({ "payload": "a\u{0}" }), "payload", "string"),
        (json!({ "payload": { "a": 1 } }), "payload", "string"),
        (patterns("*.log", 257), "payload", "max"),
        (patterns(&"x".repeat(1025), 1), "payload", "max"),
        (patterns("# a comment", 8_000), "payload", "max"),
        (json!({ "time_offset": null }), "time_offset", "required"),
        (json!({ "time_offset": -1 }), "time_offset", "min"),
        (json!({ "time_offset": "901" }), "time_offset", "max"),
        (json!({ "time_offset": 900.5 }), "time_offset", "max"),
        (json!({ "time_offset": "soon" }), "time_offset", "numeric"),
        (json!({ "time_offset": true }), "time_offset", "numeric"),
        (json!({ "sequence_id": 0 }), "sequence_id", "min"),
        (json!({ "sequence_id": "x" }), "sequence_id", "numeric"),
        (
            json!({ "continue_on_failure": "maybe" }),
            "continue_on_failure",
            "boolean",
        ),
    ] {
        scene.violates(&backup_task(&body), field, rule).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_another_server_or_schedule_is_not_found() {
    let scene = Scene::new(&[]).await;
    let Scene {
        app,
        owner,
        schedule,
        task,
        ..
    } = &scene;
    let second = create(owner, &json!({ "name": "Second" })).await;
    let server = app.another_server("other").await.id.to_string();
    let other = owner.about(&server);
    let foreign = create(&other, &json!({})).await;
    let foreign_task = add(&other, &foreign, &json!({})).await;
    let before = state(app).await;
    let number = |task: &str| task.rsplit('/').next().unwrap().to_owned();
    let mut schedules = vec![foreign.clone(), format!("/{}", Uuid::new_v4())];
    let numbers = [
        "0",
        "007",
        "-1",
        "+1",
        "1e3",
        "x",
        "1.0",
        "999999",
        "9223372036854775808",
    ];
    schedules.extend(numbers.map(|number| format!("/{number}")));
    let mut tasks = vec![
        format!("{second}/tasks/{}", number(task)),
        format!("{schedule}/tasks/{}", number(&foreign_task)),
        format!("{foreign}/tasks/{}", number(&foreign_task)),
    ];
    tasks.extend(numbers.map(|number| format!("{schedule}/tasks/{number}")));
    let mut requests = Vec::new();
    for path in schedules {
        requests.push((Method::GET, path.clone(), Value::Null));
        requests.push((Method::POST, path.clone(), nightly(&json!({}))));
        requests.push((Method::POST, format!("{path}/execute"), Value::Null));
        requests.push((
            Method::POST,
            format!("{path}/tasks"),
            backup_task(&json!({})),
        ));
        requests.push((Method::DELETE, path, Value::Null));
    }
    for path in tasks {
        requests.push((Method::POST, path.clone(), backup_task(&json!({}))));
        requests.push((Method::DELETE, path, Value::Null));
    }
    let text = "The requested resource could not be found.";
    let expected = (404, "NotFoundHttpException".to_owned(), text.to_owned());
    for (method, path, body) in requests {
        let request = owner.schedules(method.clone(), &path).json(&body);
        assert_eq!(send(request).await.refusal(), expected, "{method} {path}");
    }
    assert_eq!(state(app).await, before);
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_read_changes_nothing() {
    let scene = Scene::new(&[("http.max_body_bytes", "65536")]).await;
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(70_000));
    for path in [
        String::new(),
        scene.schedule.clone(),
        format!("{}/tasks", scene.schedule),
        scene.task.clone(),
    ] {
        for (body, status) in [("{", 400), ("[]", 400), ("null", 400), (&*large, 413)] {
            let request = scene.owner.schedules(Method::POST, &path);
            let answer = send(request.body(body.to_owned())).await;
            assert_eq!(
                answer.status,
                status,
                "{path}: {}",
                &body[..body.len().min(9)]
            );
        }
        let refused = send(scene.owner.schedules(Method::PUT, &path)).await;
        assert_eq!(refused.status, 405);
    }
    scene.end().await;
}
