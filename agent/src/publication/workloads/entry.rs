//! One workload, in numbers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::presented::{Presented, Room};
use crate::record::*;
use crate::verdict::Code;

/// Bytes of the path of an executable or the name of a user that are listed: a path may have 4 KiB.
const MAX_TEXT: usize = 256;
/// Ends a text that was cut.
const CUT: &str = "…";

/// One end of a connection.
pub(super) struct End<'a> {
    pub side: SideName,
    pub own: &'a EndpointRecord,
    pub peer: &'a EndpointRecord,
    pub leaf: Option<&'a CertificateRecord>,
}

/// What one end of a connection said of its workload: enough to take it back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    /// Id of the entry.
    pub workload: u64,
    side: SideName,
    authentication: Authentication,
    scope: Scope,
    /// Place of the reason in [`Role::unknown`].
    reason: Option<u8>,
    /// One bit per code.
    findings: u32,
    /// Id of the leaf.
    certificate: Option<u32>,
    verification: Option<VerificationName>,
}

#[derive(Debug)]
pub(super) struct Entry {
    workload: Arc<WorkloadRecord>,
    process: Option<Arc<ProcessRecord>>,
    executables: Vec<String>,
    users: Vec<String>,
    first_seen: WallTime,
    last_seen: WallTime,
    open: u64,
    roles: [Role; SideName::ALL.len()],
    scopes: [u64; Scope::ALL.len()],
    findings: [u64; Code::ALL.len()],
    presented: Presented,
    executables_left_out: u64,
    users_left_out: u64,
}

#[derive(Debug, Default)]
struct Role {
    connections: u64,
    authentication: [u64; Authentication::ALL.len()],
    /// By reason: names of this agent, some twenty.
    unknown: Vec<(Text, u64)>,
}

impl Entry {
    pub(super) fn new(workload: Arc<WorkloadRecord>, now: WallTime) -> Self {
        Entry {
            workload,
            process: None,
            executables: Vec::new(),
            users: Vec::new(),
            first_seen: now,
            last_seen: now,
            open: 0,
            roles: Default::default(),
            scopes: Default::default(),
            findings: Default::default(),
            presented: Presented::default(),
            executables_left_out: 0,
            users_left_out: 0,
        }
    }

    pub(super) fn key(&self) -> String {
        self.workload.key()
    }

