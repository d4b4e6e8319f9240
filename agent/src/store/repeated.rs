//! What repeats of a connection, where it stands in the record: what makes it the same as another one's, and a copy of it with
//! blanks where each connection has its own values.
//!
//! Most of it is known already, so that it is looked up and not copied. All fields are named where they are hashed, so that a new
//! one is not forgotten: those that are not used are of a [`super::parts::Row`] or of holders.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::record::{ConnectionRecord, DirectionBytes, EndpointRecord, WallTime};

/// What was said of a connection: the record without its ends.
pub(super) struct Answer<'a>(pub &'a ConnectionRecord);

impl Answer<'_> {
    /// As the file has it.
    pub fn copy(&self) -> ConnectionRecord {
        let mut record = self.0.clone();
        (record.client, record.server) = (EndpointRecord::default(), EndpointRecord::default());
        record.id.clear();
        (record.revision, record.r#final, record.session_id) = (0, false, None);
        (record.opened, record.decided, record.closed) = (WallTime(0), None, None);
        (record.close_reason, record.bytes) = (None, None);
        record.cleartext_examined = DirectionBytes::default();
        record
    }
}

impl Hash for Answer<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let ConnectionRecord {
            schema,
            id: _,
            revision: _,
            r#final: _,
            session_id: _,
            host,
            host_id,
            boot_id,
            agent_version,
            source,
            file,
            opened: _,
            decided: _,
            closed: _,
            close_reason: _,
            scope,
            interface,
            client: _,
            server: _,
            observed_from,
            protocol,
            upgraded_from,
            encryption,
            authentication,
            evidence,
            confidence,
            credential_in_clear,
            cleartext_examined: _,
            capture_complete,
            capture_reason,
            tls,
            findings,
            authorization,
            policy_version,
            bytes: _,
        } = self.0;
        (schema, host, host_id, boot_id, agent_version, source, file, scope, interface).hash(state);
        (observed_from, protocol, upgraded_from, encryption, authentication, evidence).hash(state);
        (confidence, credential_in_clear, capture_complete, capture_reason, tls).hash(state);
        (findings, authorization, policy_version).hash(state);
    }
}

/// An end of connections, without its processes, without its port if that is a client's, and without its address if that is a visitor's.
pub(super) struct End<'a> {
    record: &'a EndpointRecord,
    address: &'a str,
    port: u16,
}

impl<'a> End<'a> {
    pub fn client(record: &'a EndpointRecord) -> Self {
        End { record, address: &record.address, port: 0 }
    }

    pub fn server(record: &'a EndpointRecord) -> Self {
        End { record, address: &record.address, port: record.port }
    }

    pub fn visitor(record: &'a EndpointRecord) -> Self {
        End { record, address: "", port: 0 }
    }

    /// As the file has it.
    pub fn copy(&self) -> EndpointRecord {
        let mut record = self.record.clone();
        self.address.clone_into(&mut record.address);
        record.port = self.port;
        record.translated.clear();
        (record.process, record.inherited_from) = (None, None);
        record.processes.clear();
        record
    }
}

impl Hash for End<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let EndpointRecord {
            address: _,
            port: _,
            dialled_address,
            dialled_port,
            translated: _,
            netns,
            process: _,
            process_unknown,
            processes: _,
            owner_source,
            workload,
            labels,
            certificates,
            identity,
            inherited_from: _,
            verification,
            trust,
            identity_fit,
        } = self.record;
        (self.port, self.address, dialled_address, dialled_port, netns, process_unknown, owner_source)
            .hash(state);
        (workload, labels, certificates, identity, verification, trust, identity_fit).hash(state);
    }
}

/// Who held the socket of an end.
pub(super) struct Holding<'a>(pub &'a EndpointRecord);

impl Hash for Holding<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let EndpointRecord { process, processes, .. } = self.0;
        process.hash(state);
        for holder in processes {
            (&holder.role, &holder.source).hash(state);
            // Mostly it is the owner, whose record is long.
            let is_owner = process.as_ref().is_some_and(|owner| Arc::ptr_eq(owner, &holder.process));
            (!is_owner).then_some(&holder.process).hash(state);
        }
    }
}
