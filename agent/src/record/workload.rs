//! What processes belong to, and `countersign.workload/1`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Authentication, CERTIFICATE_SCHEMA, CertificateRecord, IdentityFitName, Scope, SubjectAlternativeNames,
    Text, VerificationName, WallTime,
};

/// What a process belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct WorkloadRecord {
    /// `systemd` `kubernetes` `container` `executable` `kernel`.
    pub kind: Text,
    /// Unit, `namespace/pod`, container's name (else the first 12 digits of its id), or executable.
    pub name: String,
    /// Kubernetes.
    pub namespace: Option<String>,
    /// Kubernetes.
    pub pod: Option<String>,
    /// Container name or id.
    pub container: Option<String>,
    /// Image name.
    pub image: Option<String>,
    /// systemd unit, escapes kept.
    pub unit: Option<String>,
    /// Kubernetes.
    pub service_account: Option<String>,
    /// Innermost systemd slice.
    #[serde(default)]
    pub slice: Option<String>,
    /// Whose systemd manager runs the unit; null for the system's.
    #[serde(default)]
    pub unit_user: Option<String>,
    /// `docker` `podman` `containerd` `crio` `runc` `crun`…
    #[serde(default)]
    pub runtime: Option<Text>,
    /// Of the container, in full.
    #[serde(default)]
    pub container_id: Option<String>,
    /// Kubernetes.
    #[serde(default)]
    pub pod_uid: Option<String>,
    /// Why names that such a workload has are missing here.
    #[serde(default)]
    pub unknown: Option<Text>,
}

/// Whose something is, and what for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct LabelsRecord {
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is for.
    pub purpose: Option<String>,
    /// `production`, `staging` …
    pub environment: Option<String>,
}

/// Whether a certificate is one that the workload may present.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdentityFitRecord {
    /// The answer.
    pub status: IdentityFitName,
    /// The rule that gave it: its selector.
    pub rule: Option<Arc<str>>,
    /// The identities that the rule lets this workload present.
    pub expected: Vec<String>,
    /// Why it is `unknown`.
    pub reason: Option<Text>,
}

/// Value of [`KnownWorkloadRecord::schema`].
pub const WORKLOAD_SCHEMA: &str = "countersign.workload/1";

/// A workload that had connections on this host since the daemon's start, with what they said of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnownWorkloadRecord {
    /// [`WORKLOAD_SCHEMA`].
    pub schema: Text,
    /// Names it among the workloads of this host, see [`WorkloadRecord::key`].
    pub key: String,
    /// Host name.
    pub host: Option<String>,
    /// As the last connection named it.
    pub workload: Arc<WorkloadRecord>,
    /// Whose it is, by the file of owners that is in force.
    pub labels: Option<Arc<LabelsRecord>>,
    /// The process that owned an end of it last.
    pub process: Option<LastProcessRecord>,
    /// Paths of its executables, at most [`KnownWorkloadRecord::MAX_EXECUTABLES`].
    pub executables: Vec<String>,
    /// Names of its users, else their ids, at most [`KnownWorkloadRecord::MAX_USERS`].
    pub users: Vec<String>,
    /// When its first connection was reported.
    pub first_seen: WallTime,
    /// When one of its connections was reported or ended last.
    pub last_seen: WallTime,
    /// Connections of which the last word is not said.
    pub open_connections: u64,
    /// Connections in which it was the client.
    pub client: RoleRecord,
    /// Connections in which it was the server.
    pub server: RoleRecord,
    /// Its connections by scope.
    pub scopes: BTreeMap<Scope, u64>,
    /// Its connections by finding.
    pub findings: BTreeMap<Text, u64>,
    /// Leaves that it presented, the latest first, at most [`KnownWorkloadRecord::MAX_CERTIFICATES`].
    pub certificates: Vec<PresentedRecord>,
    /// What the lists above have no room for.
    pub left_out: LeftOutRecord,
}

impl KnownWorkloadRecord {
    /// Executables that are named: containers and sessions run a handful.
    pub const MAX_EXECUTABLES: usize = 8;
    /// Users that are named: a service has one, a session scope a few.
    pub const MAX_USERS: usize = 8;
    /// Leaves that are named: one or two per role, and those that they replaced.
    pub const MAX_CERTIFICATES: usize = 8;

    /// Both roles, with their names.
    pub fn roles(&self) -> [(&'static str, &RoleRecord); 2] {
        [("client", &self.client), ("server", &self.server)]
    }
}

/// A process, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastProcessRecord {
    /// In the initial PID namespace.
    pub pid: u32,
    /// Clock ticks since boot.
    pub start_time: u64,
    /// Of the leader.
    pub comm: String,
}

/// Connections in one role.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RoleRecord {
    /// All.
    pub connections: u64,
    /// By what was established; what did not occur is left out.
    pub authentication: BTreeMap<Authentication, u64>,
    /// Those of which something is unknown, by reason.
    pub unknown: BTreeMap<Text, u64>,
}

