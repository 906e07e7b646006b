//! `POST /keys`: creates a key. Only this answer contains the token.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use ipnet::IpNet;

use holdfast_db::keys::{self, KeyOfUser};
use holdfast_db::users;
use holdfast_domain::key::{ApiKey, KeyKind, KeyToken};
use holdfast_domain::{Profile, UserId, UserRef, network};

use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::answers::Refusals;
use crate::openapi::application_bodies::CreateKeyBody;
use crate::operator::Operator;
use crate::operator_log;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::KeyObject;

/// The longest description, in characters.
const DESCRIPTION_MAX: usize = 500;

/// The fields of a request that creates a key.
pub(crate) struct KeyFields {
    user: UserId,
    kind: KeyKind,
    profile: Profile,
    description: String,
    allowed_ips: Vec<IpNet>,
    expires_at: Option<DateTime<Utc>>,
}

/// Creates a key.
#[utoipa::path(
    post,
    path = "/api/application/keys",
    operation_id = "create_key",
    tag = "application",
    request_body(content = CreateKeyBody),
    responses(
        (
            status = 201,
            description = "The key. Only this answer contains its token",
            body = KeyObject
        ),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn create(
    operator: Operator,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let fields = Fields::read(&request, payload).await?;
    let fields = KeyFields::take(&operator, &state, fields).await?;
    let user = users::find(&state.database, &UserRef::Id(fields.user)).await?;
    let user = user.ok_or(ApiError::NotFound)?;
    let (key, token) = generate(fields, (state.now)());

    let mut change = operator.begin_change(&state).await?;
    keys::create(&mut change, &key).await?;
    let subject = key.identifier.to_string();
    let key = KeyOfUser {
        api_key: key,
        is_admin: user.is_admin,
        email: user.email,
    };
    let answer = views::created(&views::application::key(&key, Some(token.reveal())));
    operator_log::commit(change, Some(subject), answer).await
}

impl KeyFields {
    async fn take(
        operator: &Operator,
        state: &ApiState,
        mut fields: Fields,
    ) -> Result<Self, ApiError> {
        let user = operator.user_field(state, &mut fields, "user").await?;
        Self::take_for_user(fields, user, (state.now)())
    }

    /// Takes all fields that can be read without the database.
    pub(crate) fn take_for_user(
        mut fields: Fields,
        user: Option<UserId>,
        now: DateTime<Utc>,
    ) -> Result<Self, ApiError> {
        fields.require("user", user.as_ref());
        let kind = fields.one_of("kind", &["client", "application"], KeyKind::parse);
        let profile = fields.one_of("profile", &["documented", "pterodactyl"], Profile::parse);
        let description = fields.text("description", DESCRIPTION_MAX);
        let expected = "an address or a network such as 10.0.0.0/8";
        let allowed_ips = fields.list("allowed_ips", "ip", expected, network::parse);
        let expires_at = fields.time("expires_at");
        if expires_at.is_some_and(|time| time <= now) {
            fields.add_violation(
                "expires_at",
                "date",
                "The expires_at must lie in the future.",
            );
        }
        fields.check()?;
        Ok(Self {
            user: user.ok_or(ApiError::Internal)?,
            kind: kind.unwrap_or_default(),
            profile: profile.unwrap_or_default(),
            description: description.unwrap_or_default(),
            allowed_ips: allowed_ips.unwrap_or_default(),
            expires_at,
        })
    }
}

/// Generates a key and its token.
pub(crate) fn generate(fields: KeyFields, now: DateTime<Utc>) -> (ApiKey, KeyToken) {
    let mut random = [0; 43];
    rand::fill(&mut random);
    let token = KeyToken::generate(fields.kind, &random);
    let key = ApiKey {
        identifier: token.identifier().clone(),
        user: fields.user,
        kind: fields.kind,
        profile: fields.profile,
        secret_hash: token.secret_hash(),
        description: fields.description,
        allowed_ips: fields.allowed_ips,
        expires_at: fields.expires_at,
        created_at: now,
    };
    (key, token)
}
