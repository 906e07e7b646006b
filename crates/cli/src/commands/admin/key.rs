//! `holdfast admin key create|revoke|list`.

use chrono::{Duration, Utc};
use clap::Subcommand;
use ipnet::IpNet;
use serde_json::{Value, json};

use holdfast_db::{Database, keys};
use holdfast_domain::Profile;
use holdfast_domain::key::{ApiKey, KeyIdentifier, KeyKind, KeyToken};

use super::{Outcome, UncommittedSecret, change, date, find_user};
use crate::error::CommandError;

/// The subcommands of `holdfast admin key`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Creates an API key, and prints it once
    Create {
        /// Email address of the user
        #[arg(long, value_name = "EMAIL")]
        user: String,
        /// API that the key gives access to
        #[arg(
            long,
            value_name = "KIND",
            default_value = "client",
            value_parser = ["client", "application"]
        )]
        kind: String,
        /// Format of the responses: that of Holdfast's documentation, or that of Pterodactyl
        #[arg(
            long,
            value_name = "PROFILE",
            default_value = "documented",
            value_parser = ["documented", "pterodactyl"]
        )]
        profile: String,
        /// Description of the key
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
        /// Network or address that may use the key; repeatable [default: any]
        #[arg(long, value_name = "CIDR", value_parser = network)]
        allowed_ip: Vec<IpNet>,
        /// Lifetime of the key, such as 90d, 12h or 30m [default: unlimited]
        #[arg(long, value_name = "TIME", value_parser = lifetime)]
        expires_in: Option<Duration>,
    },
    /// Deletes a key permanently
    Revoke {
        /// Identifier of the key: its first sixteen characters
        identifier: String,
    },
    /// Lists keys, without their secrets
    List {
        /// Email address of a user, to list only the keys of that user
        #[arg(long, value_name = "EMAIL")]
        user: Option<String>,
    },
}

pub(super) async fn run(database: &Database, command: KeyCommand) -> Result<Outcome, CommandError> {
    match command {
        KeyCommand::Create {
            user,
            kind,
            profile,
            description,
            allowed_ip,
            expires_in,
        } => {
            let now = Utc::now();
            let kind = KeyKind::parse(&kind).unwrap_or_default();
            let mut random = [0; 43];
            rand::fill(&mut random);
            let token = KeyToken::generate(kind, &random);
            let key = ApiKey {
                identifier: token.identifier().clone(),
                user: find_user(database, &user).await?.id,
                kind,
                profile: Profile::parse(&profile).unwrap_or_default(),
                secret_hash: token.secret_hash(),
                description,
                allowed_ips: allowed_ip,
                expires_at: expires_in.map(|lifetime| now + lifetime),
                created_at: now,
            };
            create(database, &key, &token).await
        }
        KeyCommand::Revoke { identifier } => Ok(revoke(database, &identifier).await?.into()),
        KeyCommand::List { user } => {
            let keys = keys::list(database, user.as_deref()).await?;
            let keys: Value = keys
                .into_iter()
                .map(|found| {
                    json!({
                        "identifier": found.api_key.identifier.as_str(),
                        "user": found.email,
                        "kind": found.api_key.kind.as_str(),
                        "profile": found.api_key.profile.as_str(),
                        "description": found.api_key.description,
                        "allowed_ips": found.api_key.allowed_ips,
                        "expires_at": found.api_key.expires_at.map(date),
                        "created_at": date(found.api_key.created_at),
                    })
                })
                .collect();
            Ok(keys.into())
        }
    }
}

async fn create(
    database: &Database,
    key: &ApiKey,
    token: &KeyToken,
) -> Result<Outcome, CommandError> {
    let mut change = change::begin(database, "key create").await?;
    keys::create(&mut change, key).await?;
    let id = key.identifier.to_string();
    let result = json!({
        "identifier": id,
        "token": token.reveal(),
        "kind": key.kind.as_str(),
        "profile": key.profile.as_str(),
        "expires_at": key.expires_at.map(date),
    });
    let noun = "key";
    let secret = UncommittedSecret {
        result,
        noun,
        id,
        change,
    };
    Ok(Outcome::Secret(Box::new(secret)))
}

async fn revoke(database: &Database, identifier: &str) -> Result<Value, CommandError> {
    let missing = || {
        CommandError::new(format!(
            "there is no key `{identifier}`: `holdfast admin key list` shows the keys"
        ))
    };
    let parsed = KeyIdentifier::parse(identifier).ok_or_else(missing)?;
    let mut change = change::begin(database, "key revoke").await?;
    if !keys::revoke(&mut change, &parsed).await? {
        return Err(missing());
    }
    change.commit(Some(parsed.as_str()), None).await?;
    Ok(json!({ "identifier": identifier, "revoked": true }))
}

fn network(text: &str) -> Result<IpNet, String> {
    let invalid = || "must be an address or a network such as 10.0.0.0/8".to_owned();
    holdfast_domain::network::parse(text).ok_or_else(invalid)
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let invalid = || "must be a time such as 90d, 12h or 30m".to_owned();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let minutes = match &text[digits.len()..] {
        "d" => 24 * 60,
        "h" => 60,
        "m" => 1,
        _ => return Err(invalid()),
    };
    let number: i64 = digits.parse().map_err(|_| invalid())?;
    // At most a hundred years. Later dates cannot be represented.
    let total = number
        .checked_mul(minutes)
        .filter(|total| (1..=100 * 366 * 24 * 60).contains(total));
    Ok(Duration::minutes(total.ok_or_else(invalid)?))
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
