//! Lists the objects and partial uploads of a local disk, one server per page.

use std::collections::VecDeque;
use std::sync::Arc;

use holdfast_domain::ServerId;

use super::LocalDisk;
use crate::error::Error;
use crate::object::{Object, PartialUpload};

/// A listing of a [`LocalDisk`].
#[derive(Debug)]
pub(crate) struct LocalListing {
    disk: Arc<LocalDisk>,
    /// The servers still to be listed; `None` before the root is read.
    servers: Option<VecDeque<ServerId>>,
}

impl LocalDisk {
    /// Lists one server, or all of them.
    pub(crate) fn list(self: &Arc<Self>, server: Option<ServerId>) -> LocalListing {
        LocalListing {
            disk: Arc::clone(self),
            servers: server.map(|server| [server].into()),
        }
    }
}

impl LocalListing {
    pub(crate) async fn next_page(&mut self) -> Result<Option<Vec<Object>>, Error> {
        match self.next_server().await? {
            Some(server) => self.disk.objects(server).await.map(Some),
            None => Ok(None),
        }
    }

    pub(crate) async fn next_partials(&mut self) -> Result<Option<Vec<PartialUpload>>, Error> {
        match self.next_server().await? {
            Some(server) => self.disk.partials(server).await.map(Some),
            None => Ok(None),
        }
    }

    async fn next_server(&mut self) -> Result<Option<ServerId>, Error> {
        let servers = match &mut self.servers {
            Some(servers) => servers,
            None => self.servers.insert(self.disk.servers().await?.into()),
        };
        Ok(servers.pop_front())
    }
}
