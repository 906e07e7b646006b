//! Requests for full backups.

use crate::support::app::App;

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test(flavor = "multi_thread")]
async fn the_request_for_a_full_backup_is_stored_with_the_backup() {
    let app = App::without_worker(&[]).await;
    for (content_type, body, expected) in [
        (None, "{}", "f"),
        (None, r#"{"full":null}"#, "f"),
        (None, r#"{"full":""}"#, "f"),
        (None, r#"{"full":false}"#, "f"),
        (None, r#"{"full":"0"}"#, "f"),
        (None, r#"{"full":true}"#, "t"),
        (None, r#"{"full":1}"#, "t"),
        (None, r#"{"full":"true"}"#, "t"),
        (Some(FORM), "full=1", "t"),
        (Some(FORM), "name=full", "f"),
    ] {
        let created = app.as_owner().create_raw(content_type, body).await;
        assert_eq!(created.status, 200, "{body}");
        let stored = app.sql().query("SELECT is_full FROM backups").await;
        assert_eq!(stored, [[Some(expected.to_owned())]], "{body}");
        app.sql()
            .query("DELETE FROM jobs; DELETE FROM backups")
            .await;
    }
    app.stop().await;
}
