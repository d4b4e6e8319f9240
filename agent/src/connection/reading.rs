//! The bytes of a connection that is still looked at: two streams that feed one conversation.

use super::clear::Clear;
use super::watched::Watched;
use super::wrapped::Unwrapper;
use crate::cleartext::{Credential, Dialogue, Examination, LOOK, Name, Protocol, Switch, Upgrade};
use crate::event::{CloseReason, Role, Segment, Travel, Withheld};
use crate::reassembly::{Inserted, Stream};
use crate::tls::{self, Conversation, Direction, IncompleteReason, Outlook, TlsFacts, UnknownReason};

/// Protocols that make room for another, within one connection: TLS inside STARTTLS inside a proxy.
const MAX_SWITCHES: usize = 3;

/// Both directions in the making. Exists only as long as further bytes can matter.
#[derive(Debug)]
pub struct Reading {
    client: Stream,
    server: Stream,
    /// What the bytes say, since the last switch.
    pub conversation: Conversation,
    /// The same bytes as long as they are no TLS.
    clear: Option<Box<Clear>>,
    /// Client and server, behind a switch to TLS in packets.
    wrapped: Option<Box<(Unwrapper, Unwrapper)>>,
    /// What was before the conversation.
    pub before: Before,
    /// Payload bytes of each direction that the source was told to deliver.
    pub granted: u32,
    /// Why bytes are missing, the first reason.
    pub incomplete: Option<IncompleteReason>,
    /// A direction ended early, by a hole or by the budget.
    cut: bool,
    /// The connection's end was seen.
    ended: bool,
}

/// What was said in clear before the last switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Before {
    /// Payload bytes of the client.
    pub client: usize,
    /// Payload bytes of the server.
    pub server: usize,
    /// What switched last.
    pub switched: Option<Upgrade>,
    /// What it is called.
    pub name: Option<Name>,
    /// The first credential.
    pub credential: Option<Credential>,
    switches: usize,
}

impl Reading {
    /// A connection seen from its first byte, by the sequence numbers of client and server, in buffers of others.
    pub fn from_start((client, server): (u32, u32), rooms: [Vec<u8>; 2], granted: u32) -> Self {
        let [of_client, of_server] = rooms;
        Reading {
            client: Stream::with_room(client, of_client),
            server: Stream::with_room(server, of_server),
            conversation: Conversation::new(),
            clear: None,
            wrapped: None,
            before: Before::default(),
            granted,
            incomplete: None,
            cut: false,
            ended: false,
        }
    }

    /// Takes a segment seen by the socket of `role`.
    pub fn take(&mut self, role: Role, segment: Segment<&[u8]>) {
        let direction = sender(role, segment.travel);
        let (stream, opposite) = match direction {
            Direction::Client => (&mut self.client, &self.server),
            Direction::Server => (&mut self.server, &self.client),
        };
        let acknowledged = opposite.offset_of(segment.acknowledged);
        let end = segment.sequence.wrapping_add(segment.bytes.len() as u32);
        let inserted = match segment.bytes {
            [] => Inserted::Duplicate,
            bytes => stream.insert(segment.sequence, bytes, acknowledged),
        };
        if segment.withheld > 0 {
            stream.withhold(end, segment.withheld, segment.withheld_for);
        }
        if let Inserted::Next(bytes) = inserted {
            self.push(direction, bytes, acknowledged);
            self.stream_mut(direction).remember(bytes);
        }
        self.advance(direction, acknowledged);
    }

    fn stream_mut(&mut self, direction: Direction) -> &mut Stream {
        match direction {
            Direction::Client => &mut self.client,
            Direction::Server => &mut self.server,
        }
    }

