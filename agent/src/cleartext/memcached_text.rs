//! memcached's text protocol: a command and the answer that fits it.
//!
//! Source: `doc/protocol.txt` of memcached.

use super::Match;
use super::text::{begins_with_one_of, command};
use crate::tls::PEEK;

/// Commands on keys.
const KEYED: &[&[u8]] = &[
    b"get", b"gets", b"gat", b"gats", b"set", b"add", b"replace", b"append", b"prepend", b"cas", b"delete",
    b"incr", b"decr", b"touch",
];
const KEYED_ANSWERS: &[&[u8]] = &[
    b"VALUE ",
    b"END\r\n",
    b"STORED\r\n",
    b"NOT_STORED\r\n",
    b"EXISTS\r\n",
    b"NOT_FOUND\r\n",
    b"DELETED\r\n",
    b"TOUCHED\r\n",
    b"CLIENT_ERROR ",
    b"SERVER_ERROR ",
];
/// Meta commands.
const META: &[&[u8]] = &[b"mg", b"ms", b"md", b"ma", b"mn"];
const META_ANSWERS: &[&[u8]] =
    &[b"HD\r\n", b"HD ", b"VA ", b"EN\r\n", b"NF\r\n", b"NS\r\n", b"EX\r\n", b"MN\r\n", b"CLIENT_ERROR "];

pub(super) fn memcached(client: &[u8], server: &[u8]) -> Match {
    // HTTP's line has one more word, and methods of any case.
    let line = client.iter().position(|&byte| byte == b'\n').map(|end| &client[..end]);
    match line {
        Some(line) if line.windows(6).any(|window| window == b" HTTP/") => return Match::No,
        None if client.len() >= PEEK => return Match::No,
        _ => {}
    }
    let whole = if line.is_some() { Match::Yes } else { Match::NotYet };
    // In lower case, other than in protocols with the same words.
    if client.iter().take(2).any(u8::is_ascii_uppercase) {
        return Match::No;
    }
    let answered = |verbs, answers| command(client, verbs).and(begins_with_one_of(server, answers));
    let answered = answered(KEYED, KEYED_ANSWERS)
        .or(answered(META, META_ANSWERS))
        .or(answered(&[b"version"], &[b"VERSION "]))
        .or(answered(&[b"stats"], &[b"STAT ", b"END\r\n", b"RESET\r\n"]));
    answered.and(whole)
}
