//! What a configuration asks of connections, and its name in records.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::findings::hex;
use crate::config::Config;
use crate::verdict::Policy;

/// What is asked of connections.
pub fn policy(config: &Config) -> Policy {
    Policy {
        disabled: config.findings.disabled.clone(),
        exceptions: config.exceptions.iter().cloned().map(Arc::new).collect(),
        identities: config.identities.iter().cloned().map(Arc::new).collect(),
    }
}

/// Names what judges: the same for the same policy and networks.
pub fn policy_version(config: &Config) -> Arc<str> {
    let judged = format!("{:?} {:?}", policy(config), config.scope);
    hex(&Sha256::digest(judged)[..8]).into()
}
