//! Gauges of which the label sets come and go: certificates that end, identities that reach far. Names of workloads and identities
//! are chosen by others: each list has a bound, what has no room is a number beside it, and a name is harmless and cut.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::names::Description;
use super::{Metrics, gauge, labels};
use crate::display::display_safe;
use crate::publication::{Expiring, Widest};
use crate::record::{Authentication, Scope};

/// Certificates that are told: the pods of a node have two each, and each takes two series.
pub const MAX_CERTIFICATES: usize = 256;
/// Identities that are told: those that reach farther than all others are a handful.
pub const MAX_IDENTITIES: usize = 32;
/// Bytes of a name; a path can have 4 KiB.
const MAX_NAME: usize = 256;
/// Ends a name that was cut.
const CUT: &str = "…";
/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

type Rows<const N: usize> = BTreeMap<[String; N], i64>;

/// Gauges by `N` label values, replaced as a whole.
#[derive(Debug, Clone)]
pub(super) struct Listed<const N: usize> {
    names: [&'static str; N],
    rows: Arc<RwLock<Rows<N>>>,
}

impl<const N: usize> Listed<N> {
    pub(super) fn new(description: Description) -> Self {
        debug_assert_eq!(description.labels.len(), N, "{} has other labels", description.name);
        let names = std::array::from_fn(|index| description.labels.get(index).copied().unwrap_or_default());
        Listed { names, rows: Arc::default() }
    }

    fn replace(&self, rows: Rows<N>) {
        *self.rows.write().unwrap_or_else(PoisonError::into_inner) = rows;
    }
}

impl<const N: usize> EncodeMetric for Listed<N> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        for (values, value) in rows.iter() {
            let labels: [(&str, &str); N] = std::array::from_fn(|index| (self.names[index], &*values[index]));
            ConstGauge::new(*value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

impl Metrics {
    /// The certificates that workloads present now, at most [`MAX_CERTIFICATES`].
    pub fn certificates_expiring(&self, expiring: &Expiring) {
        let (mut ends, mut lives) = (Rows::new(), Rows::new());
        for certificate in &expiring.certificates {
            let (begin, end) = (certificate.not_before.0 / SECOND, certificate.not_after.0 / SECOND);
            let role = certificate.role.as_str().to_owned();
            let labels = [name(&certificate.workload), role, name(&certificate.identity)];
            // Names that were cut can be the same: the first one stands, of which the least is left.
            ends.entry(labels.clone()).or_insert(end);
            lives.entry(labels).or_insert(end.saturating_sub(begin));
        }
        self.inner.certificate_expiry.replace(ends);
        self.inner.certificate_lifetime.replace(lives);
        self.inner.certificate_expiry_left_out.set(gauge(expiring.left_out));
    }

    /// The identities that reached most, at most [`MAX_IDENTITIES`].
    pub fn blast_radius(&self, widest: &Widest) {
        let mut rows = Rows::new();
        for reaching in &widest.identities {
            let servers = i64::try_from(reaching.servers).unwrap_or(i64::MAX);
            rows.entry([name(&reaching.identity)]).or_insert(servers);
        }
        self.inner.identity_blast_radius.replace(rows);
        self.inner.identity_blast_radius_left_out.set(gauge(widest.left_out));
    }

    /// How many edges there are, by scope and by what was established on them last.
    pub fn edges(&self, edges: &BTreeMap<(Scope, Authentication), u64>) {
        for (scope, answer) in labels::edges() {
            let count = edges.get(&(scope, answer)).copied().unwrap_or_default();
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.inner.edges.of([scope.as_str(), answer.as_str()]).set(count);
        }
    }

    /// Less was established on an edge than before.
    pub fn regression(&self, scope: Scope, from: Authentication, to: Authentication) {
        self.inner.edge_regressions.of([scope.as_str(), from.as_str(), to.as_str()]).inc();
    }
}

fn name(text: &str) -> String {
    let safe = display_safe(text);
    if safe.len() <= MAX_NAME {
        return safe.into_owned();
    }
    [&safe[..safe.floor_char_boundary(MAX_NAME - CUT.len())], CUT].concat()
}
