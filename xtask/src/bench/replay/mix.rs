//! What each connection of the capture does: a function of its number, so equal parameters give an equal mix.
//!
//! About the shares of a data centre that is on its way to mutual TLS: 60 % TLS 1.3, a third RSA, 40 % with client
//! certificates, 10 % from clients that resume, 2 % bulk transfers, and 5 connections in clear per 100 handshakes.

/// Server certificates.
pub const SERVERS: usize = 12;
/// Client certificates.
pub const CLIENTS: usize = 100;
/// Client certificates of clients that resume; few, so that most of their connections find a ticket.
const RESUMING_CLIENTS: usize = 4;
/// In clear, per handshake: one of this many connections.
const CLEARTEXT_EVERY: u64 = 21;

/// One connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// Nothing: HTTP in clear.
    pub tls: Option<Handshake>,
    /// Bytes of the request, without TLS.
    pub request: usize,
    /// Bytes of the response, without TLS.
    pub response: usize,
}

/// What a handshake negotiates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    pub version: Version,
    /// Which server certificate, below [`SERVERS`]; RSA if it is less than [`rsa_of`] them.
    pub server: usize,
    pub client: Client,
    /// Whether the client keeps tickets and uses those it has for this server.
    pub resumes: bool,
}

/// The version that the client offers, and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    Tls12,
    Tls13,
}

/// How the client authenticates itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Client {
    NotRequested,
    NoneSent,
    /// Which certificate, below [`CLIENTS`].
    Presents(usize),
}

/// How many of `count` identities have RSA keys: the first 40 %.
pub fn rsa_of(count: usize) -> usize {
    count * 2 / 5
}

/// The connection of this number.
pub fn exchange(number: u64) -> Exchange {
    let mut dice = Dice(number);
    let bulk = dice.percent(2);
    let response = if bulk { 65_536 + dice.below(65_536) } else { 200 + dice.below(1_800) };
    let (request, response) = (200 + dice.below(400), response);
    if number % CLEARTEXT_EVERY == CLEARTEXT_EVERY - 1 {
        return Exchange { tls: None, request, response };
    }
    let version = if dice.percent(60) { Version::Tls13 } else { Version::Tls12 };
    let server = dice.below(SERVERS);
    let resumes = dice.percent(10);
    let client = match dice.below(100) {
        0..40 if resumes => Client::Presents(dice.below(RESUMING_CLIENTS)),
        0..40 => Client::Presents(dice.below(CLIENTS)),
        40..44 if !resumes => Client::NoneSent,
        _ => Client::NotRequested,
    };
    Exchange { tls: Some(Handshake { version, server, client, resumes }), request, response }
}

/// How many connections, numbered from 0, hold this many handshakes.
pub fn connections_for(handshakes: u64) -> u64 {
    handshakes + handshakes.saturating_sub(1) / (CLEARTEXT_EVERY - 1)
}

/// SplitMix64 (Steele, Lea and Flood, 2014): a sequence from any seed, neighbouring ones too.
pub struct Dice(pub u64);

impl Dice {
    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `bound`; the slight bias of the remainder does not matter here.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_as_many_handshakes_as_asked_for() {
        for handshakes in [1, 19, 20, 21, 40, 41, 1_000, 50_000] {
            let connections = connections_for(handshakes);
            let found = (0..connections).filter(|number| exchange(*number).tls.is_some()).count();
            assert_eq!(found as u64, handshakes);
        }
    }

    #[test]
    fn every_mode_has_its_share() {
        let all: Vec<Handshake> = (0..20_000).filter_map(|number| exchange(number).tls).collect();
        let share = |wanted: &dyn Fn(&Handshake) -> bool| {
            all.iter().filter(|handshake| wanted(handshake)).count() * 100 / all.len()
        };
        assert!((58..=62).contains(&share(&|handshake| handshake.version == Version::Tls13)));
        assert!((38..=42).contains(&share(&|handshake| matches!(handshake.client, Client::Presents(_)))));
        assert!((2..=5).contains(&share(&|handshake| handshake.client == Client::NoneSent)));
        assert!((8..=12).contains(&share(&|handshake| handshake.resumes)));
        assert!((30..=42).contains(&share(&|handshake| handshake.server < rsa_of(SERVERS))));
        for client in 0..CLIENTS {
            assert!(all.iter().any(|handshake| handshake.client == Client::Presents(client)), "{client}");
        }
    }
}