    /// Reads on as far as the bytes reach, passing over holes where nobody needs the bytes.
    fn advance(&mut self, direction: Direction, acknowledged: u64) {
        loop {
            if let Some(chunk) = self.stream_mut(direction).read() {
                self.push(direction, &chunk.bytes, chunk.acknowledged);
                self.stream_mut(direction).remember(&chunk.bytes);
                continue;
            }
            let skippable = match self.is_wrapped(direction) {
                true => 0,
                false => self.conversation.skippable(direction),
            };
            let stream = self.stream_mut(direction);
            let passable = stream.missing().min(skippable);
            if passable > 0 {
                stream.skip(passable);
                self.conversation.skip(direction, passable, acknowledged);
                continue;
            }
            match stream.withheld_for() {
                Some(Withheld::Budget) => self.break_off(direction, IncompleteReason::Budget),
                Some(Withheld::Cut) => self.break_off(direction, IncompleteReason::Truncated),
                None => {}
            }
            return;
        }
    }

    /// Hands in-order bytes on: to the conversation, and to those who look for names in clear.
    fn push(&mut self, direction: Direction, bytes: &[u8], acknowledged: u64) {
        let opposite = match direction {
            Direction::Client => self.before.server,
            Direction::Server => self.before.client,
        };
        let since_switch = acknowledged.saturating_sub(opposite as u64);
        if let Some(mut wrapped) = self.wrapped.take() {
            let (own, other) = match direction {
                Direction::Client => (&mut wrapped.0, &wrapped.1),
                Direction::Server => (&mut wrapped.1, &wrapped.0),
            };
            let switches = self.before.switches;
            // Headers are no bytes of TLS.
            let received = since_switch.saturating_sub(other.passed);
            own.unwrap(bytes, |run| self.interpret(direction, run, (acknowledged, received)));
            if self.before.switches == switches {
                self.wrapped = Some(wrapped);
            }
            return;
        }
        self.interpret(direction, bytes, (acknowledged, since_switch));
    }

    /// `acknowledged` from the connection's start, and since the switch.
    fn interpret(&mut self, direction: Direction, bytes: &[u8], (acknowledged, since_switch): (u64, u64)) {
        // A ClientHello may itself be the client's part of a switch.
        if let Some(clear) = &mut self.clear {
            clear.hold(direction, bytes, acknowledged);
            if self.follow_switch() {
                return;
            }
        }
        self.conversation.push(direction, bytes, since_switch);
        if matches!(self.conversation.reading(), tls::Reading::Tls(_)) {
            self.clear = None;
        } else if self.clear.is_none() {
            self.clear.get_or_insert_default().hold(direction, bytes, acknowledged);
            self.follow_switch();
        }
    }

    /// Begins anew behind a switch, if there is one.
    fn follow_switch(&mut self) -> bool {
        let Some(clear) = &self.clear else { return false };
        let Examination { name, dialogue } = clear.examination();
        let Some(Switch { from, client, server }) = dialogue.switch else { return false };
        if self.before.switches == MAX_SWITCHES {
            return false;
        }
        let Some(clear) = self.clear.take() else { return false };
        self.before = Before {
            client: self.before.client + client,
            server: self.before.server + server,
            switched: Some(from),
            name: Some(name),
            credential: self.before.credential.or(dialogue.credential),
            switches: self.before.switches + 1,
        };
        self.conversation = Conversation::new();
        self.wrapped = (from == Upgrade::Tds).then(Box::default);
        for (direction, begin) in [(Direction::Client, client), (Direction::Server, server)] {
            let mut runs = Vec::new();
            let whole = clear.release(direction, begin, |bytes, acknowledged| {
                runs.push((bytes.to_vec(), acknowledged));
            });
            for (bytes, acknowledged) in runs {
                self.push(direction, &bytes, acknowledged);
            }
            if !whole {
                self.break_off(direction, IncompleteReason::Truncated);
            }
        }
        true
    }

    /// What comes next in this direction stands in packets, of which the headers must be seen.
    fn is_wrapped(&self, direction: Direction) -> bool {
        self.wrapped.as_ref().is_some_and(|wrapped| match direction {
            Direction::Client => !wrapped.0.bare,
            Direction::Server => !wrapped.1.bare,
        })
    }

    fn break_off(&mut self, direction: Direction, reason: IncompleteReason) {
        self.cut = true;
        // In clear nobody needs more than was to be looked at.
        if reason != IncompleteReason::Budget || !self.is_named() {
            self.incomplete.get_or_insert(reason);
        }
        self.conversation.broken(direction, reason);
    }

