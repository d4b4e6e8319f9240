//! Blast radii, timelines and differences as tables.

use std::io::{self, Write};

use super::answer::Printer;
use super::output::{Colour, coloured};
use super::table::cut;
use crate::display::display_safe;
use crate::record::{
    Authentication, BlastRadiusRecord, BlastRadiusSummaryRecord, ChangeName, ChangeRecord,
    ChangeSummaryRecord, EdgeNameRecord, EventName, EventRecord, RegressionRecord, RelationName,
    RotationRecord, StateRecord, WallTime,
};

/// Widths in characters; longer names are cut with `…`, and `--json` has them whole.
const WHO: usize = 34;
const AUTHENTICATION: usize = 15;
const WAY: usize = 44;
const DETAILS: usize = 66;
/// Digits of fingerprints: enough to ask for them.
const DIGITS: usize = 12;

impl<W: Write> Printer<W> {
    pub(super) fn radius_summary(
        &mut self,
        summary: &BlastRadiusSummaryRecord,
        _is_new: bool,
    ) -> io::Result<()> {
        let output = &mut self.output;
        writeln!(
            output,
            "{}: {} of {} certificates, {} have it",
            display_safe(&summary.subject),
            display_safe(&summary.understood_as.join(", ").replace('_', " ")),
            summary.certificate_count,
            summary.holders
        )?;
        writeln!(
            output,
            "reached {} directly and {} from there on; {} connected to it, {} could before",
            summary.reached_directly,
            summary.reached_onwards,
            summary.reached_by_directly,
            summary.reached_by_onwards
        )?;
        if summary.refused > 0 {
            writeln!(output, "-- {} connections with it came to nothing", summary.refused)?;
        }
        if summary.gaps > 0 {
            writeln!(output, "-- something was not seen in {} gaps: there may be more", summary.gaps)?;
        }
        looked_back(summary.looked_back_in_part, output)?;
        if !summary.cut.is_empty() {
            let cut = summary.cut.join(", ");
            writeln!(output, "-- not all: the bounds of {} left out more", display_safe(&cut))?;
        }
        writeln!(output)
    }

    pub(super) fn radius(&mut self, record: &BlastRadiusRecord, is_new: bool) -> io::Result<()> {
        if is_new {
            writeln!(
                self.output,
                "{:<10} STEPS {:<WHO$} {:<17} {:<AUTHENTICATION$} WAY",
                "RELATION", "WHO", "TIME UTC", "AUTHENTICATION"
            )?;
        }
        let relation = match record.relation {
            RelationName::Holds => "holds",
            RelationName::Reached => "reached",
            RelationName::ReachedBy => "reached_by",
        };
        let at = record.arrival.or(record.departure).map(minute).unwrap_or_default();
        let at = format!("{}{at}", if record.to_the_hour { "~" } else { "" });
        let mut way: Vec<&str> = record.path.iter().map(|step| step.client.as_str()).collect();
        way.extend(record.path.last().map(|step| step.server.as_str()));
        let way: Vec<_> = way.into_iter().map(short).collect();
        let line = format!(
            "{relation:<10} {:>5} {:<WHO$} {at:<17} {} {}",
            record.distance,
            cut(&display_safe(short(&record.node)), WHO),
            self.authentication(record.authentication),
            cut(&display_safe(&way.join(" → ")), WAY),
        );
        writeln!(self.output, "{}", line.trim_end())
    }

    pub(super) fn event(&mut self, event: &EventRecord, is_new: bool) -> io::Result<()> {
        if is_new {
            writeln!(self.output, "{:<17} {:<10} {:<WHO$} WHAT", "TIME UTC", "EVENT", "WHO")?;
        }
        let kind = match event.kind {
            EventName::FirstSeen => "first seen".to_owned(),
            EventName::LastSeen => "last seen".to_owned(),
            EventName::Rotation => "rotation".to_owned(),
            EventName::Regression => coloured("regression", Colour::Bad, self.colour),
        };
        let who = match (&event.regression, &event.node, &event.edge) {
            (Some(regression), ..) => edge(&regression.edge),
            (None, Some(node), _) => short(node).to_owned(),
            (None, None, name) => name.as_ref().map(edge).unwrap_or_default(),
        };
        let line = format!(
            "{:<17} {kind:<10} {:<WHO$} {}",
            format!("{}{}", if event.to_the_hour { "~" } else { "" }, minute(event.at)),
            cut(&display_safe(&who), WHO),
            cut(&display_safe(&details(event)), DETAILS)
        );
        writeln!(self.output, "{}", line.trim_end())
    }

    pub(super) fn change_summary(&mut self, summary: &ChangeSummaryRecord, _is_new: bool) -> io::Result<()> {
        writeln!(
            self.output,
            "{} edges at {}, {} at {}: {} changes",
            summary.edges_before,
            minute(summary.before),
            summary.edges_after,
            minute(summary.after),
            summary.changes
        )?;
        if summary.left_out > 0 {
            writeln!(self.output, "-- {} of them are left out: --limit", summary.left_out)?;
        }
        if summary.gaps > 0 {
            writeln!(self.output, "-- something was not seen in {} gaps: there may be more", summary.gaps)?;
        }
        looked_back(summary.looked_back_in_part, &mut self.output)?;
        writeln!(self.output)
    }

