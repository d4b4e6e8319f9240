//! What an end showed, and whether it is known whose end it is.

use std::sync::Arc;

use crate::connection::{Connection, OwnerSource};
use crate::event::Role;
use crate::publication::{Chains, in_one_hand};
use crate::record::{
    CertificateRecord, ConnectionRecord, EndpointRecord, IdentityFitName, IdentityFitRecord, SideName,
    WorkloadRecord,
};
use crate::verdict::{self, Presence};

/// Whether the owner is a guess: whoever listens may never have had the socket, such as the service manager that
/// activates others.
pub(super) fn is_guess(end: &EndpointRecord) -> bool {
    end.owner_source.as_deref() == Some(OwnerSource::Listener.as_str())
}

/// Whether the server's certificate was seen, and its owner is a guess.
pub(super) fn guesses_presenter(connection: &Connection) -> bool {
    let owner = connection.server.as_ref().and_then(|side| side.owner());
    owner.is_some_and(|owner| owner.source == OwnerSource::Listener)
        && !connection.chain(Role::Server).is_empty()
}

/// What a rule says of a workload that is a guess is not known to be true.
pub(super) fn doubt(fit: &mut Option<Arc<IdentityFitRecord>>) {
    let judged = |fit: &&mut Arc<IdentityFitRecord>| {
        matches!(fit.status, IdentityFitName::Fits | IdentityFitName::DoesNotFit)
    };
    if let Some(fit) = fit.as_mut().filter(judged) {
        let unknown = IdentityFitRecord {
            status: IdentityFitName::Unknown,
            rule: None,
            expected: Vec::new(),
            reason: Some("workload_guessed".into()),
        };
        *fit = Arc::new(unknown);
    }
}

/// The certificate that a workload of this host showed on this connection itself, and that it cannot have shown to itself.
pub(super) fn presentation<'a>(
    chains: &'a Chains,
    record: &'a ConnectionRecord,
    side: SideName,
) -> Option<(&'a CertificateRecord, &'a WorkloadRecord)> {
    let (chain, end) = match side {
        SideName::Client => (&chains.client, &record.client),
        SideName::Server => (&chains.server, &record.server),
    };
    let leaf = chain.first().filter(|leaf| end.certificates.first() == Some(&leaf.sha256))?;
    let workload = end.workload.as_deref().filter(|_| !is_guess(end))?;
    let counts = verdict::presence(record, side) == Some(Presence::Shown) && !in_one_hand(record);
    counts.then_some((leaf, workload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_rule_says_of_a_guess_is_unknown() {
        let fit = |status| {
            let (rule, expected, reason) = (Some("any".into()), vec!["a".to_owned()], None);
            Some(Arc::new(IdentityFitRecord { status, rule, expected, reason }))
        };
        for status in [IdentityFitName::Fits, IdentityFitName::DoesNotFit] {
            let mut judged = fit(status);
            doubt(&mut judged);
            let judged = judged.unwrap();
            assert_eq!(
                (judged.status, judged.reason.as_deref()),
                (IdentityFitName::Unknown, Some("workload_guessed"))
            );
        }
        let (mut without, mut none) = (fit(IdentityFitName::NoRule), None);
        doubt(&mut without);
        doubt(&mut none);
        assert_eq!((without, none), (fit(IdentityFitName::NoRule), None));
    }
}
