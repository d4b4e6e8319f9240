//! `countersign completion` and `countersign man`

use std::io::{self, Write};

use clap::CommandFactory as _;
use clap_mangen::Man;

use super::output::stdout;
use super::{Arguments, Exit, Failure};

pub(super) fn completion(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    // Into memory first: the generator panics where its writer fails.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "countersign", &mut script);
    stdout().write_all(&script)?;
    Ok(Exit::Success)
}

pub(super) fn manual() -> Result<Exit, Failure> {
    stdout().write_all(&page()?)?;
    Ok(Exit::Success)
}

/// One page for the program with all its commands, section 8 (man(7)).
pub(super) fn page() -> io::Result<Vec<u8>> {
    let mut command = Arguments::command();
    command.build();
    let man = Man::new(command.clone()).section("8").manual("System administration");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    writeln!(page, ".SH COMMANDS")?;
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        subcommand(command, &mut page)?;
    }
    notes(&man, &mut page)?;
    man.render_version_section(&mut page)?;
    Ok(page)
}

fn subcommand(command: &clap::Command, page: &mut Vec<u8>) -> io::Result<()> {
    let man = Man::new(command.clone());
    let name = command.get_bin_name().unwrap_or(command.get_name());
    writeln!(page, ".SS {name}")?;
    let mut sections = Vec::new();
    man.render_description_section(&mut sections)?;
    man.render_options_section(&mut sections)?;
    // Sections of their own pages; here they are paragraphs of one.
    let sections = String::from_utf8_lossy(&sections);
    let paragraphs = sections
        .lines()
        .filter(|line| !line.starts_with(".SH") && !line.starts_with(".ie") && !line.starts_with(".el"));
    for line in paragraphs {
        writeln!(page, "{line}")?;
    }
    for nested in command.get_subcommands().filter(|command| command.get_name() != "help") {
        subcommand(nested, page)?;
    }
    notes(&man, page)
}

/// Examples and tables as they stand in the help: not filled.
fn notes(man: &Man, page: &mut Vec<u8>) -> io::Result<()> {
    let mut section = Vec::new();
    man.render_extra_section(&mut section)?;
    let section = String::from_utf8_lossy(&section);
    writeln!(page, ".PP\n.nf")?;
    for line in section
        .lines()
        .filter(|line| !line.starts_with(".SH") && !line.starts_with(".ie") && !line.starts_with(".el"))
    {
        writeln!(page, "{line}")?;
    }
    writeln!(page, ".fi")
}
