//! The client API of the panel, as far as Holdfast asks it who a caller is.

use actix_web::web::ServiceConfig;
use serde::{Deserialize, Serialize};

/// The users, the keys and the owners of servers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ClientApiState {}

/// The routes under `/api/client`.
pub(super) fn routes(_config: &mut ServiceConfig) {}
