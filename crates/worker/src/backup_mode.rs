//! How much of a server a backup read and packed, and why, as labels of metrics.

/// How much of a server a backup has read and packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BackupMode {
    /// Every file was read and packed.
    Full(FullReason),
    /// Every file was read; what had not changed was taken from the previous archive.
    Reread(RereadReason),
    /// Only changed files were read.
    Reused,
}

/// Why a backup did not use a previous archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FullReason {
    /// There is none on the disk.
    First,
    /// The request asked for a full backup.
    Requested,
    /// The settings turn reuse off.
    Off,
    /// An archive of the server was found damaged or missing.
    Damaged,
    /// An earlier attempt of the job failed.
    Retry,
    /// The previous archive or its index can't be used: made by an earlier version, with other
    /// options, or unreadable.
    Unusable,
}

/// Why a backup has read files that seemed unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RereadReason {
    /// It was due.
    Schedule,
    /// The server was restored since.
    Restore,
}

impl BackupMode {
    /// Returns the labels of the mode and of its reason.
    pub(crate) fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::Full(reason) => ("full", reason.as_str()),
            Self::Reread(reason) => ("reread", reason.as_str()),
            Self::Reused => ("reused", ""),
        }
    }
}

impl FullReason {
    fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Requested => "requested",
            Self::Off => "off",
            Self::Damaged => "damaged",
            Self::Retry => "retry",
            Self::Unusable => "unusable",
        }
    }
}

impl RereadReason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Restore => "restore",
        }
    }
}