/// A leaf that a workload presented.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PresentedRecord {
    /// Lower-case hex SHA-256 of the DER.
    pub sha256: String,
    /// The same of the SubjectPublicKeyInfo.
    pub spki_sha256: Option<String>,
    /// As connections name it.
    pub identity: Option<String>,
    /// As in `countersign.certificate/1`, as are the following.
    pub spiffe_id: Option<String>,
    /// Subject alternative names.
    pub san: SubjectAlternativeNames,
    /// RFC 4514.
    pub subject: Option<String>,
    /// RFC 4514.
    pub issuer: Option<String>,
    /// Validity.
    pub not_before: Option<WallTime>,
    /// Validity.
    pub not_after: Option<WallTime>,
    /// Names of it that are not listed, for want of room.
    pub names_left_out: u32,
    /// Connections in which it was presented by the client.
    pub client: u64,
    /// Connections in which it was presented by the server.
    pub server: u64,
    /// What peers on this host did about it; peers of which nothing is known are left out.
    pub verification: BTreeMap<VerificationName, u64>,
    /// What could not be read of it.
    pub parse_error: Option<String>,
    /// Whether the workload may present it, by the rules that are in force.
    pub identity_fit: Option<Arc<IdentityFitRecord>>,
    /// First connection with it.
    pub first_seen: WallTime,
    /// Last one.
    pub last_seen: WallTime,
}

impl PresentedRecord {
    /// The certificate, as far as it is remembered: what it may name beyond that is said to be unread.
    pub fn leaf(&self) -> CertificateRecord {
        let is_cut = self.names_left_out > 0 || self.spki_sha256.is_none();
        let cut = is_cut.then(|| "not all that it names is remembered".to_owned());
        CertificateRecord {
            schema: CERTIFICATE_SCHEMA.to_owned(),
            sha256: self.sha256.clone(),
            spki_sha256: self.spki_sha256.clone(),
            subject: self.subject.clone(),
            issuer: self.issuer.clone(),
            not_before: self.not_before,
            not_after: self.not_after,
            san: self.san.clone(),
            spiffe_id: self.spiffe_id.clone(),
            parse_error: self.parse_error.clone().or(cut),
            ..CertificateRecord::default()
        }
    }
}

/// What was given up for want of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LeftOutRecord {
    /// Connections by executables that are not listed.
    pub executables: u64,
    /// Connections by users that are not listed.
    pub users: u64,
    /// Certificates that were forgotten, or never listed.
    pub certificates: u64,
}

impl WorkloadRecord {
    /// What tells workloads apart: pods under one service account are one, where that is known; all others are what they are called.
    pub fn key(&self) -> String {
        let mut key = String::new();
        self.write_key(&mut key);
        key
    }

    /// Appends [`WorkloadRecord::key`].
    pub fn write_key(&self, key: &mut String) {
        let parts = match (&*self.kind, &self.namespace, &self.service_account) {
            ("kubernetes", Some(namespace), Some(account)) => ["service_account:", namespace, "/", account],
            ("kubernetes", ..) => ["pod:", &self.name, "", ""],
            (kind, ..) => [kind, ":", &self.name, ""],
        };
        parts.into_iter().for_each(|part| key.push_str(part));
    }

    /// What somebody may call it: its name, unit, pod and container, in full.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let further = [&self.unit, &self.pod, &self.container].into_iter();
        std::iter::once(self.name.as_str()).chain(further.filter_map(|further| further.as_deref()))
    }

    /// Whether somebody who says this name may mean it.
    pub fn has_name(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    /// The container's name; none where only its id is known.
    pub fn container_name(&self) -> Option<&str> {
        let name = self.container.as_deref()?;
        let is_id = self.container_id.as_ref().is_some_and(|id| id.starts_with(name));
        (self.unknown.is_none() || !is_id).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_joins_pods_of_an_account_and_sets_everything_else_apart() {
        let workload = |kind: &'static str, name: &str| WorkloadRecord {
            kind: kind.into(),
            name: name.into(),
            ..WorkloadRecord::default()
        };
        let pod = |name: &str, account: Option<&str>| WorkloadRecord {
            namespace: Some("prod".into()),
            pod: Some(name.into()),
            service_account: account.map(str::to_owned),
            ..workload("kubernetes", &format!("prod/{name}"))
        };
        let of_user = |user: &str| WorkloadRecord {
            unit_user: Some(user.into()),
            ..workload("systemd", &format!("{user}/a.service"))
        };
        assert_eq!(pod("api-1", Some("api")).key(), pod("api-2", Some("api")).key());
        let all = [
            pod("api", None),
            pod("web", None),
            pod("api", Some("api")),
            pod("api", Some("web")),
            workload("systemd", "a.service"),
            of_user("1000"),
            of_user("1001"),
            workload("executable", "a.service"),
            workload("container", "web"),
        ];
        let keys: std::collections::BTreeSet<String> = all.iter().map(WorkloadRecord::key).collect();
        assert_eq!(keys.len(), all.len(), "{keys:?}");
    }
}
