//! A caller whose permissions the panel knows gets the same answers as one whose permissions are
//! stored here.

use uuid::Uuid;

use holdfast_domain::key::KeyKind;
use holdfast_domain::{Permission, Profile, UserId};

use super::World;
use crate::permissions::{ROUTES, SCHEDULE_ROUTES, request, reset, schedule_request};
use crate::support::client::Client;
use crate::support::fixtures;

async fn user_here(world: &World, is_admin: bool, permissions: Option<&[Permission]>) -> Client {
    let app = &world.app;
    let id = UserId(Uuid::new_v4());
    let email = format!("{}@example.com", id.0);
    fixtures::user(&app.database, id, &email, is_admin)
        .await
        .unwrap();
    if let Some(permissions) = permissions {
        fixtures::subuser(&app.database, app.server.id, id, permissions)
            .await
            .unwrap();
    }
    let key = app.key(id, KeyKind::Client, Profile::Pterodactyl).await;
    app.as_anonymous().with_token(&key)
}

async fn statuses(world: &World, client: &Client) -> Vec<(String, u16)> {
    let mut all = Vec::new();
    for (method, path) in ROUTES {
        reset(&world.app).await;
        let answer = request(client, method, path).send().await.unwrap();
        all.push((format!("{method} {path}"), answer.status().as_u16()));
    }
    for (method, path) in SCHEDULE_ROUTES {
        reset(&world.app).await;
        let answer = schedule_request(client, method, path).send().await.unwrap();
        all.push((format!("{method} s{path}"), answer.status().as_u16()));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_in_the_panel_mean_the_same_as_permissions_here() {
    let world = World::start(&[]).await;
    let admin = user_here(&world, true, None).await;
    let expected = statuses(&world, &admin).await;
    for name in ["owner", "admin"] {
        assert_eq!(
            statuses(&world, &world.with_key_of(name)).await,
            expected,
            "{name}"
        );
    }
    let stranger = user_here(&world, false, None).await;
    let expected = statuses(&world, &stranger).await;
    assert!(
        expected
            .iter()
            .all(|(_, status)| [404, 405].contains(status))
    );
    let of_panel = world.with_key_of("stranger");
    assert_eq!(statuses(&world, &of_panel).await, expected, "a stranger");

    let mut seen = Vec::new();
    for permission in Permission::ALL {
        let here = user_here(&world, false, Some(&[permission])).await;
        let expected = statuses(&world, &here).await;
        // Names that Holdfast does not know change nothing.
        let permissions = [permission.as_str(), "control.console", "backup.everything"];
        let found = statuses(&world, &world.subuser(&permissions)).await;
        assert_eq!(found, expected, "{}", permission.as_str());
        assert!(!seen.contains(&expected), "{}", permission.as_str());
        seen.push(expected);
    }
    world.stop().await;
}
