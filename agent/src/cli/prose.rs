//! What is told rather than listed: a subject, and the evidence of one connection.

use std::io::{self, Write};

use super::rows::{counts, minute};
use crate::display::display_safe;
use crate::record::{ExplanationRecord, ProcessRecord, RoleRecord, SubjectRecord};

/// Width of the topics.
const TOPIC: usize = 15;

pub(super) fn subject(subject: &SubjectRecord, output: &mut impl Write) -> io::Result<()> {
    let understood = subject.understood_as.join(", ").replace('_', " ");
    writeln!(output, "{}: {}", display_safe(&subject.subject), display_safe(&understood))?;
    let mut line = |topic: &str, text: String| match text.is_empty() {
        true => Ok(()),
        false => writeln!(output, "{topic:<TOPIC$} {}", display_safe(&text)),
    };
    if let (Some(first), Some(last)) = (subject.first_seen, subject.last_seen) {
        line("seen", format!("{} to {} UTC", minute(first), minute(last)))?;
    }
    line(
        "connections",
        subject.connections.map_or_else(|| "not counted".to_owned(), |count| count.to_string()),
    )?;
    line("as client", role(&subject.client))?;
    line("as server", role(&subject.server))?;
    line("findings", counts(&subject.findings))?;
    for (topic, names) in [
        ("addresses", &subject.addresses),
        ("workloads", &subject.workloads),
        ("owners", &subject.owners),
        ("identities", &subject.identities),
        ("certificates", &subject.certificates),
        ("peers", &subject.peers),
    ] {
        line(topic, names.join("  "))?;
    }
    let processes: Vec<String> = subject.processes.iter().map(process).collect();
    line("processes", processes.join("  "))?;
    if subject.left_out > 0 {
        line("left out", format!("{} names more", subject.left_out))?;
    }
    writeln!(output)
}

fn role(role: &RoleRecord) -> String {
    counts(&role.authentication)
}

fn process(process: &ProcessRecord) -> String {
    let path = process.executable.as_deref().unwrap_or(&process.comm);
    format!("{path}[{}]", process.pid)
}

pub(super) fn explanation(
    explanation: &ExplanationRecord,
    columns: usize,
    output: &mut impl Write,
) -> io::Result<()> {
    writeln!(output, "connection {}", display_safe(&explanation.id))?;
    let mut topic = "";
    for step in &explanation.steps {
        let named = if step.topic == topic { "" } else { &*step.topic };
        topic = &step.topic;
        let at = step.at.map_or(String::new(), |at| format!("{at} "));
        let text = display_safe(&format!("{at}{}", step.text)).into_owned();
        let named = display_safe(&named.replace('_', " ")).into_owned();
        for (number, line) in wrapped(&text, columns - TOPIC - 1).iter().enumerate() {
            let named = if number == 0 { &*named } else { "" };
            writeln!(output, "{}", format!("{named:<TOPIC$} {line}").trim_end())?;
        }
    }
    Ok(())
}

/// Lines of at most so many characters, broken at spaces; what has none is broken anywhere.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line, mut length) = (Vec::new(), String::new(), 0);
    for word in text.split(' ') {
        let mut rest: Vec<char> = word.chars().collect();
        if length > 0 && length + 1 + rest.len() > width {
            lines.push(std::mem::take(&mut line));
            length = 0;
        }
        while rest.len() > width {
            lines.push(rest.drain(..width).collect());
        }
        if length > 0 {
            line.push(' ');
            length += 1;
        }
        length += rest.len();
        line.extend(rest);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_at_spaces_and_long_words_anywhere() {
        assert_eq!(wrapped("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(wrapped("aaaaaaa b", 3), ["aaa", "aaa", "a b"]);
        assert_eq!(wrapped("x aaaa", 3), ["x", "aaa", "a"]);
        assert_eq!(wrapped("", 3), [""]);
    }
}
