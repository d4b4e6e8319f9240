//! The map: who connected to whom, clients on the left and servers on the right.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::facts::{Edge, Facts};
use super::layers::{Boxed, Column, Line, picture};
use super::text::{counted, minute, number, short, weakness};
use crate::record::Authentication;

/// Clients, and servers, that are drawn: what fits on a sheet of paper.
const MAX_BOXES: usize = 28;

/// The picture, and what it leaves out.
pub(super) fn map(facts: &Facts) -> Markup {
    let mut edges: Vec<&Edge> = facts.edges.iter().collect();
    edges.sort_by_key(|edge| (weakness(edge.weakest()), std::cmp::Reverse(edge.connections())));
    let mut clients: Vec<&str> = Vec::new();
    let mut servers: Vec<String> = Vec::new();
    let mut drawn: Vec<&Edge> = Vec::new();
    for edge in &edges {
        let server = server_key(edge);
        let has = (clients.contains(&edge.client.as_str()), servers.contains(&server));
        if (!has.0 && clients.len() >= MAX_BOXES) || (!has.1 && servers.len() >= MAX_BOXES) {
            continue;
        }
        if !has.0 {
            clients.push(&edge.client);
        }
        if !has.1 {
            servers.push(server);
        }
        drawn.push(edge);
    }
    let columns = [
        column("Clients", clients.iter().map(|key| (*key).to_owned()).collect(), &drawn, |edge| {
            edge.client.clone()
        }),
        column("Servers", untangled(&servers, &clients, &drawn), &drawn, server_key),
    ];
    let lines: Vec<Line> = drawn.iter().rev().map(|edge| line(edge)).collect();
    let left_out = facts.edges.len() - drawn.len();
    html! {
        (picture("Who connected to whom, and what was established", &columns, &lines, false))
        @if left_out > 0 {
            p class="more" {
                "and " (counted(left_out as u64, "edge", "edges")) " more: "
                code { "countersign edges" } " lists them all."
            }
        }
    }
}

fn server_key(edge: &Edge) -> String {
    format!("{}\u{0}{}", edge.server, edge.port)
}

/// Servers beside the clients that connect to them, so that fewer lines cross.
fn untangled(servers: &[String], clients: &[&str], drawn: &[&Edge]) -> Vec<String> {
    let place = |server: &String| {
        let rows = drawn
            .iter()
            .filter(|edge| server_key(edge) == *server)
            .filter_map(|edge| clients.iter().position(|client| *client == edge.client));
        let (sum, count) = rows.fold((0, 0), |(sum, count), row| (sum + row, count + 1));
        sum * 1_000 / count.max(1)
    };
    let mut servers = servers.to_vec();
    servers.sort_by_cached_key(|server| place(server));
    servers
}

fn column(title: &str, keys: Vec<String>, drawn: &[&Edge], key_of: impl Fn(&Edge) -> String) -> Column {
    let boxes = keys.into_iter().map(|key| {
        let mut counts: BTreeMap<Authentication, u64> = BTreeMap::new();
        for edge in drawn.iter().filter(|edge| key_of(edge) == key) {
            for (authentication, count) in &edge.authentication {
                *counts.entry(*authentication).or_default() += count;
            }
        }
        let (node, port) = key.split_once('\u{0}').unwrap_or((&key, ""));
        let port = if port.is_empty() { String::new() } else { format!(":{port}") };
        Boxed {
            label: label(node, &port),
            explanation: format!("{node}{port}: {}", counts_in_words(&counts)),
            authentication: counts.keys().copied().min_by_key(|one| weakness(*one)),
            key,
        }
    });
    Column { title: title.to_owned(), boxes: boxes.collect(), left_out: 0 }
}

/// The port stays when the name is cut.
fn label(node: &str, port: &str) -> String {
    const ROOM: usize = 24;
    format!("{}{port}", super::text::shown(short(node), ROOM - port.len()))
}

fn line(edge: &Edge) -> Line {
    Line {
        from: (0, edge.client.clone()),
        to: (1, server_key(edge)),
        authentication: edge.weakest(),
        explanation: format!(
            "{} → {}:{}: {}; last {}",
            short(&edge.client),
            short(&edge.server),
            edge.port,
            counts_in_words(&edge.authentication),
            minute(edge.last_seen)
        ),
    }
}

/// `12 mutual, 3 none`
pub(super) fn counts_in_words(counts: &BTreeMap<Authentication, u64>) -> String {
    let each = counts.iter().map(|(authentication, count)| format!("{} {authentication}", number(*count)));
    each.collect::<Vec<_>>().join(", ")
}
