//! `holdfast admin key create|revoke|list`.

use chrono::{Duration, Utc};
use clap::Subcommand;
use ipnet::IpNet;
use serde_json::{Value, json};

use holdfast_db::{Database, keys};
use holdfast_domain::Profile;
use holdfast_domain::key::{ApiKey, KeyIdentifier, KeyKind, KeyToken};

use super::{change, date, find_user};
use crate::failure::Failure;

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key; it is shown this once
    Create {
        /// Address of its user
        #[arg(long, value_name = "EMAIL")]
        user: String,
        /// The API that it opens
        #[arg(long, value_name = "KIND", default_value = "client", value_parser = ["client", "application"])]
        kind: String,
        /// The dialect in which it is answered
        #[arg(long, value_name = "PROFILE", default_value = "documented", value_parser = ["documented", "pterodactyl"])]
        profile: String,
        /// A note
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
        /// Network or address it may be used from; may be given more than once; none means any
        #[arg(long, value_name = "CIDR", value_parser = network)]
        allowed_ip: Vec<IpNet>,
        /// How long it is good, such as 90d, 12h or 30m; for ever if not given
        #[arg(long, value_name = "TIME", value_parser = lifetime)]
        expires_in: Option<Duration>,
    },
    /// Remove a key for ever
    Revoke {
        /// The key's first sixteen characters
        identifier: String,
    },
    /// List keys, without their secrets
    List {
        /// Address of a user: only that user's
        #[arg(long, value_name = "EMAIL")]
        user: Option<String>,
    },
}

pub(super) async fn run(database: &Database, command: KeyCommand) -> Result<Value, Failure> {
    match command {
        KeyCommand::Create {
            user,
            kind,
            profile,
            description,
            allowed_ip,
            expires_in,
        } => {
            let user = find_user(database, &user).await?;
            let kind = KeyKind::parse(&kind).unwrap_or_default();
            let now = Utc::now();
            let mut random = [0; 43];
            rand::fill(&mut random);
            let token = KeyToken::generate(kind, &random);
            let key = ApiKey {
                identifier: token.identifier().clone(),
                user: user.id,
                kind,
                profile: Profile::parse(&profile).unwrap_or_default(),
                secret_hash: token.secret_hash(),
                description,
                allowed_ips: allowed_ip,
                expires_at: expires_in.map(|lifetime| now + lifetime),
                created_at: now,
            };
            let mut change = change::begin(database, "key create").await?;
            keys::create(&mut change, &key).await?;
            change.commit(Some(key.identifier.as_str()), None).await?;
            Ok(json!({
                "identifier": key.identifier.as_str(),
                "token": token.reveal(),
                "kind": key.kind.as_str(),
                "profile": key.profile.as_str(),
                "expires_at": key.expires_at.map(date),
            }))
        }
        KeyCommand::Revoke { identifier } => {
            let missing = || {
                Failure::new(format!(
                    "there is no key `{identifier}`: `holdfast admin key list` shows them"
                ))
            };
            let parsed = KeyIdentifier::parse(&identifier).ok_or_else(missing)?;
            let mut change = change::begin(database, "key revoke").await?;
            if !keys::revoke(&mut change, &parsed).await? {
                return Err(missing());
            }
            change.commit(Some(parsed.as_str()), None).await?;
            Ok(json!({ "identifier": identifier, "revoked": true }))
        }
        KeyCommand::List { user } => {
            let keys = keys::list(database, user.as_deref()).await?;
            Ok(keys
                .into_iter()
                .map(|found| {
                    json!({
                        "identifier": found.key.identifier.as_str(),
                        "user": found.email,
                        "kind": found.key.kind.as_str(),
                        "profile": found.key.profile.as_str(),
                        "description": found.key.description,
                        "allowed_ips": found.key.allowed_ips,
                        "expires_at": found.key.expires_at.map(date),
                        "created_at": date(found.key.created_at),
                    })
                })
                .collect())
        }
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| "not an address, nor a network such as 10.0.0.0/8".to_owned())
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let advice = || "not a time such as 90d, 12h or 30m".to_owned();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let minutes = match &text[digits.len()..] {
        "d" => 24 * 60,
        "h" => 60,
        "m" => 1,
        _ => return Err(advice()),
    };
    let number: i64 = digits.parse().map_err(|_| advice())?;
    // A hundred years: beyond that, dates end.
    let total = number
        .checked_mul(minutes)
        .filter(|total| (1..=100 * 366 * 24 * 60).contains(total));
    Ok(Duration::minutes(total.ok_or_else(advice)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_days_hours_or_minutes() {
        for (text, minutes) in [
            ("90d", Some(90 * 24 * 60)),
            ("12h", Some(720)),
            ("30m", Some(30)),
            ("0m", None),
            ("-1d", None),
            ("90", None),
            ("d", None),
            ("1w", None),
            ("9999999999999999999d", None),
            ("999999999999d", None),
            ("1d1", None),
            ("é", None),
        ] {
            assert_eq!(
                lifetime(text).ok().map(|time| time.num_minutes()),
                minutes,
                "{text}"
            );
        }
    }
}