    /// The time at which it was seen last, or the end of time while one of its connections is open.
    pub(super) fn unseen_since(&self) -> i64 {
        if self.open > 0 { i64::MAX } else { self.last_seen.0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.roles.iter().all(|role| role.connections == 0)
    }

    pub(super) fn open(&mut self) {
        self.open += 1;
    }

    pub(super) fn close(&mut self, now: WallTime) {
        self.open = self.open.saturating_sub(1);
        self.last_seen = self.last_seen.max(now);
    }

    /// Takes over how an end names it.
    pub(super) fn name(&mut self, workload: &Arc<WorkloadRecord>, end: &EndpointRecord, now: WallTime) {
        self.last_seen = self.last_seen.max(now);
        self.workload.clone_from(workload);
        let Some(process) = &end.process else { return };
        self.process = Some(Arc::clone(process));
        if let Some(path) = &process.executable {
            let list = (&mut self.executables, &mut self.executables_left_out);
            list_once(list, KnownWorkloadRecord::MAX_EXECUTABLES, path);
        }
        let mut digits = itoa::Buffer::new();
        let user = process.user.as_deref().unwrap_or_else(|| digits.format(process.uid));
        list_once((&mut self.users, &mut self.users_left_out), KnownWorkloadRecord::MAX_USERS, user);
    }

    /// Counts a connection. `id` is the entry's own.
    pub(super) fn count(
        &mut self,
        id: u64,
        connection: &ConnectionRecord,
        end: &End<'_>,
        now: WallTime,
        room: &mut Room,
    ) -> Answer {
        const { assert!(Code::ALL.len() <= 32, "one bit per code") };
        let role = &mut self.roles[end.side as usize];
        role.connections += 1;
        role.authentication[connection.authentication as usize] += 1;
        let reason = connection.evidence.reason.as_ref().and_then(|reason| role.unknown(reason));
        self.scopes[connection.scope as usize] += 1;
        let mut findings = 0;
        for code in connection.findings.iter().filter_map(|name| Code::from_name(name)) {
            // Two findings of one code, about two certificates, are one connection.
            if findings & 1 << code as u32 == 0 {
                findings |= 1 << code as u32;
                self.findings[code as usize] += 1;
            }
        }
        let certificate = self.presented.count(end, now, room);
        Answer {
            workload: id,
            side: end.side,
            authentication: connection.authentication,
            scope: connection.scope,
            reason,
            findings,
            certificate,
            verification: end.peer.verification,
        }
    }

    pub(super) fn take_back(&mut self, answer: &Answer, room: &mut Room) {
        let role = &mut self.roles[answer.side as usize];
        less(&mut role.connections);
        less(&mut role.authentication[answer.authentication as usize]);
        if let Some((_, count)) = answer.reason.and_then(|place| role.unknown.get_mut(usize::from(place))) {
            less(count);
        }
        less(&mut self.scopes[answer.scope as usize]);
        for code in Code::ALL.into_iter().filter(|code| answer.findings & 1 << *code as u32 != 0) {
            less(&mut self.findings[code as usize]);
        }
        if let Some(id) = answer.certificate {
            self.presented.take_back(id, answer.side, answer.verification, room);
        }
    }

    /// Whether there must be room for one more leaf before this end is counted.
    pub(super) fn needs_room(&self, end: &End<'_>) -> bool {
        self.presented.needs_room(end)
    }

    /// How many leaves it has, and when the oldest was seen last.
    pub(super) fn leaves(&self) -> (usize, Option<WallTime>) {
        self.presented.size()
    }

    pub(super) fn presented(&self) -> &Presented {
        &self.presented
    }

    pub(super) fn forget_leaf(&mut self, room: &mut Room) {
        self.presented.forget_oldest(room);
    }

    /// Gives the room of its leaves back: it is forgotten.
    pub(super) fn give_back(&mut self, room: &mut Room) {
        self.presented.give_back(room);
    }

    /// What is known of it, without what rules say.
    pub(super) fn record(&self, key: &str, host: Option<&String>) -> KnownWorkloadRecord {
        let [client, server] = self.roles.each_ref().map(Role::record);
        let named = |process: &Arc<ProcessRecord>| LastProcessRecord {
            pid: process.pid,
            start_time: process.start_time,
            comm: process.comm.clone(),
        };
        let codes = Code::ALL.into_iter().map(|code| Text::from(code.as_str()));
        KnownWorkloadRecord {
            schema: WORKLOAD_SCHEMA.into(),
            key: key.to_owned(),
            host: host.cloned(),
            workload: Arc::clone(&self.workload),
            labels: None,
            process: self.process.as_ref().map(named),
            executables: self.executables.clone(),
            users: self.users.clone(),
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            open_connections: self.open,
            client,
            server,
            scopes: occurring(Scope::ALL.iter().copied(), &self.scopes),
            findings: occurring(codes, &self.findings),
            certificates: self.presented.records(),
            left_out: LeftOutRecord {
                executables: self.executables_left_out,
                users: self.users_left_out,
                certificates: self.presented.left_out(),
            },
        }
    }
}

impl Role {
    /// Counts a connection under the reason for which something of it is unknown; gives the reason's place.
    fn unknown(&mut self, reason: &Text) -> Option<u8> {
        let known = self.unknown.iter().position(|(known, _)| known == reason);
        let place = known.unwrap_or_else(|| {
            self.unknown.push((reason.clone(), 0));
            self.unknown.len() - 1
        });
        self.unknown[place].1 += 1;
        u8::try_from(place).ok()
    }

    fn record(&self) -> RoleRecord {
        RoleRecord {
            connections: self.connections,
            authentication: occurring(Authentication::ALL.iter().copied(), &self.authentication),
            unknown: self.unknown.iter().filter(|(_, count)| *count > 0).cloned().collect(),
        }
    }
}

/// Names of what occurred, with how often.
fn occurring<N: Ord>(names: impl Iterator<Item = N>, counts: &[u64]) -> BTreeMap<N, u64> {
    names.zip(counts.iter().copied()).filter(|(_, count)| *count > 0).collect()
}

/// Puts a text on a list, if it is not there; counts it if there is no room.
fn list_once((list, left_out): (&mut Vec<String>, &mut u64), bound: usize, text: &str) {
    let text = bounded(text);
    if list.iter().any(|known| *known == *text) {
        return;
    }
    match list.len() < bound {
        true => list.push(text.into_owned()),
        false => *left_out += 1,
    }
}

/// At most [`MAX_TEXT`] bytes, and visibly cut if there were more.
fn bounded(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_TEXT {
        return text.into();
    }
    [&text[..text.floor_char_boundary(MAX_TEXT - CUT.len())], CUT].concat().into()
}

fn less(count: &mut u64) {
    *count = count.saturating_sub(1);
}