    /// Bytes of memory that it takes.
    pub fn held(&self) -> usize {
        let clear = self.clear.as_ref().map_or(0, |clear| clear.held());
        size_of::<Self>() + self.client.held() + self.server.held() + self.conversation.held() + clear
    }

    /// It cannot be read any further, for want of room: its last words are looked at, and nothing is taken for all there is.
    pub fn cut_short(&mut self) {
        self.look();
        let is_last_word = self.is_plainly_named();
        for direction in [Direction::Client, Direction::Server] {
            self.break_off(direction, IncompleteReason::Budget);
        }
        if !is_last_word {
            self.incomplete.get_or_insert(IncompleteReason::Budget);
        }
    }

    /// No more bytes will fill the holes there are.
    pub fn give_up_holes(&mut self, reason: IncompleteReason) {
        for direction in [Direction::Client, Direction::Server] {
            if self.stream_mut(direction).missing() > 0 {
                self.break_off(direction, reason);
            }
        }
    }

    /// So many payload bytes were sent in all, client's first: what of them is behind all that arrived is missing too. TLS
    /// says itself whether something of a handshake is missing.
    pub fn sent_in_all(&mut self, (client, server): (u64, u64)) {
        if self.cut || matches!(self.conversation.reading(), tls::Reading::Tls(_)) {
            return;
        }
        for (direction, total) in [(Direction::Client, client), (Direction::Server, server)] {
            let stream = match direction {
                Direction::Client => &self.client,
                Direction::Server => &self.server,
            };
            if stream.position() < total && stream.missing() == 0 {
                self.break_off(direction, IncompleteReason::Lost);
            }
        }
    }

    /// Looks at what would have been looked at together with the next bytes.
    pub fn look(&mut self) {
        if let Some(clear) = &mut self.clear {
            clear.look();
        }
        self.follow_switch();
    }

    /// The connection ended: how, as far as that was seen.
    pub fn closed(&mut self, reason: Option<CloseReason>) {
        self.ended = !matches!(reason, None | Some(CloseReason::Unknown));
        self.look();
        self.conversation.closed(reason == Some(CloseReason::Fin));
    }

    /// Whether copies of the same bytes differed: nothing that was read can be believed.
    pub fn is_conflicting(&self) -> bool {
        self.client.is_conflicting() || self.server.is_conflicting()
    }

    /// Payload bytes of each direction that were read in order.
    pub fn read(&self) -> (u64, u64) {
        (self.client.position(), self.server.position())
    }

    /// There was a switch, and nothing came after it.
    pub fn is_silent_since_switch(&self) -> bool {
        self.before.switched.is_some()
            && self.read() == (self.before.client as u64, self.before.server as u64)
    }

    /// The protocol in clear, since the last switch.
    pub fn name(&self) -> Name {
        match self.conversation.reading() {
            tls::Reading::NotTls => {
                self.clear.as_ref().map_or(Name::Unknown, |clear| clear.examination().name)
            }
            _ => Name::Incomplete,
        }
    }

    /// Whether it has a name in clear.
    pub fn is_named(&self) -> bool {
        matches!(self.name(), Name::Found(_))
    }

    /// Its protocol can make room for another.
    pub fn may_switch(&self) -> bool {
        matches!(self.name(), Name::Found(protocol) if protocol.may_switch())
    }

    /// The name is the last word on it unless a credential is still to come: nothing else can follow in this protocol.
    pub fn is_plainly_named(&self) -> bool {
        let tunnel = self.clear.as_ref().is_some_and(|clear| clear.is_tunnel());
        !tunnel && self.is_named() && !self.may_switch()
    }

    /// The first credential in clear.
    pub fn credential(&self) -> Option<Credential> {
        let now = self.clear.as_ref().and_then(|clear| clear.examination().dialogue.credential);
        self.before.credential.or(now)
    }

    /// Payload bytes of client and server that were looked at in clear.
    pub fn examined(&self) -> (u64, u64) {
        let (client, server) = self.clear.as_ref().map_or((0, 0), |clear| clear.examined());
        ((self.before.client + client) as u64, (self.before.server + server) as u64)
    }

