//! The administrator who sends a request to the application API, and what the handlers load for it.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

use holdfast_db::jobs::Job;
use holdfast_db::operator_log::{Change, OperatorAction};
use holdfast_db::{jobs, servers, users};
use holdfast_domain::activity::RequestOrigin;
use holdfast_domain::key::{KeyKind, KeyToken};
use holdfast_domain::limit::ServerLoad;
use holdfast_domain::{JobId, Server, ServerId, ServerRef, TraceContext, UserId, UserRef};

use crate::auth::{Credentials, authenticate, bearer};
use crate::client_address;
use crate::error::ApiError;
use crate::input::Fields;
use crate::operator_log;
use crate::request_id;
use crate::state::ApiState;

/// The administrator who sent a request to the application API.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    user: UserId,
    token: KeyToken,
    address: Option<IpAddr>,
    trace: TraceContext,
    /// The request, as the operator log records it.
    action: OperatorAction,
}

impl FromRequest for Operator {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let context = authenticate(&request, KeyKind::Application).await?;
            if !context.key.is_admin {
                return Err(ApiError::Forbidden);
            }
            let user = context.key.api_key.user;
            let origin = RequestOrigin {
                user: Some(user),
                email: context.key.email,
                key: context.key.api_key.identifier.to_string(),
                address: client_address::of_request(&request),
            };
            Ok(Self {
                user,
                token: bearer(&request).ok_or(ApiError::InvalidCredentials)?,
                address: origin.address,
                trace: request_id::trace_of(&request),
                action: operator_log::attach_action(&request, origin),
            })
        })
    }
}

impl Operator {
    /// Begins a change. It must end with [`operator_log::commit`]. The key is checked again in this
    /// transaction. Another transaction that revokes it waits until this one ends, or comes first.
    ///
    /// # Errors
    /// If the key is no longer valid, or the database is unavailable.
    pub(crate) async fn begin_change(&self, state: &ApiState) -> Result<Change, ApiError> {
        let mut change = self.begin(state).await?;
        self.confirm(state, &mut change, None).await?;
        Ok(change)
    }

    /// Begins a change of users or keys. Locks all administrators first, so that two of them cannot
    /// wait for each other.
    ///
    /// # Errors
    /// As [`Operator::begin_change`].
    pub(crate) async fn begin_user_change(&self, state: &ApiState) -> Result<Change, ApiError> {
        let mut change = self.begin(state).await?;
        users::lock_admins(&mut change).await?;
        self.confirm(state, &mut change, None).await?;
        Ok(change)
    }

    /// Begins a change of a server. Locks the server, and returns it with its load.
    ///
    /// # Errors
    /// As [`Operator::begin_change`]. [`ApiError::NotFound`] if the server was deleted meanwhile.
    pub(crate) async fn begin_server_change(
        &self,
        state: &ApiState,
        server: ServerId,
    ) -> Result<(Change, Server, ServerLoad), ApiError> {
        let mut change = self.begin(state).await?;
        self.confirm(state, &mut change, Some(server)).await?;
        let locked = servers::lock_and_find(&mut change, server).await?;
        let (server, load) = locked.ok_or(ApiError::NotFound)?;
        Ok((change, server, load))
    }

    async fn begin(&self, state: &ApiState) -> Result<Change, ApiError> {
        let change = Change::begin(&state.database, self.action.clone()).await?;
        Ok(change.with_trace(self.trace))
    }

    async fn confirm(
        &self,
        state: &ApiState,
        change: &mut Change,
        server: Option<ServerId>,
    ) -> Result<(), ApiError> {
        let credentials = Credentials {
            user: self.user,
            token: &self.token,
            address: self.address,
        };
        let standing = credentials.lock(state, change, server).await?;
        if !standing.key.is_admin {
            return Err(ApiError::Forbidden);
        }
        Ok(())
    }

    /// Loads a server by its UUID or short identifier.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] if there is no such server, or it is being deleted.
    pub(crate) async fn server(&self, state: &ApiState, server: &str) -> Result<Server, ApiError> {
        let server = ServerRef::parse(server).ok_or(ApiError::NotFound)?;
        servers::find(&state.database, &server)
            .await?
            .ok_or(ApiError::NotFound)
    }

    /// Takes a field that contains the UUID or the email address of a user. Records a violation if
    /// there is no such user.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(crate) async fn user_field(
        &self,
        state: &ApiState,
        fields: &mut Fields,
        field: &str,
    ) -> Result<Option<UserId>, ApiError> {
        let expected = "a user's UUID or email address";
        let Some(user) = fields.parsed(field, "exists", expected, UserRef::parse) else {
            return Ok(None);
        };
        let found = users::find(&state.database, &user).await?;
        if found.is_none() {
            fields.add_violation(
                field,
                "exists",
                format!("The {field} is not an existing user."),
            );
        }
        Ok(found.map(|user| user.id))
    }

    /// Loads a user by UUID or email address.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] if there is no such user.
    pub(crate) async fn user(&self, state: &ApiState, user: &str) -> Result<users::User, ApiError> {
        let user = UserRef::parse(user).ok_or(ApiError::NotFound)?;
        users::find(&state.database, &user)
            .await?
            .ok_or(ApiError::NotFound)
    }

    /// Loads a job by its number.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] if there is no such job.
    pub(crate) async fn job(&self, state: &ApiState, job: &str) -> Result<Job, ApiError> {
        let is_number = !job.is_empty() && job.bytes().all(|byte| byte.is_ascii_digit());
        let number = job.parse().ok().filter(|_| is_number);
        let id = JobId(number.ok_or(ApiError::NotFound)?);
        jobs::find(&state.database, id)
            .await?
            .ok_or(ApiError::NotFound)
    }
}
