//! An attacker on the node: a process of another user, to whom a server's directory belongs.
//!
//! It renames, links, mounts, fills, locks and floods at random while the server is backed up and
//! restored. The kernel's rules bind it; the service runs as root. At the end, an audit checks that
//!
//! - nothing outside of the directory was opened or changed, and no archive has a file of others;
//! - a completed restore put exactly the archive's files into place, and a failed one changed none;
//! - the attacker never entered a folder of the service;
//! - another server was backed up and restored meanwhile, byte by byte;
//! - the service lives, with bounded memory, no job, no leftover and no open descriptor.
//!
//! `scripts/attack` runs it longer. The attacks follow from a seed, but not their moments.

mod audit;
mod campaign;
mod dice;
mod files;
mod flood;
mod program;
mod staging;
mod world;

use std::time::{Duration, Instant};

use serde_json::Value;

use self::audit::Outside;
use self::campaign::Campaign;
use self::dice::Dice;
use self::world::World;
use crate::support::{files as trees, is_root, skipped};

/// The longest time for a backup or restore of the server that is not attacked.
const SLOWEST: Duration = Duration::from_secs(45);

#[tokio::test(flavor = "multi_thread")]
async fn an_attacker_in_a_server_directory_gets_nothing_and_stops_nothing() {
    if !is_root() {
        return skipped("only root may start a process of another user");
    }
    let seed = setting("HOLDFAST_ATTACK_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    let seconds = setting("HOLDFAST_ATTACK_SECONDS").unwrap_or(10);
    let Some(world) = World::build(seed).await else {
        return;
    };
    report(&format!("seed {seed}, {seconds} s"));
    let clean = [&world.plain, &world.mounted].map(|server| trees::tree(&server.directory));
    let mut first = Vec::new();
    for server in [&world.plain, &world.mounted, &world.bystander] {
        first.push(campaign::completed_backup(server).await);
    }
    let descriptors = world.service.open_files().len();
    let outside = Outside::watch(&world.outside());
    let until = Instant::now() + Duration::from_secs(seconds);

    let attacked = |server, user: usize| {
        let attacker = world.attack(server, seed + user as u64, user);
        let dice = Dice::new(seed, &format!("campaign {user}"));
        Campaign::new(&world, server, attacker, dice).run(until)
    };
    let undisturbed = campaign::undisturbed(&world, until, Dice::new(seed, "bystander"));
    let (plain, mounted, bystander) = tokio::join!(
        attacked(&world.plain, 0),
        attacked(&world.mounted, 1),
        undisturbed
    );
    for (name, figures) in [
        ("plain", &plain),
        ("mounted", &mounted),
        ("bystander", &bystander),
    ] {
        report(&format!("{name}: {figures}"));
        assert!(figures.backups > 0, "{name}: no backup was completed");
    }
    assert!(bystander.slowest < SLOWEST, "{:?}", bystander.slowest);

    // Nothing that the attackers left stops a restore of what was there before them.
    for ((server, backup), clean) in [&world.plain, &world.mounted]
        .into_iter()
        .zip(&first)
        .zip(clean)
    {
        campaign::restore(server, backup, true).await.unwrap();
        assert_eq!(trees::tree(&server.directory), clean);
    }
    outside.check();
    audit::check_service(&world, descriptors).await;
    let archives = plain.searched
        + mounted.searched
        + audit::check_secret(&world.archives(), "", &world.secret);
    report(&format!("{archives} archives without a secret"));
    stop(world).await;
}

async fn stop(mut world: World) {
    world.service.signal(rustix::process::Signal::TERM);
    let status = world.service.ended().await;
    assert!(status.success(), "{status}: {}", world.service.log());
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|error| panic!("{name}={text}: {error}")),
    )
}

#[expect(clippy::print_stderr, reason = "the figures of a run")]
fn report(line: &str) {
    eprintln!("{line}");
}

/// Reports what an attacker has done, and fails if it got what it must not get.
fn check_record(record: &Value) {
    report(&record["counts"].to_string());
    let breaches = record["breaches"].as_array().unwrap();
    assert!(breaches.is_empty(), "{breaches:?}");
}
