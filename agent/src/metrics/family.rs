//! A family whose label sets come in a stable order, so that the page can be compared.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::{MetricType, TypedMetric};

/// A counter of seconds.
pub(super) type Seconds = Counter<f64, AtomicU64>;

/// Metrics by `N` label values, all from enumerated sets.
#[derive(Debug)]
pub(super) struct Family<const N: usize, M> {
    names: [&'static str; N],
    metrics: Arc<RwLock<BTreeMap<[&'static str; N], M>>>,
}

impl<const N: usize, M> Clone for Family<N, M> {
    fn clone(&self) -> Self {
        Family { names: self.names, metrics: Arc::clone(&self.metrics) }
    }
}

impl<const N: usize, M: Clone + Default> Family<N, M> {
    pub(super) fn new(names: [&'static str; N]) -> Self {
        Family { names, metrics: Arc::default() }
    }

    /// The metric with these label values, which begins at zero.
    pub(super) fn of(&self, values: [&'static str; N]) -> M {
        let metrics = self.metrics.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(metric) = metrics.get(&values) {
            return metric.clone();
        }
        drop(metrics);
        let mut metrics = self.metrics.write().unwrap_or_else(PoisonError::into_inner);
        metrics.entry(values).or_default().clone()
    }
}

impl<const N: usize, M: TypedMetric> TypedMetric for Family<N, M> {
    const TYPE: MetricType = M::TYPE;
}

impl<const N: usize, M: EncodeMetric + TypedMetric> EncodeMetric for Family<N, M> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let metrics = self.metrics.read().unwrap_or_else(PoisonError::into_inner);
        for (values, metric) in metrics.iter() {
            let labels: [(&str, &str); N] = std::array::from_fn(|index| (self.names[index], values[index]));
            metric.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
