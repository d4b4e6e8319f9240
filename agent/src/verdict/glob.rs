//! Patterns: text in which `*` stands for any characters of one part, and nothing else is special.

/// Whether a text is one that the pattern means. `separator` parts both: `*` does not reach over it. The time is
/// bounded by the product of both lengths.
pub fn matches(pattern: &str, text: &str, separator: char) -> bool {
    // What stands behind the last `*` ends the text. Most patterns end here.
    let behind = pattern.rsplit_once('*').map_or(pattern, |(_, behind)| behind);
    if !text.ends_with(behind) {
        return false;
    }
    let (mut patterns, mut parts) = (pattern.split(separator), text.split(separator));
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if part_matches(pattern, part) => {}
            _ => return false,
        }
    }
}

/// Whether a text is one that the pattern means, in which `*` stands for any characters.
pub(super) fn part_matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    // Only the last `*` is ever given more: what an earlier one could take, the last one can as well.
    let (mut at, mut taken) = (0, 0);
    let mut star = None;
    while taken < text.len() {
        match (pattern.get(at), star) {
            (Some(b'*'), _) => {
                star = Some((at + 1, taken));
                at += 1;
            }
            (Some(byte), _) if *byte == text[taken] => {
                at += 1;
                taken += 1;
            }
            (_, Some((behind, from))) => {
                star = Some((behind, from + 1));
                at = behind;
                taken = from + 1;
            }
            (_, None) => return false,
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters_of_one_part() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("*", "web"),
            ("web", "web"),
            ("web-*", "web-"),
            ("web-*.service", "web-1.a.service"),
            ("*b*b", "abbb"),
            ("**", "x"),
            ("/usr/*/curl", "/usr/bin/curl"),
            ("*/x*y", "a/xqxy"),
            ("é*", "éa"),
        ] {
            assert!(matches(pattern, text, '/'), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "x"),
            ("web", "Web"),
            ("web", "web2"),
            ("*", "a/b"),
            ("/usr/*", "/usr/bin/curl"),
            ("*b*b", "ab"),
            ("*/x*y", "a/xq/xy"),
            ("web?", "web1"),
        ] {
            assert!(!matches(pattern, text, '/'), "{pattern} {text}");
        }
        assert!(matches("*.example.com", "a.example.com", '.'));
        assert!(!matches("*.example.com", "a.b.example.com", '.'));
    }

    #[test]
    fn many_stars_do_not_take_forever() {
        let pattern = "*a".repeat(500);
        assert!(!matches(&pattern, &format!("{}b", "a".repeat(4096)), '/'));
    }
}