    /// There is no more to look at. Where a switch may still come the client's word is awaited, whatever the server says.
    fn is_exhausted(&self, clear: &Clear) -> bool {
        let (client, server) = clear.examined();
        let waits = self.may_switch() || clear.is_tunnel();
        client == LOOK || (server == LOOK && !waits)
    }

    /// Its commands follow each other without an end that could be known.
    fn speaks_in_lines(&self) -> bool {
        use Protocol::{Ftp, Imap, Irc, Pop3, Smtp, Xmpp};
        matches!(self.name(), Name::Found(Smtp | Imap | Pop3 | Ftp | Irc | Xmpp))
    }

    /// One side has said all that is looked at.
    pub fn has_heard_much(&self) -> bool {
        let (client, server) = self.examined();
        client.max(server) >= LOOK as u64
    }

    /// Why a name in clear is not the whole truth, if it is not.
    pub fn doubt(&self) -> Option<UnknownReason> {
        let clear = self.clear.as_ref()?;
        let dialogue = clear.examination().dialogue;
        let waits = self.may_switch() || clear.is_tunnel();
        if dialogue.protected {
            return Some(UnknownReason::OtherProtocol);
        }
        if clear.holds_a_hello() {
            return Some(UnknownReason::SwitchNotSeen);
        }
        // What is missing may have been the switch.
        let missing = self.incomplete.filter(|_| waits && !dialogue.over);
        let unanswered =
            clear.is_tunnel() && !dialogue.over && dialogue.switch.is_none() && !clear.is_answered();
        let awaited = !dialogue.over && self.is_opening(dialogue);
        let open = dialogue.asked || unanswered || awaited;
        missing.map(UnknownReason::from).or(open.then_some(UnknownReason::Incomplete))
    }

    /// Its next words could be the wish for TLS. Who has shown a password does not wait for it any more, and LDAP, which has no
    /// opening and may ask at any time, is taken at what it has said.
    fn is_opening(&self, dialogue: Dialogue) -> bool {
        let looked_through = self.ended || self.cut || self.has_heard_much();
        let can_ask = self.may_switch() && self.name() != Name::Found(Protocol::Ldap);
        can_ask && !looked_through && dialogue.credential.is_none()
    }

    /// Lets go of the bytes that were read, see [`Stream::forget_read`].
    pub fn forget_read(&mut self) -> [Vec<u8>; 2] {
        [self.client.forget_read(), self.server.forget_read()]
    }

    /// The facts, if it is TLS, and what could still take them back.
    pub fn into_facts(self) -> (Option<TlsFacts>, Option<Watched>) {
        let watch = self.conversation.renegotiation_watch();
        let watched = watch.map(|watch| Watched::new(self.client, self.server, watch));
        (self.conversation.into_facts(), watched)
    }

    /// Whether nothing further can change what is known.
    pub fn is_settled(&self) -> bool {
        let decided = matches!(self.conversation.outlook(), Outlook::Decided);
        if self.is_conflicting() {
            return true;
        }
        match (self.conversation.reading(), &self.clear) {
            (tls::Reading::NotTls, Some(clear)) => match clear.examination() {
                Examination { name: Name::Found(_), dialogue } => {
                    // The opening of one that can switch may be over for who listens, and the switch still come.
                    let told = dialogue.credential.is_some() || self.speaks_in_lines();
                    let open = self.may_switch() && told && dialogue.switch.is_none() && !dialogue.protected;
                    (dialogue.over && !open) || self.is_exhausted(clear) || self.cut
                }
                Examination { name: Name::Unknown, .. } => true,
                Examination { name: Name::SoFar(_) | Name::Incomplete, .. } => decided,
            },
            _ => decided,
        }
    }
}

/// Who sent the bytes that the socket of `role` saw travel this way.
pub(super) fn sender(role: Role, travel: Travel) -> Direction {
    match (role, travel) {
        (Role::Client, Travel::Sent) | (Role::Server, Travel::Received) => Direction::Client,
        (Role::Client, Travel::Received) | (Role::Server, Travel::Sent) => Direction::Server,
    }
}
