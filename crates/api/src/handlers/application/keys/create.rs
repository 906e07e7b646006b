//! `POST /keys`: makes a key. Its token is shown this once.

use actix_web::{HttpRequest, HttpResponse, web};
use ipnet::IpNet;

use holdfast_db::keys::{self, KeyOfUser};
use holdfast_db::users;
use holdfast_domain::key::{ApiKey, KeyKind, KeyToken};
use holdfast_domain::{Profile, UserRef};

use crate::auth::Operator;
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::Refusals;
use crate::openapi::application::CreateKeyBody;
use crate::operator_log;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::KeyObject;

/// The longest note about a key, in characters.
const DESCRIPTION_MAX: usize = 500;

/// Makes a key.
#[utoipa::path(
    post,
    path = "/api/application/keys",
    operation_id = "create_key",
    tag = "application",
    request_body(content = CreateKeyBody),
    responses((status = 201, description = "The key, with its token, which is shown this once", body = KeyObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn create(
    operator: Operator,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let mut fields = Fields::read(&request, payload, state.options.max_body_bytes).await?;
    let user = operator.owner(&state, &mut fields, "user").await?;
    fields.require("user", user.as_ref());
    let kind = fields.one_of("kind", &["client", "application"], KeyKind::parse);
    let profile = fields.one_of("profile", &["documented", "pterodactyl"], Profile::parse);
    let description = fields.text("description", DESCRIPTION_MAX);
    let says = "an address or a network such as 10.0.0.0/8";
    let allowed_ips = fields.list("allowed_ips", "ip", says, network);
    let now = (state.now)();
    let expires_at = fields.time("expires_at");
    if expires_at.is_some_and(|end| end <= now) {
        fields.refuse(
            "expires_at",
            "date",
            "The expires_at must lie in the future.",
        );
    }
    fields.check()?;
    let user = user.ok_or(ApiError::Internal)?;

    let kind = kind.unwrap_or_default();
    let mut random = [0; 43];
    rand::fill(&mut random);
    let token = KeyToken::generate(kind, &random);
    let key = ApiKey {
        identifier: token.identifier().clone(),
        user,
        kind,
        profile: profile.unwrap_or_default(),
        secret_hash: token.secret_hash(),
        description: description.unwrap_or_default(),
        allowed_ips: allowed_ips.unwrap_or_default(),
        expires_at,
        created_at: now,
    };
    let owner = users::find(&state.database, &UserRef::Id(user)).await?;
    let owner = owner.ok_or(ApiError::NotFound)?;
    let mut change = operator.begin(&state).await?;
    keys::create(&mut change, &key).await?;
    let subject = key.identifier.to_string();
    let found = KeyOfUser {
        key,
        is_admin: owner.is_admin,
        email: owner.email,
    };
    let shown_once = token.reveal();
    let answer = views::created(&views::application::key(&found, Some(shown_once)));
    operator_log::commit(change, Some(subject), answer).await
}

/// Reads a network; an address alone is one of its own.
fn network(text: &str) -> Option<IpNet> {
    let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).ok()
}
