//! Text that others chose, on its way into a page: shortened, and made visible where it would hide or reorder.

use maud::{Markup, html};

use crate::display::display_safe;
use crate::record::{Authentication, WallTime};

/// Characters of a name that are shown where it is explained when somebody points at it: the longest names that are meant to be read are shorter.
const MAX_EXPLAINED: usize = 300;

/// At most so many characters, of which none hides, reorders, or is none in XML (section 2.2 of XML 1.0).
pub(super) fn shown(text: &str, most: usize) -> String {
    let is_in_xml = |character: char| !matches!(character, '\u{fffe}' | '\u{ffff}');
    // What is cut off need not be made visible.
    let head: String = text.chars().take(most + 1).collect();
    let visible: Vec<char> = display_safe(&head)
        .chars()
        .map(|character| if is_in_xml(character) { character } else { '\u{fffd}' })
        .collect();
    match visible.len() > most {
        true => visible.into_iter().take(most.saturating_sub(1)).chain(['…']).collect(),
        false => visible.into_iter().collect(),
    }
}

/// A name in a page: what it reads like does not depend on what stands beside it, and the whole is told to who points at it.
pub(super) fn name(text: &str, most: usize) -> Markup {
    html! { bdi title=(shown(text, MAX_EXPLAINED)) { (shown(text, most)) } }
}

/// A node by its short name: without what kind of key it is.
pub(super) fn short(node: &str) -> &str {
    let key = node.split_once(':').map_or(node, |(_, key)| key);
    match node.strip_prefix("workload:").and_then(|key| key.split_once(':')) {
        Some(("executable", path)) => path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(path),
        Some((_, name)) => name,
        None => key,
    }
}

/// `2026-11-22`
pub(super) fn day(time: WallTime) -> String {
    time.to_string().chars().take("2026-11-22".len()).collect()
}

/// `2026-11-22 09:00`
pub(super) fn minute(time: WallTime) -> String {
    time.to_string().chars().take("2026-11-22T09:00".len()).collect::<String>().replace('T', " ")
}

/// `12,345`
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 gap`, `2 gaps`
pub(super) fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { several })
}

/// The class of what was established; shape and letter say the same as its colour.
pub(super) fn class(authentication: Authentication) -> &'static str {
    authentication.as_str()
}

/// A letter for what was established.
pub(super) fn letter(authentication: Authentication) -> &'static str {
    match authentication {
        Authentication::Mutual => "M",
        Authentication::Psk => "P",
        Authentication::ServerOnly => "S",
        Authentication::Anonymous => "A",
        Authentication::None => "N",
        Authentication::NotEstablished => "×",
        Authentication::Unknown => "?",
    }
}

/// What it is called in a sentence.
pub(super) fn words(authentication: Authentication) -> &'static str {
    match authentication {
        Authentication::Mutual => "both sides proved who they are",
        Authentication::Psk => "both sides proved that they have a shared key",
        Authentication::ServerOnly => "only the server proved who it is",
        Authentication::Anonymous => "encrypted, nobody proved anything",
        Authentication::None => "nobody proved anything",
        Authentication::NotEstablished => "did not come about",
        Authentication::Unknown => "not known",
    }
}

/// What is weak comes first: what a reader has to look at.
pub(super) const WEAKEST_FIRST: [Authentication; 7] = [
    Authentication::None,
    Authentication::Anonymous,
    Authentication::ServerOnly,
    Authentication::Unknown,
    Authentication::Psk,
    Authentication::Mutual,
    Authentication::NotEstablished,
];

/// Its place in [`WEAKEST_FIRST`].
pub(super) fn weakness(authentication: Authentication) -> usize {
    WEAKEST_FIRST.iter().position(|one| *one == authentication).unwrap_or(WEAKEST_FIRST.len())
}
