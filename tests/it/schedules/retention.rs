//! What a schedule deletes: backups of its own, only after a new one has completed, and never the
//! last good one.

use serde_json::json;

use super::scene::{Scene, scene, scene_with};
use crate::support::eventually;

/// The backups of a schedule that are not being deleted, oldest first.
async fn own(scene: &Scene, schedule: i64) -> Vec<String> {
    let select = format!(
        "SELECT id FROM backups b WHERE schedule_id = {schedule} AND state = 'completed'
             AND NOT EXISTS (SELECT 1 FROM jobs WHERE backup_id = b.id AND kind = 'delete_backup')
         ORDER BY created_at, id"
    );
    let rows = scene.app.sql().query(&select).await;
    rows.iter().map(|row| row[0].clone().unwrap()).collect()
}

async fn deletions(scene: &Scene) -> i64 {
    let count = "SELECT count(*) FROM jobs WHERE kind = 'delete_backup'";
    scene.app.sql().number(count).await
}

/// Lets a schedule that is due now create its first backup.
async fn first_backup(scene: &Scene, columns: &str) -> i64 {
    let schedule = scene.schedule(columns, &["backup"]).await;
    assert_eq!(scene.ended(schedule).await, ("completed".to_owned(), None));
    schedule
}

async fn limit(scene: &mut Scene, backups: u32) {
    scene.app.server.limits.backups = Some(backups);
    scene.app.save_server().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_of_a_schedule_apply_to_its_unlocked_backups_alone() {
    let scene = scene().await;
    let manual = [scene.app.backup().await, scene.app.backup().await];
    let other = first_backup(&scene, "").await;
    let schedule = first_backup(&scene, "keep='last=2'").await;
    let locked = own(&scene, schedule).await.remove(0);
    let owner = scene.app.as_owner();
    assert_eq!(owner.lock(&locked, json!({})).await.status, 204);
    for _ in 0..4 {
        assert_eq!(scene.run_again(schedule).await.0, "completed");
    }
    let left = own(&scene, schedule).await;
    assert!(left.contains(&locked));
    assert_eq!(left.len(), 3, "the locked one and the last two");
    eventually("two are deleted", async || {
        let count = format!("SELECT count(*) FROM backups WHERE schedule_id = {schedule}");
        (scene.app.sql().number(&count).await == 3).then_some(())
    })
    .await;
    assert_eq!(own(&scene, other).await.len(), 1);
    for backup in &manual {
        assert_eq!(owner.show(backup).await.status, 200);
    }
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_limit_the_oldest_backup_goes_after_the_new_one_has_completed() {
    let mut scene = scene_with(&[("worker.read_limit_bytes_per_second", "400000")]).await;
    let manual = scene.app.backup().await;
    limit(&mut scene, 3).await;
    let schedule = first_backup(&scene, "").await;
    assert_eq!(scene.run_again(schedule).await.0, "completed");
    assert_eq!(deletions(&scene).await, 0, "the limit is not reached");
    let before = own(&scene, schedule).await;
    assert_eq!(scene.run_again(schedule).await.0, "completed");
    let after = own(&scene, schedule).await;
    assert_eq!((after.len(), &after[0]), (2, &before[1]));
    let too_soon = format!(
        "SELECT count(*) FROM jobs d JOIN jobs c ON c.kind = 'create_backup'
         WHERE d.kind = 'delete_backup' AND d.backup_id = '{}' AND c.backup_id = '{}'
             AND d.created_at < c.finalized_at",
        before[0], after[1]
    );
    assert_eq!(scene.app.sql().number(&too_soon).await, 0);
    assert_eq!(deletions(&scene).await, 1);
    assert_eq!(scene.app.as_owner().show(&manual).await.status, 200);
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_fails_deletes_nothing() {
    let mut scene = scene().await;
    let schedule = first_backup(&scene, "keep='last=1'").await;
    let before = own(&scene, schedule).await;
    limit(&mut scene, 1).await;
    fs_err::remove_dir_all(&scene.app.directory).unwrap();
    let (state, error) = scene.run_again(schedule).await;
    assert_eq!(state, "failed");
    assert!(error.unwrap().contains("directory"));
    assert_eq!(own(&scene, schedule).await, before);
    assert_eq!(deletions(&scene).await, 0);
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_without_a_backup_that_it_may_delete_fails_at_the_limit() {
    let mut scene = scene().await;
    let schedule = first_backup(&scene, "").await;
    let locked = own(&scene, schedule).await.remove(0);
    let owner = scene.app.as_owner();
    assert_eq!(owner.lock(&locked, json!({})).await.status, 204);
    let manual = scene.app.backup().await;
    limit(&mut scene, 2).await;
    let (state, error) = scene.run_again(schedule).await;
    let expected = "The server has reached its limit of backups, and the schedule has no backup \
                    that it may delete.";
    assert_eq!(
        (state.as_str(), error.as_deref()),
        ("failed", Some(expected))
    );
    for backup in [&locked, &manual] {
        assert_eq!(owner.show(backup).await.status, 200);
    }
    assert_eq!(deletions(&scene).await, 0);
    let count = "SELECT count(*) FROM backups";
    assert_eq!(scene.app.sql().number(count).await, 2);
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_good_backup_stays_while_newer_ones_are_damaged() {
    let scene = scene().await;
    let schedule = first_backup(&scene, "keep='last=1'").await;
    assert_eq!(scene.run_again(schedule).await.0, "completed");
    let good = own(&scene, schedule).await;
    assert_eq!(good.len(), 1);
    // As soon as it has completed, the new archive is found to be damaged.
    let damage = "CREATE FUNCTION damage() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.verification := 'failed';
            NEW.verification_started_at := now();
            NEW.verification_finished_at := now();
            NEW.verification_sentence := 'It is damaged.';
            NEW.damaged_at := now();
            RETURN NEW;
        END
        $$;
        CREATE TRIGGER damage BEFORE UPDATE OF state ON backups FOR EACH ROW
            WHEN (NEW.state = 'completed') EXECUTE FUNCTION damage();";
    scene.app.sql().query(damage).await;
    for _ in 0..2 {
        assert_eq!(scene.run_again(schedule).await.0, "completed");
    }
    assert!(own(&scene, schedule).await.contains(&good[0]));
    assert_eq!(scene.app.as_owner().show(&good[0]).await.status, 200);
    scene.app.stop().await;
}
