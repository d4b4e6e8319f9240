//! `countersign watch`

use std::io::Write;

use super::arguments::WatchArguments;
use super::output::{colour, stdout};
use super::table::{Row, print_gap, print_header};
use super::{Exit, Failure};
use crate::api::WatchClient;
use crate::display::json_safe;
use crate::record::{CONNECTION_SCHEMA, ConnectionRecord, GAP_SCHEMA, GapRecord};

pub(super) fn watch(arguments: &WatchArguments) -> Result<Exit, Failure> {
    arguments.filters.check()?;
    let socket = arguments.daemon.socket()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut client = WatchClient::connect(&socket, &arguments.filter()).await?;
        let mut printer = Printer::new(stdout(), arguments.json, colour())?;
        while let Some(line) = client.next_line().await? {
            printer.print(&line)?;
            if arguments.count.is_some_and(|count| printer.connections >= count.get()) {
                return Ok(Exit::Success);
            }
        }
        let _ = writeln!(std::io::stderr(), "countersign: the daemon has ended");
        Ok(Exit::Success)
    })
}

/// Prints lines of the stream and counts connections.
pub(super) struct Printer<W> {
    output: W,
    json: bool,
    colour: bool,
    pub connections: u64,
}

impl<W: Write> Printer<W> {
    pub fn new(mut output: W, json: bool, colour: bool) -> std::io::Result<Self> {
        if !json {
            print_header(&mut output)?;
            output.flush()?;
        }
        Ok(Printer { output, json, colour, connections: 0 })
    }

    pub fn print(&mut self, line: &str) -> std::io::Result<()> {
        #[derive(serde::Deserialize)]
        struct Schema {
            #[serde(default)]
            schema: String,
        }
        // A later daemon may send kinds that this program does not know: --json passes them on, the table has no row.
        let schema = serde_json::from_str::<Schema>(line).map(|line| line.schema).unwrap_or_default();
        self.connections += u64::from(schema == CONNECTION_SCHEMA);
        if self.json {
            writeln!(self.output, "{}", json_safe(line))?;
        } else if schema == CONNECTION_SCHEMA {
            match serde_json::from_str::<ConnectionRecord>(line) {
                Ok(record) => writeln!(self.output, "{}", Row::of(&record).line(self.colour))?,
                Err(error) => {
                    writeln!(self.output, "-- a connection that this version cannot read: {error}")?
                }
            }
        } else if schema == GAP_SCHEMA
            && let Ok(gap) = serde_json::from_str::<GapRecord>(line)
        {
            print_gap(&gap, &mut self.output)?;
        }
        self.output.flush()
    }
}
