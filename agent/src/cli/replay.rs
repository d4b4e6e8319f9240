//! `countersign replay`

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use super::arguments::ReplayArguments;
use super::interruption;
use super::output::{colour, stdout};
use super::pem_folder::PemFolder;
use super::replay_output::{Form, Printer};
use super::{Exit, Failure};
use crate::capture_file::{CaptureOptions, CaptureSource, Input, Stop, Summary};
use crate::config::{Config, ConfigError};
use crate::display::display_safe;
use crate::replay::{self, Settings, Totals};

pub(super) fn replay(arguments: &ReplayArguments) -> Result<Exit, Failure> {
    arguments.filters.check()?;
    let inputs = inputs(arguments)?;
    let config = config(arguments.config.as_deref())?;
    let names = inputs.iter().map(|input| input.to_string().into()).collect();
    let settings = Settings::new(&config, names, arguments.filters.filter());
    let options = CaptureOptions { stop: stop_at_signals()? };
    // Before reading, which may take hours.
    let certificates = arguments.certificates.as_deref().map(PemFolder::new).transpose()?;
    let mut source = match CaptureSource::open(&inputs, options) {
        Ok(source) => source,
        Err(error) => {
            // What cannot be read leaves no trace.
            if let Some(folder) = certificates {
                folder.undo();
            }
            return Err(error.into());
        }
    };
    let form = match (arguments.json, arguments.findings) {
        (true, false) => Form::Json,
        (true, true) => Form::JsonFindings,
        (false, false) => Form::Table { colour: colour() },
        (false, true) => Form::Findings { colour: colour() },
    };
    let mut printer = Printer::new(stdout(), form, certificates, shows_progress(arguments))?;
    let totals = replay::replay(&mut source, settings, &mut printer)?;
    printer.finish(&totals, source.summary())?;
    complain(&totals, source.summary());
    match printer.certificates_failure() {
        Some(failure) => Err(Failure::Io(failure)),
        None => Ok(exit(&totals, source.summary())),
    }
}

fn stop_at_signals() -> Result<Stop, Failure> {
    let stop = Stop::default();
    interruption::requests(&stop)?;
    Ok(stop)
}

fn exit(totals: &Totals, summary: &Summary) -> Exit {
    let unsupported: u64 = summary.unsupported_links.values().sum();
    if unsupported > 0 && unsupported == summary.packets {
        Exit::Negative
    } else if summary.problems.is_empty() && without_room(totals, summary) == 0 && unsupported == 0 {
        Exit::Success
    } else {
        Exit::Partial
    }
}

/// What was left out because there was more than there was room for.
fn without_room(totals: &Totals, summary: &Summary) -> u64 {
    totals.refused + totals.cut + totals.findings_refused + summary.flows_evicted
}

/// Without a name it is standard input, unless somebody sits there.
fn inputs(arguments: &ReplayArguments) -> Result<Vec<Input>, Failure> {
    if arguments.files.is_empty() {
        if std::io::stdin().is_terminal() {
            let what = "name a capture, or pipe one in: `tcpdump -w - tcp | countersign replay -`";
            return Err(Failure::Usage(what.to_owned()));
        }
        return Ok(vec![Input::Stdin]);
    }
    let is_stdin = |path: &&std::path::PathBuf| path.as_os_str() == "-";
    if arguments.files.iter().filter(is_stdin).count() > 1 {
        return Err(Failure::Usage("- is standard input, which can be read only once".to_owned()));
    }
    let input = |path| if is_stdin(&path) { Input::Stdin } else { Input::File(path.clone()) };
    Ok(arguments.files.iter().map(input).collect())
}

/// Whoever has a capture need not be able to read the daemon's configuration.
fn config(named: Option<&Path>) -> Result<Config, Failure> {
    let mut config = match Config::load(named) {
        Err(ConfigError::Unreadable { .. }) if named.is_none() => Config::default(),
        loaded => loaded?,
    };
    match config.read_owners() {
        Err(ConfigError::OwnersUnreadable { .. }) if named.is_none() => {}
        read => read?,
    }
    Ok(config)
}

/// A bar is for people, and not between the lines of a table.
fn shows_progress(arguments: &ReplayArguments) -> bool {
    let silent_until_the_end = arguments.findings || !std::io::stdout().is_terminal();
    std::io::stderr().is_terminal() && silent_until_the_end
}

/// Says what could not be read. The answers have been given, so that a closed standard error loses nothing.
fn complain(totals: &Totals, summary: &Summary) {
    let mut complaints: Vec<String> = summary.problems.iter().map(ToString::to_string).collect();
    if summary.further_problems > 0 {
        complaints.push(format!("{} further problems", summary.further_problems));
    }
    for (link, count) in &summary.unsupported_links {
        complaints.push(format!(
            "{count} packets of link type {link} were not read: it is not supported; capture on an interface with IP"
        ));
    }
    if totals.refused > 0 {
        complaints.push(format!(
            "{} connections were left out: too many were open at a time; replay a part of the capture",
            totals.refused
        ));
    }
    if totals.cut > 0 {
        complaints.push(format!(
            "{} connections were looked at in part: too many waited for lost bytes or for the rest of a message at a time, and \
             the oldest had to give way (capture_reason budget); replay a part of the capture",
            totals.cut
        ));
    }
    if summary.flows_evicted > 0 {
        complaints.push(format!(
            "{} connections were given up before their end, those without packets for the longest time first: too many were \
             open at a time; replay a part of the capture",
            summary.flows_evicted
        ));
    }
    if totals.findings_refused > 0 {
        complaints.push(format!(
            "{} findings were counted and not printed: there are too many different ones; replay a part of the capture",
            totals.findings_refused
        ));
    }
    for complaint in complaints {
        let _ = writeln!(std::io::stderr(), "countersign: {}", display_safe(&complaint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_found_no_room_is_not_called_whole() {
        let whole = (Totals::default(), Summary::default());
        assert_eq!(exit(&whole.0, &whole.1), Exit::Success);
        for partial in [
            (Totals { refused: 1, ..Totals::default() }, Summary::default()),
            (Totals { cut: 1, ..Totals::default() }, Summary::default()),
            (Totals { findings_refused: 1, ..Totals::default() }, Summary::default()),
            (Totals::default(), Summary { flows_evicted: 1, ..Summary::default() }),
        ] {
            assert_eq!(exit(&partial.0, &partial.1), Exit::Partial);
        }
    }
}
