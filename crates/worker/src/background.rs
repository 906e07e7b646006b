//! Lets backups and verifications yield to the game servers of the node.
//!
//! Three things do that, and none needs a privilege:
//!
//! - Their threads have a low priority (`priority.rs`).
//! - The kernel first divides the processors between sessions, and only then between the threads of
//!   a session. So the weight of this process's session is lowered, too (`session_weight.rs`).
//! - Their threads rest while the node is under pressure (`pace.rs`, `pressure.rs`).
//!
//! Restores run at full speed, because a server is offline until its restore ends.

mod pace;
mod pressure;

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::context::Context;
use crate::lease::ActiveJob;
use crate::session_weight::WeightUse;

/// Lowers the weight of this process's session, and slows a job down while the node is under
/// pressure, until the result is dropped.
pub(crate) fn begin(context: &Arc<Context>, job: &Arc<ActiveJob>) -> impl Drop + use<> {
    let nice = context.options.priority.nice;
    Background {
        _weight: context.session_weight.begin_background(nice),
        pace: pace::start(context, job),
    }
}

struct Background {
    _weight: WeightUse,
    pace: Option<JoinHandle<()>>,
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(pace) = &self.pace {
            pace.abort();
        }
    }
}
