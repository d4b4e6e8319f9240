//! The calendar: when certificates end.

use maud::{Markup, html};

use super::facts::{Facts, Leaf};
use super::text::{counted, day, minute, name, number};
use crate::record::WallTime;

/// Months that the calendar has, from this one on.
const MONTHS: usize = 13;
/// Certificates that are named, of those that have ended and of those that will.
const MAX_NAMED: usize = 20;
const NANOSECONDS_PER_DAY: i64 = 86_400_000_000_000;
/// What was presented within so many days is in use.
const IN_USE_DAYS: i64 = 7;
const NAME: usize = 60;

/// Bars by month, what is overdue, and what comes next.
pub(super) fn calendar(facts: &Facts) -> Markup {
    let now = facts.now;
    let in_use = |leaf: &&Leaf| leaf.last_seen.0 >= now.0.saturating_sub(IN_USE_DAYS * NANOSECONDS_PER_DAY);
    let known = || facts.leaves.iter().filter_map(|leaf| Some((leaf.not_after?, leaf)));
    let overdue: Vec<&Leaf> =
        known().filter(|(end, _)| *end < now).map(|(_, leaf)| leaf).filter(in_use).collect();
    let ended = known().filter(|(end, _)| *end < now).count() - overdue.len();
    let next: Vec<&Leaf> = known().filter(|(end, _)| *end >= now).map(|(_, leaf)| leaf).collect();
    let without = facts.leaves.len() - known().count();
    html! {
        (months(&next, now))
        @if !overdue.is_empty() {
            h3 { "Overdue: ended, and presented within the last " (IN_USE_DAYS) " days" }
            (list(&overdue, now))
        }
        h3 { "Next to end" }
        @if next.is_empty() { p { "None of the certificates that were seen ends later than now." } }
        @else { (list(&next, now)) }
        p class="more" {
            (counted(ended as u64, "certificate", "certificates"))
            " ended without being presented within the last " (IN_USE_DAYS) " days. Of "
            (counted(without as u64, "certificate", "certificates")) " the end is not known."
        }
    }
}

fn months(next: &[&Leaf], now: WallTime) -> Markup {
    let months = names(now);
    let count = |month: &String| {
        next.iter()
            .filter(|leaf| leaf.not_after.is_some_and(|end| day(end).starts_with(month.as_str())))
            .count()
    };
    let counts: Vec<(String, usize)> = months.iter().map(|month| (month.clone(), count(month))).collect();
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let later = next.len() - counts.iter().map(|(_, count)| count).sum::<usize>();
    html! {
        table class="bars" {
            caption { "Certificates that end, by month" }
            tbody {
                @for (month, count) in &counts {
                    tr {
                        th scope="row" { (month) }
                        td { svg class="bar" width="320" height="14" aria-hidden="true" {
                            rect width=(count * 320 / most) height="14" {}
                        } }
                        td class="number" { (number(*count as u64)) }
                    }
                }
                tr { th scope="row" { "later" } td {} td class="number" { (number(later as u64)) } }
            }
        }
    }
}

/// `2026-11` and those after it.
fn names(now: WallTime) -> Vec<String> {
    let today = day(now);
    let mut parts = today.split('-').map(|part| part.parse::<usize>().unwrap_or(0));
    let (year, month) = (parts.next().unwrap_or(0), parts.next().unwrap_or(1).max(1));
    let after = |ahead: usize| (year + (month - 1 + ahead) / 12, (month - 1 + ahead) % 12 + 1);
    (0..MONTHS).map(after).map(|(year, month)| format!("{year:04}-{month:02}")).collect()
}

fn list(leaves: &[&Leaf], now: WallTime) -> Markup {
    html! {
        table {
            thead { tr { th { "Ends" } th class="number" { "In days" } th { "Identity" } th { "Issuer" } th { "Presented last" } th { "SHA-256" } } }
            tbody {
                @for leaf in leaves.iter().take(MAX_NAMED) {
                    tr {
                        @if let Some(end) = leaf.not_after {
                            td class="when" { (day(end)) }
                            td class="number" { (end.0.saturating_sub(now.0).div_euclid(NANOSECONDS_PER_DAY)) }
                        }
                        td { (name(leaf.name.as_deref().unwrap_or("(no name)"), NAME)) }
                        td { (name(leaf.issuer.as_deref().unwrap_or("(not known)"), NAME)) }
                        td class="when" { (minute(leaf.last_seen)) }
                        td class="when" { code title=(leaf.sha256) { (leaf.sha256.chars().take(12).collect::<String>()) } }
                    }
                }
            }
        }
        @if leaves.len() > MAX_NAMED {
            p class="more" { "and " (number((leaves.len() - MAX_NAMED) as u64)) " more: " code { "countersign certificates" } " lists them all." }
        }
    }
}
