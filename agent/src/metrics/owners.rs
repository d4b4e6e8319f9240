//! Connections by whose they are. The one family of which label values come from outside, from the operator's file of owners:
//! bounded, and harmless to print.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::{MetricType, TypedMetric};

use super::labels::OTHER;
use super::names;
use crate::display::display_safe;
use crate::record::{Authentication, LabelsRecord, SideName};

/// Owners with their purposes and environments that are told apart: beyond, Prometheus has more series of this family than it is worth.
pub(super) const MAX_OWNERS: usize = 64;

type Counts = [[Counter; Authentication::ALL.len()]; SideName::ALL.len()];

/// Connections by owner, purpose, environment, role and authentication.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnedConnections {
    owners: Arc<RwLock<Owners>>,
}

#[derive(Debug, Default)]
struct Owners {
    /// By owner, then by purpose, then by environment.
    counts: BTreeMap<String, BTreeMap<String, BTreeMap<String, Counts>>>,
    /// How many there are, nobody and [`OTHER`] not counted.
    told_apart: usize,
}

impl OwnedConnections {
    /// Counts one end of a connection. What is not known is empty.
    pub(super) fn count(&self, labels: Option<&LabelsRecord>, role: SideName, answer: Authentication) {
        let owner = printable(labels.and_then(|labels| labels.owner.as_ref()));
        let purpose = printable(labels.and_then(|labels| labels.purpose.as_ref()));
        let environment = printable(labels.and_then(|labels| labels.environment.as_ref()));
        let owners = self.owners.read().unwrap_or_else(PoisonError::into_inner);
        let purposes = owners.counts.get(&*owner);
        let environments = purposes.and_then(|purposes| purposes.get(&*purpose));
        if let Some(counts) = environments.and_then(|environments| environments.get(&*environment)) {
            counts[role as usize][answer as usize].inc();
            return;
        }
        drop(owners);
        let mut owners = self.owners.write().unwrap_or_else(PoisonError::into_inner);
        let nobody = owner.is_empty() && purpose.is_empty() && environment.is_empty();
        let counts = match nobody || owners.told_apart < MAX_OWNERS {
            true => {
                owners.told_apart += usize::from(!nobody);
                owners.of([&owner, &purpose, &environment])
            }
            false => owners.of([OTHER; 3]),
        };
        counts[role as usize][answer as usize].inc();
    }

    /// The file of owners was read again: those that it does not name any more take no room. What counts begins anew.
    pub(super) fn forget(&self) {
        *self.owners.write().unwrap_or_else(PoisonError::into_inner) = Owners::default();
    }
}

fn printable(text: Option<&String>) -> Cow<'_, str> {
    text.map(|text| display_safe(text)).unwrap_or_default()
}

impl Owners {
    fn of(&mut self, [owner, purpose, environment]: [&str; 3]) -> &Counts {
        let purposes = self.counts.entry(owner.to_owned()).or_default();
        let environments = purposes.entry(purpose.to_owned()).or_default();
        environments.entry(environment.to_owned()).or_default()
    }

    fn each(&self) -> impl Iterator<Item = ([&str; 3], &Counts)> {
        let purposes = self.counts.iter().flat_map(|(owner, all)| all.iter().map(move |one| (owner, one)));
        purposes.flat_map(|(owner, (purpose, all))| {
            let labels = move |environment| [owner.as_str(), purpose.as_str(), environment];
            all.iter().map(move |(environment, counts)| (labels(environment), counts))
        })
    }
}

impl TypedMetric for OwnedConnections {
    const TYPE: MetricType = Counter::<u64>::TYPE;
}

impl EncodeMetric for OwnedConnections {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let names = names::OWNER_CONNECTIONS.labels;
        let owners = self.owners.read().unwrap_or_else(PoisonError::into_inner);
        for ([owner, purpose, environment], counts) in owners.each() {
            for (role, counts) in SideName::ALL.iter().zip(counts) {
                for (answer, counter) in Authentication::ALL.iter().zip(counts) {
                    // Most workloads have one role and few answers.
                    if counter.get() > 0 {
                        let values = [owner, purpose, environment, role.as_str(), answer.as_str()];
                        let labels: Vec<(&str, &str)> = names.iter().copied().zip(values).collect();
                        counter.encode(encoder.encode_family(&labels)?)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
