//! Counts the requests to the panel by their outcome.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// The label of a request to the panel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutcomeLabel {
    outcome: &'static str,
}

/// The requests to the panel.
pub(crate) type PanelCounts = Family<OutcomeLabel, Counter>;

/// Counts a request with the outcome `granted`, `refused` or `failed`.
pub(super) fn count(counts: &PanelCounts, outcome: &'static str) {
    counts.get_or_create(&OutcomeLabel { outcome }).inc();
}
