//! The page.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::calendar::calendar;
use super::facts::{Facts, Findings, MAX_GAPS};
use super::layers;
use super::map::map;
use super::text::{WEAKEST_FIRST, class, counted, letter, minute, name, number, words};
use crate::record::{Scope, WallTime};

const STYLE: &str = include_str!("page.css");

/// Characters of names and sentences.
const NAME: usize = 80;
const SENTENCE: usize = 240;

/// Fields of the record that nothing fills yet, in words.
const RESERVED: [(&str, &str); 3] = [
    ("authorization", "whether a policy allows the connection"),
    ("trust", "whether a certificate leads to an authority that this host trusts"),
    ("revocation", "whether a certificate was revoked"),
];

/// The whole page.
pub(super) fn page(facts: &Facts) -> String {
    let style = format!("{STYLE}{}", layers::STYLE);
    let hash = STANDARD.encode(Sha256::digest(&style));
    // Nothing is loaded, nothing runs, and no style but this one holds, whatever the names on the page are.
    let policy =
        format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'");
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="referrer" content="no-referrer";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Countersign report" }
                style { (PreEscaped(style)) }
            }
            body {
                (head(facts))
                main {
                    section id="summary" { h2 { "Summary" } (summary(facts)) }
                    section id="map" { h2 { "Map" } @if facts.edges.is_empty() { (nothing()) } @else { (map(facts)) } }
                    section id="certificates" { h2 { "Certificates" } @if facts.leaves.is_empty() { (nothing()) } @else { (calendar(facts)) } }
                    section id="findings" { h2 { "Findings" } @if facts.findings.is_empty() { (nothing()) } @for one in &facts.findings { (finding(one)) } }
                    section id="not-evaluated" { h2 { "What was not evaluated" } (not_evaluated(facts)) }
                }
            }
        }
    };
    page.into_string()
}

fn nothing() -> Markup {
    html! { p { "None in this history." } }
}

fn head(facts: &Facts) -> Markup {
    let chapters = [
        ("summary", "Summary"),
        ("map", "Map"),
        ("certificates", "Certificates"),
        ("findings", "Findings"),
        ("not-evaluated", "Not evaluated"),
    ];
    html! {
        header {
            h1 { "Who proved who they are" }
            p class="under" {
                "Countersign " (env!("CARGO_PKG_VERSION")) " about "
                @if facts.hosts.is_empty() { "a host without a name" }
                @for (index, host) in facts.hosts.iter().enumerate() { @if index > 0 { ", " } (name(host, NAME)) }
                ", made " (minute(facts.now)) " UTC. "
                @if let Some((first, last)) = facts.period {
                    "Connections from " (minute(first)) " to " (minute(last)) " UTC."
                }
            }
            nav { ul { @for (id, title) in chapters { li { a href=(format!("#{id}")) { (title) } } } } }
        }
    }
}

