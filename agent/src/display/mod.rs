//! Foreign text on a terminal: names of processes, certificates and hosts are chosen by others.
//!
//! Enters: any text, and values that are printed as JSON. Leaves: text that prints as itself or as a visible escape, never as a command to a terminal
//! and never in another order than it is written (CVE-2021-42574). Refuses: judging or shortening; what is
//! stored and what is matched is the original.

mod json;

pub use json::json_line;

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal could take a character for a command, hide it, or reorder what stands beside it.
fn is_unsafe(character: char) -> bool {
    matches!(character,
        // C0, DEL and C1 controls: ECMA-48.
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // Bidirectional controls: Unicode UAX #9, section 2.
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // Invisible: soft hyphen, joiners, separators, byte order mark, fillers, tags.
        | '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2028}' | '\u{2029}'
        | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Text as it may be printed to a terminal or a log: each unsafe character as its escape (`\n`, `\u{1b}`).
pub fn display_safe(text: &str) -> Cow<'_, str> {
    escape(text, |character, safe| safe.extend(character.escape_default()))
}

/// One line of JSON as it may be printed to a terminal: unsafe characters, which can only stand within its
/// strings, as JSON's own escapes; the value stays the same.
pub fn json_safe(line: &str) -> Cow<'_, str> {
    escape(line, |character, safe| {
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(safe, "\\u{unit:04x}");
        }
    })
}

fn escape(text: &str, replace: impl Fn(char, &mut String)) -> Cow<'_, str> {
    // Almost all characters are printable ASCII.
    if !text.chars().any(|character| !matches!(character, ' '..='~') && is_unsafe(character)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unsafe(character) { replace(character, &mut safe) } else { safe.push(character) }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_of_any_language_is_left_alone() {
        for text in ["", "nginx: worker process", "C:\\x", "Zürich", "日本語", "שלום", "🔒"] {
            assert!(matches!(display_safe(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn hostile_text_becomes_visible() {
        assert_eq!(display_safe("a\x1b[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(display_safe("a\nb\tc\rd\0"), "a\\nb\\tc\\rd\\u{0}");
        assert_eq!(display_safe("c1 \u{9b}31m"), "c1 \\u{9b}31m");
        assert_eq!(display_safe("evil\u{202e}txt.exe"), "evil\\u{202e}txt.exe");
        assert_eq!(display_safe("pay\u{200b}pal"), "pay\\u{200b}pal");
        for character in (0..=0x10_ffff).filter_map(char::from_u32).filter(|character| character.is_control())
        {
            assert!(!display_safe(&character.to_string()).contains(character), "{character:?}");
        }
    }

    #[test]
    fn a_json_line_keeps_its_value() {
        let value = serde_json::json!({ "comm": "a\u{9b}b\u{202e}c\u{7f}d\u{e0041}\u{1b}" });
        let line = value.to_string();
        let safe = json_safe(&line);
        assert!(!safe.chars().any(is_unsafe));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }
}
