//! Metrics of disks: operations, errors and bytes.
//!
//! Labels hold the names of configured disks and constants of this file. They must never hold a
//! storage key or an error message, whose number has no limit.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use holdfast_domain::DiskName;

use crate::error::Error;

/// An operation on a disk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    /// The upload of an object.
    Upload,
    /// The read of an object.
    Read,
    /// The opening of an object as a file.
    Open,
    /// The query of an object's size.
    Size,
    /// The signing of a presigned URL.
    Link,
    /// The deletion of an object, or of all objects of a backup.
    Delete,
    /// The listing or removal of partial uploads.
    Sweep,
    /// The health check.
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
struct OperationLabels {
    disk: Arc<String>,
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    disk: Arc<String>,
    operation: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByteLabels {
    disk: Arc<String>,
    direction: &'static str,
}

/// The metrics of all disks of a process.
#[derive(Clone, Debug, Default)]
pub(crate) struct StorageMetrics {
    operations: Family<OperationLabels, Counter>,
    errors: Family<ErrorLabels, Counter>,
    bytes: Family<ByteLabels, Counter>,
}

impl StorageMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "storage_operations",
            "Operations on disks, successful or not",
            self.operations.clone(),
        );
        registry.register(
            "storage_errors",
            "Failed operations on disks, by reason",
            self.errors.clone(),
        );
        registry.register(
            "storage_bytes",
            "Bytes written to, read from and copied by disks, before encryption",
            self.bytes.clone(),
        );
    }

    /// Returns the metrics of one disk.
    pub(crate) fn for_disk(&self, disk: &DiskName) -> DiskMetrics {
        let disk = Arc::new(disk.to_string());
        let bytes = |direction| {
            let disk = Arc::clone(&disk);
            self.bytes
                .get_or_create_owned(&ByteLabels { disk, direction })
        };
        DiskMetrics(Arc::new(DiskCounters {
            written_bytes: bytes("written"),
            read_bytes: bytes("read"),
            copied_bytes: bytes("copied"),
            all: self.clone(),
            disk,
        }))
    }
}

/// The metrics of one disk.
#[derive(Clone, Debug)]
pub(crate) struct DiskMetrics(Arc<DiskCounters>);

#[derive(Debug)]
struct DiskCounters {
    disk: Arc<String>,
    all: StorageMetrics,
    written_bytes: Counter,
    read_bytes: Counter,
    copied_bytes: Counter,
}

impl DiskMetrics {
    /// Counts an operation, and its error if it failed. Returns the result.
    pub(crate) fn count<T>(
        &self,
        operation: Operation,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        let labels = OperationLabels {
            disk: Arc::clone(&self.0.disk),
            operation: operation.as_str(),
        };
        self.0.all.operations.get_or_create(&labels).inc();
        self.count_error(operation, result)
    }

    /// Counts the error of an operation that was counted before. Returns the result.
    pub(crate) fn count_error<T>(
        &self,
        operation: Operation,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        if let Err(error) = &result {
            let labels = ErrorLabels {
                disk: Arc::clone(&self.0.disk),
                operation: operation.as_str(),
                reason: error.reason(),
            };
            self.0.all.errors.get_or_create(&labels).inc();
        }
        result
    }

    pub(crate) fn add_written_bytes(&self, bytes: u64) {
        self.0.written_bytes.inc_by(bytes);
    }

    pub(crate) fn add_read_bytes(&self, bytes: u64) {
        self.0.read_bytes.inc_by(bytes);
    }

    pub(crate) fn add_copied_bytes(&self, bytes: u64) {
        self.0.copied_bytes.inc_by(bytes);
    }
}