    pub(super) fn change(&mut self, record: &ChangeRecord, is_new: bool) -> io::Result<()> {
        if is_new {
            writeln!(self.output, "{:<8} {:<11} {:<24} {:<24} NAME", "CHANGE", "OF", "BEFORE", "AFTER")?;
        }
        let (what, name) = match (&record.edge, &record.identity, &record.certificate) {
            (Some(name), ..) => ("edge", edge(name)),
            (None, Some(name), _) => ("identity", name.clone()),
            (None, None, name) => ("certificate", name.clone().unwrap_or_default()),
        };
        let (change, shade) = match record.change {
            ChangeName::Weaker => ("weaker", Some(Colour::Bad)),
            ChangeName::Changed => ("changed", Some(Colour::Warning)),
            ChangeName::Stronger => ("stronger", Some(Colour::Good)),
            ChangeName::Appeared => ("appeared", None),
            ChangeName::Vanished => ("vanished", None),
        };
        let change = format!("{change:<8}");
        let change = shade.map_or(change.clone(), |shade| coloured(&change, shade, self.colour));
        let (before, after) = (state(record.before), state(record.after));
        writeln!(
            self.output,
            "{change} {what:<11} {before:<24} {after:<24} {}",
            cut(&display_safe(&name), 48)
        )
    }

    fn authentication(&self, authentication: Option<Authentication>) -> String {
        let name = format!("{:<AUTHENTICATION$}", authentication.map_or("", Authentication::as_str));
        let shade = match authentication {
            Some(Authentication::Mutual | Authentication::Psk) => Colour::Good,
            Some(Authentication::ServerOnly) => Colour::Warning,
            Some(Authentication::None | Authentication::Anonymous) => Colour::Bad,
            _ => Colour::Faint,
        };
        coloured(&name, shade, self.colour)
    }
}

fn looked_back(in_part: u64, output: &mut impl Write) -> io::Result<()> {
    match in_part {
        0 => Ok(()),
        times => writeln!(
            output,
            "-- {times} times a connection that outlived many later ones may have been missed"
        ),
    }
}

fn details(event: &EventRecord) -> String {
    if let Some(RegressionRecord { from, to, back, cut, .. }) = &event.regression {
        let back = back.map_or("not back yet".to_owned(), |back| format!("back {}", minute(back)));
        let cut = if *cut { "; goes back and forth more often" } else { "" };
        return format!("{from} → {to}, {back}{cut}");
    }
    let Some(certificate) = &event.certificate else { return "connections".to_owned() };
    let role = event.role.map_or("", |role| role.as_str());
    let new = digits(certificate);
    match &event.rotation {
        Some(rotation) => format!("{role} {new} replaces {}{}", digits(&rotation.replaces), timing(rotation)),
        None => format!("{role} {new} {}", event.identity.as_deref().unwrap_or("")),
    }
}

fn timing(rotation: &RotationRecord) -> String {
    let overlap = match rotation.overlap_seconds {
        overlap @ 0.. => format!(", both in use for {}", duration(overlap)),
        gap => format!(", none in use for {}", duration(-gap)),
    };
    let lag =
        rotation.lag_seconds.map(|lag| format!(", {} after notBefore", duration(lag))).unwrap_or_default();
    let over = if rotation.completed { "" } else { "; the old one goes on" };
    format!("{overlap}{lag}{over}")
}

/// `3d`, `5h`, `12m`, `7s`
fn duration(seconds: i64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let unit = units.into_iter().find(|(unit, _)| seconds >= *unit);
    unit.map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
}

fn digits(fingerprint: &str) -> String {
    fingerprint.chars().take(DIGITS).collect()
}

fn edge(edge: &EdgeNameRecord) -> String {
    format!("{} → {}:{}", short(&edge.client), short(&edge.server), edge.port)
}

fn state(state: Option<StateRecord>) -> String {
    let Some(state) = state else { return "-".to_owned() };
    let at: String = minute(state.last_seen).chars().skip("2026-".len()).collect();
    match state.authentication {
        Some(authentication) => format!("{authentication} {at}"),
        None => at,
    }
}

/// `2026-11-22 09:00`
fn minute(time: WallTime) -> String {
    time.to_string().chars().take("2026-11-22T09:00".len()).collect::<String>().replace('T', " ")
}

/// Without what kind of key it is; `--json` has that.
fn short(node: &str) -> &str {
    let key = node.split_once(':').map_or(node, |(_, key)| key);
    match node.strip_prefix("workload:").and_then(|key| key.split_once(':')) {
        Some((_, name)) => name,
        None => key,
    }
}
