//! What a connection in clear has said so far, and what of it was not heard.

use super::{Clear, Reading};
use crate::cleartext::{Credential, Dialogue, LOOK, Name, Protocol};
use crate::tls::{self, UnknownReason};

impl Reading {
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

    /// Both sides have said what its protocol begins with.
    pub fn is_confirmed(&self) -> bool {
        self.clear.as_ref().is_some_and(|clear| clear.examination().confirmed)
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
        (self.before.client as u64 + client, self.before.server as u64 + server)
    }

    /// There is no more to look at.
    pub(super) fn is_exhausted(&self, clear: &Clear) -> bool {
        let before = self.before.client as u64;
        let reach = self.granted_in_clear.map(|granted| u64::from(granted).saturating_sub(before));
        clear.is_exhausted(reach)
    }

    /// From here on nothing of what is read is remembered to compare repetitions with it.
    pub fn follow_long(&mut self) {
        self.long = true;
    }

    /// Bodies of its messages are stepped over.
    pub fn is_followed(&self) -> bool {
        self.clear.as_ref().is_some_and(|clear| clear.is_followed())
    }

    /// A credential may still cross in clear, as far as is known.
    pub fn may_say_more(&self) -> bool {
        let over = |dialogue: Dialogue| dialogue.over && !dialogue.exhausted;
        let over = self.clear.as_ref().is_none_or(|clear| over(clear.examination().dialogue));
        self.is_named() && !over && self.credential().is_none()
    }

    /// It may have crossed in what the client said beyond that which was looked at.
    pub fn has_overlooked(&self) -> bool {
        let Some(clear) = &self.clear else { return false };
        let dialogue = clear.examination().dialogue;
        let unheard = self.overrun || dialogue.exhausted || (dialogue.asked && self.deaf);
        self.may_say_more() && (unheard || self.client.position() > self.examined().0)
    }

    /// Its commands follow each other without an end that could be known.
    pub(super) fn speaks_in_lines(&self) -> bool {
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
        let why = if self.overrun || self.deaf { UnknownReason::Budget } else { UnknownReason::Incomplete };
        missing.map(UnknownReason::from).or(open.then_some(why))
    }

    /// Its next words could be the wish for TLS. Who has shown a password does not wait for it any more, and LDAP, which has no
    /// opening and may ask at any time, is taken at what it has said.
    fn is_opening(&self, dialogue: Dialogue) -> bool {
        let looked_through = self.ended || self.cut || self.has_heard_much();
        let can_ask = self.may_switch() && self.name() != Name::Found(Protocol::Ldap);
        can_ask && !looked_through && dialogue.credential.is_none()
    }
}
