//! Users, their keys and servers, and subusers.

use uuid::Uuid;

use holdfast_db::{Error, keys, servers, subusers, users};
use holdfast_domain::key::{ApiKey, KeyKind, KeyToken};
use holdfast_domain::retention::KeepRules;
use holdfast_domain::server::ServerLimits;
use holdfast_domain::{
    DiskName, NodeName, Permission, Profile, Server, ServerAccess, ServerId, ServerRef,
    ServerState, UserId,
};

use super::{Fixture, node};
use crate::support::fixtures;

#[tokio::test(flavor = "multi_thread")]
async fn users_are_found_by_their_address_in_any_spelling() {
    let fixture = Fixture::new().await;
    let database = &fixture.database;
    let other = UserId(Uuid::new_v4());
    let taken = fixtures::user(database, other, "oWNER@EXAMPLE.COM", false).await;
    assert!(matches!(taken, Err(Error::Conflict { .. })), "{taken:?}");
    fixtures::user(database, other, "a@example.com", true)
        .await
        .unwrap();
    let found = users::find_by_email(database, "OWNER@example.com").await;
    let found = found.unwrap().unwrap();
    assert_eq!(
        (found.id, found.email.as_str(), found.is_admin),
        (fixture.owner, "Owner@example.com", false)
    );
    let nobody = users::find_by_email(database, "b@example.com").await;
    assert_eq!(nobody.unwrap(), None);
    let all: Vec<UserId> = users::list(database)
        .await
        .unwrap()
        .into_iter()
        .map(|user| user.id)
        .collect();
    assert_eq!(all, [other, fixture.owner]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_stored_as_hashes_and_read_back_unchanged() {
    let fixture = Fixture::new().await;
    let database = &fixture.database;
    let token = KeyToken::generate(KeyKind::Application, &[3; 43]);
    let at = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let key = ApiKey {
        identifier: token.identifier().clone(),
        user: fixture.owner,
        kind: KeyKind::Application,
        profile: Profile::Pterodactyl,
        secret_hash: token.secret_hash(),
        description: "a panel".to_owned(),
        allowed_ips: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
        expires_at: Some(at),
        created_at: at,
    };
    fixtures::key(database, &key).await.unwrap();
    let again = fixtures::key(database, &key).await;
    assert!(matches!(again, Err(Error::Conflict { .. })), "{again:?}");
    let stored = fixture
        .raw
        .query("SELECT row_to_json(k)::text FROM api_keys k")
        .await;
    let secret = &token.reveal()[16..];
    assert!(!stored[0][0].as_deref().unwrap().contains(secret));
    let found = fixture.look_up(&key.identifier, None).await.unwrap().key;
    assert_eq!((&found.api_key, found.is_admin), (&key, false));
    assert_eq!(found.email, "Owner@example.com");
    for (email, count) in [
        (None, 1),
        (Some("owner@EXAMPLE.com"), 1),
        (Some("b@example.com"), 0),
    ] {
        let listed = keys::list(database, email).await.unwrap();
        assert_eq!(listed.len(), count, "{email:?}");
    }
    assert!(fixtures::no_key(database, &key.identifier).await.unwrap());
    assert!(!fixtures::no_key(database, &key.identifier).await.unwrap());
    assert!(fixture.look_up(&key.identifier, None).await.is_none());
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_found_by_either_id_and_seen_by_users_with_access() {
    let fixture = Fixture::new().await;
    let database = &fixture.database;
    let mut server = fixture.new_server();
    server.limits = ServerLimits {
        backups: Some(3),
        max_backup_bytes: Some(5_000_000_000),
        quota_bytes: Some(0),
        retention_days: Some(7),
        keep: KeepRules::parse("last=3,monthly=12"),
        rotate: true,
        no_default_schedule: true,
    };
    fixtures::server(database, &server).await.unwrap();
    server.name = "Creative".to_owned();
    server.state = ServerState::Suspended;
    server.disk = Some(DiskName::parse("big").unwrap());
    fixtures::server(database, &server).await.unwrap();
    let short = ServerRef::parse(&server.id.short()).unwrap();
    for named in [ServerRef::Id(server.id), short] {
        let found = servers::find(database, &named).await.unwrap().unwrap();
        assert_eq!(
            (found.name, found.state, found.disk, found.limits),
            (
                server.name.clone(),
                server.state,
                server.disk.clone(),
                server.limits
            )
        );
    }
    // Another server with the same first digits would have no unique short identifier.
    let mut bytes = *server.id.0.as_bytes();
    bytes[15] ^= 1;
    let twin = Server {
        id: ServerId(Uuid::from_bytes(bytes)),
        ..fixture.new_server()
    };
    let refused = fixtures::server(database, &twin).await;
    let Err(Error::Conflict { constraint }) = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(constraint, "servers_identifier");
    let orphan = Server {
        owner: Some(UserId(Uuid::new_v4())),
        ..fixture.new_server()
    };
    let refused = fixtures::server(database, &orphan).await;
    assert!(matches!(refused, Err(Error::Missing { .. })), "{refused:?}");

    let named = ServerRef::Id(server.id);
    let someone = UserId(Uuid::new_v4());
    fixtures::user(database, someone, "someone@example.com", false)
        .await
        .unwrap();
    let standing = async |user: UserId, is_admin: bool| {
        let admin = format!(
            "UPDATE users SET is_admin = {is_admin} WHERE id = '{}'",
            user.0
        );
        fixture.raw.query(&admin).await;
        let key = fixture.key_of(user).await;
        let context = fixture.look_up(&key, Some(&named)).await.unwrap();
        context.server.map(|(_, standing)| standing)
    };
    assert_eq!(
        standing(fixture.owner, false).await,
        Some(ServerAccess::Owner)
    );
    assert_eq!(standing(someone, false).await, None);
    assert_eq!(standing(someone, true).await, Some(ServerAccess::Admin));
    let permissions = [Permission::Read, Permission::Restore];
    fixtures::subuser(database, server.id, someone, &permissions)
        .await
        .unwrap();
    assert_eq!(
        standing(someone, false).await,
        Some(ServerAccess::Subuser(permissions.into()))
    );
    let listed = subusers::list(database, server.id).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].email.as_str(), &listed[0].permissions[..]),
        ("someone@example.com", &permissions[..])
    );
    fixtures::subuser(database, server.id, someone, &[])
        .await
        .unwrap();
    assert_eq!(standing(someone, false).await, None);
    let missing =
        fixtures::subuser(database, ServerId(Uuid::new_v4()), someone, &permissions).await;
    assert!(matches!(missing, Err(Error::Missing { .. })), "{missing:?}");

    let other = fixture.server().await;
    let all: Vec<ServerId> = servers::list(database)
        .await
        .unwrap()
        .into_iter()
        .map(|server| server.id)
        .collect();
    assert_eq!(all, [server.id, other]);
    let here = servers::on_node(database, &node(), None, 10).await.unwrap();
    assert_eq!(here.len(), 2);
    let elsewhere = NodeName::parse("elsewhere").unwrap();
    let there = servers::on_node(database, &elsewhere, None, 10)
        .await
        .unwrap();
    assert_eq!(there, []);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_two_servers_of_a_node_share_a_directory_or_lie_in_each_other() {
    let fixture = Fixture::new().await;
    let save = async |directory: &str, node: NodeName| {
        let server = Server {
            directory: directory.into(),
            node,
            ..fixture.new_server()
        };
        fixtures::server(&fixture.database, &server).await
    };
    save("/srv/games/one", node()).await.unwrap();
    for taken in [
        "/srv/games/one",
        "/srv/games/one/world",
        "/srv/games",
        "/srv",
    ] {
        let refused = save(taken, node()).await;
        let Err(Error::Conflict { constraint }) = &refused else {
            panic!("{taken}: {refused:?}");
        };
        assert_eq!(constraint, servers::DIRECTORY_TAKEN, "{taken}");
        let elsewhere = NodeName::parse(&format!("n{}", taken.len())).unwrap();
        save(taken, elsewhere).await.unwrap();
    }
    for free in [
        "/srv/games/one2",
        "/srv/games/on",
        "/srv/games/one-old",
        "/srv/game",
    ] {
        save(free, node()).await.unwrap();
    }
    fixture.end().await;
}
