//! Counts what disks are asked for and what they refuse, for whoever watches the service.
//!
//! Labels are names of disks, which the settings bound, and words of this file; never a key or a text of an error.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use holdfast_domain::DiskName;

use crate::error::Error;

/// What a disk is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    /// An object, from its first byte to the moment it is visible.
    Upload,
    /// A part of an object.
    Read,
    /// An object as a file.
    Open,
    /// An object's size.
    Size,
    /// A link to an object.
    Link,
    /// The end of one object, or of all those of a backup.
    Delete,
    /// What uploads have left behind, or the end of it.
    Sweep,
    /// How it is.
    Check,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Read => "read",
            Self::Open => "open",
            Self::Size => "size",
            Self::Link => "link",
            Self::Delete => "delete",
            Self::Sweep => "sweep",
            Self::Check => "check",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    disk: Arc<String>,
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    disk: Arc<String>,
    operation: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Moved {
    disk: Arc<String>,
    direction: &'static str,
}

/// What all disks of a process count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meters {
    operations: Family<Asked, Counter>,
    errors: Family<Failed, Counter>,
    bytes: Family<Moved, Counter>,
}

impl Meters {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "storage_operations",
            "What disks were asked for, by disk and operation, however it ended",
            self.operations.clone(),
        );
        registry.register(
            "storage_errors",
            "What disks refused or failed to do, by disk, operation and reason",
            self.errors.clone(),
        );
        registry.register(
            "storage_bytes",
            "Bytes written to and read from disks, before they are encrypted",
            self.bytes.clone(),
        );
    }

    /// The meter of one disk.
    pub(crate) fn of(&self, disk: &DiskName) -> Meter {
        let disk = Arc::new(disk.to_string());
        let moved = |direction| {
            let disk = Arc::clone(&disk);
            self.bytes.get_or_create_owned(&Moved { disk, direction })
        };
        Meter(Arc::new(Inner {
            written: moved("written"),
            read: moved("read"),
            meters: self.clone(),
            disk,
        }))
    }
}

/// Counts what one disk is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Meter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    disk: Arc<String>,
    meters: Meters,
    written: Counter,
    read: Counter,
}

impl Meter {
    /// Counts an operation by how it ended.
    pub(crate) fn count<T>(
        &self,
        operation: Operation,
        ended: Result<T, Error>,
    ) -> Result<T, Error> {
        let (disk, name) = (Arc::clone(&self.0.disk), operation.as_str());
        let asked = Asked {
            disk,
            operation: name,
        };
        self.0.meters.operations.get_or_create(&asked).inc();
        self.failed(operation, ended)
    }

    /// Counts a failure of an operation that is counted elsewhere.
    pub(crate) fn failed<T>(
        &self,
        operation: Operation,
        ended: Result<T, Error>,
    ) -> Result<T, Error> {
        if let Err(error) = &ended {
            let failed = Failed {
                disk: Arc::clone(&self.0.disk),
                operation: operation.as_str(),
                reason: error.reason(),
            };
            self.0.meters.errors.get_or_create(&failed).inc();
        }
        ended
    }

    pub(crate) fn written(&self, bytes: usize) {
        self.0.written.inc_by(bytes as u64);
    }

    pub(crate) fn read(&self, bytes: usize) {
        self.0.read.inc_by(bytes as u64);
    }
}