fn summary(facts: &Facts) -> Markup {
    let all = facts.connections();
    let share = |count: u64| match all {
        0 => String::new(),
        all => format!("{:.1} %", count as f64 * 100.0 / all as f64),
    };
    html! {
        p {
            (counted(all, "connection", "connections")) " of " (counted(facts.workloads, "workload", "workloads"))
            " on " (counted(facts.edges.len() as u64, "edge", "edges")) " (who connects to which port of whom), with "
            (counted(facts.leaves.len() as u64, "certificate", "certificates")) ". "
            @if facts.gap_count > 0 {
                (counted(facts.gap_count, "time", "times")) " something was not seen: "
                a href="#not-evaluated" { "what was not evaluated" } "."
            }
        }
        table {
            thead { tr {
                th { "Authentication" }
                th class="number" { "Connections" } th class="number" { "Share" }
                @for scope in Scope::ALL { th class="number" { (scope.as_str().replace('_', "-")) } }
            } }
            tbody {
                @for authentication in WEAKEST_FIRST {
                    @let count = facts.established(authentication);
                    @if count > 0 {
                        tr {
                            td {
                                span class=(format!("tile {}", class(authentication))) { (letter(authentication)) }
                                b { (authentication) } ": " (words(authentication))
                            }
                            td class="number" { (number(count)) }
                            td class="number" { (share(count)) }
                            @for scope in Scope::ALL {
                                td class="number" { (number(facts.totals.get(&(authentication, *scope)).copied().unwrap_or(0))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn finding(findings: &Findings) -> Markup {
    let Some(first) = findings.examples.first() else { return html! {} };
    let severity = format!("{:?}", first.severity).to_lowercase();
    let left_out = findings.subjects.saturating_sub(findings.examples.len() as u64);
    html! {
        div class="finding" {
            h3 { span class=(format!("severity {severity}")) { (severity) } (name(&findings.code.replace('_', " "), NAME)) }
            p { (name(&first.remedy, 2 * SENTENCE)) }
            p class="under" {
                "Found of " (counted(findings.subjects, "subject", "subjects")) " on "
                (counted(findings.connections, "connection", "connections")) " that are kept. "
                @if !first.controls.is_empty() {
                    "Controls: "
                    @for (index, control) in first.controls.iter().enumerate() { @if index > 0 { "; " } (name(control, NAME)) }
                    "."
                }
            }
            ul {
                @for example in &findings.examples {
                    li {
                        (name(&example.summary, SENTENCE))
                        " (" (minute(example.last_seen))
                        @if let Some(exception) = &example.exception {
                            "; accepted by " (name(&exception.owner, NAME)) " until " (name(&exception.expires, NAME)) ": " (name(&exception.reason, SENTENCE))
                        }
                        ")"
                    }
                }
            }
            @if left_out > 0 {
                p class="more" { "and " (number(left_out)) " more: " code { "countersign findings" } " lists them all." }
            }
        }
    }
}

fn not_evaluated(facts: &Facts) -> Markup {
    let unknown = &facts.unknown;
    html! {
        p { "What is not known is not counted as good or bad above. It is:" }
        (reasons("Connections of which it is not known what was established, by reason", &unknown.authentication))
        (reasons("Connections of which it is not known whether the client proved who it is, by reason", &unknown.client_side))
        (reasons("Connections of which not all of the handshake was seen, by reason", &unknown.captures))
        (reasons("Ends of connections on this host whose process is not known, by reason", &unknown.processes))
        h3 { "Times in which something was not seen" }
        @if facts.gaps.is_empty() { p { "None that the agent knows of." } } @else { (gaps(facts)) }
        h3 { "Kept in less detail, or not looked at" }
        ul {
            li { (counted(unknown.folded, "connection is", "connections are")) " only counted any more, by hour." }
            li { "Of " (counted(unknown.certificates, "certificate", "certificates")) " only the fingerprint is known." }
            @for (field, meaning) in RESERVED { li { code { (field) } ": " (meaning) " is not evaluated by this version." } }
        }
    }
}

fn reasons(title: &str, reasons: &[(String, u64)]) -> Markup {
    html! {
        @if !reasons.is_empty() {
            table {
                caption { (title) }
                tbody { @for (reason, count) in reasons {
                    tr { td { (name(reason, NAME)) } td class="number" { (number(*count)) } }
                } }
            }
        }
    }
}

fn gaps(facts: &Facts) -> Markup {
    let from = |time: Option<WallTime>| time.map_or_else(|| "not known".to_owned(), minute);
    let left_out = facts.gap_count.saturating_sub(facts.gaps.len() as u64);
    html! {
        table {
            thead { tr { th { "From" } th { "To" } th { "Cause" } th class="number" { "Lost" } } }
            tbody { @for gap in facts.gaps.iter().take(MAX_GAPS) {
                tr {
                    td { (from(gap.from)) } td { (minute(gap.to)) } td { (name(&gap.cause, NAME)) }
                    td class="number" { (gap.lost.map_or_else(|| "not known".to_owned(), number)) }
                }
            } }
        }
        @if left_out > 0 { p class="more" { "and " (number(left_out)) " before." } }
    }
}
