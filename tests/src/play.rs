//! One connection of the matrix, played and compared.
#![expect(clippy::print_stdout, reason = "the table is for whoever runs the tests")]

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};

use crate::{
    Agent, Case, ClientOptions, ClientRun, Mode, Outcome, Process, ServerOptions, Sight, Testbed, cases,
    expected, text,
};

/// One line of the printed table.
#[derive(Debug)]
struct Row {
    case: Case,
    expected: String,
    seen: String,
    problems: Vec<String>,
}

/// Plays what `wanted` lets through of the plain matrix, or of the full one (`COUNTERSIGN_FULL=1`), prints the table, and
/// fails if anything in it is wrong. `COUNTERSIGN_ONLY` names words that a case must contain.
///
/// # Panics
/// When a record is wrong.
pub fn play_all(agent: Option<&Agent>, sight: Sight, wanted: impl Fn(&Case) -> bool) {
    let full = std::env::var("COUNTERSIGN_FULL").is_ok_and(|value| value == "1");
    let only = std::env::var("COUNTERSIGN_ONLY").unwrap_or_default();
    let rows: Vec<Row> = cases(full)
        .into_iter()
        .filter(|case| wanted(case) && only.split_whitespace().all(|word| case.to_string().contains(word)))
        .flat_map(|case| {
            play(case, agent, sight).unwrap_or_else(|error| {
                let problems = vec![format!("{error:?}")];
                vec![Row { case, expected: String::new(), seen: String::new(), problems }]
            })
        })
        .collect();
    let failed = rows.iter().filter(|row| !row.problems.is_empty()).count();
    let unknown = rows.iter().filter(|row| row.seen.starts_with("unknown")).count();
    println!("{}", table(&rows));
    println!("{} connections, {failed} wrong, {unknown} unknown", rows.len());
    assert_eq!(failed, 0, "of {} connections (see the table)", rows.len());
}

/// Runs the peers of one case and compares the record of each connection.
fn play(case: Case, agent: Option<&Agent>, sight: Sight) -> Result<Vec<Row>> {
    let testbed = Testbed::shared();
    let port = testbed.port();
    let server = case.server.start(
        testbed,
        ServerOptions {
            address: Testbed::SERVER,
            port,
            version: case.version,
            request: case.mode.request(),
            identity: &testbed.pki.server,
        },
    )?;
    let identity = match case.mode {
        Mode::Mutual | Mode::Resumed => Some(&testbed.pki.client),
        Mode::Rejected => Some(&testbed.pki.client_untrusted),
        _ => None,
    };
    let resume = case.mode == Mode::Resumed;
    let options =
        ClientOptions { address: Testbed::SERVER, port, version: case.version, identity, resume, count: 1 };
    let run = case.client.run(testbed, options)?;
    prove_peers(case, &run, &server)?;
    let Some(agent) = agent else {
        return Ok(vec![Row {
            case,
            expected: String::new(),
            seen: run.cipher_suite.unwrap_or_default(),
            problems: Vec::new(),
        }]);
    };
    compare(case, testbed, agent, (&server, port), &run, sight)
}

/// What happened is what the case says: else a wrong record would prove nothing.
fn prove_peers(case: Case, run: &ClientRun, server: &Process) -> Result<()> {
    let printed = || format!("client:\n{}\nserver:\n{}", run.output, server.output());
    let answer = case.mode != Mode::Rejected;
    ensure!(run.answered == answer, "answered is {}\n{}", run.answered, printed());
    ensure!(case.mode != Mode::Resumed || run.resumed != Some(false), "not resumed\n{}", printed());
    Ok(())
}

fn compare(
    case: Case,
    testbed: &Testbed,
    agent: &Agent,
    (server, port): (&Process, u16),
    run: &ClientRun,
    sight: Sight,
) -> Result<Vec<Row>> {
    let records = agent.records.closed_to(port, run.pids.len())?;
    ensure!(records.len() == run.pids.len(), "{} records: {records:#?}", records.len());
    let server_pids = server.tree();
    let first = text(records.first().context("no record")?, "/id").to_owned();
    let rows = records.iter().zip(&run.pids).enumerate().map(|(number, (record, &client_pid))| {
        let outcome = Outcome {
            server_pids: &server_pids,
            client_pid,
            port,
            cipher_suite: run.cipher_suite.as_deref(),
            resumes: (number > 0).then_some(first.as_str()),
            sight,
        };
        let expectation = expected(&case, testbed, &outcome);
        let mut problems = expectation.mismatches(record);
        if !problems.is_empty() {
            problems.push(record.to_string());
        }
        let seen = ["/authentication", "/tls/client_authentication", "/evidence/client", "/evidence/reason"]
            .map(|pointer| text(record, pointer))
            .join(" ");
        let wanted = ["/authentication", "/tls/client_authentication", "/evidence/client"]
            .map(|pointer| expectation.of(pointer).replace('"', ""))
            .join(" ");
        Row { case, expected: wanted, seen, problems }
    });
    Ok(rows.collect())
}

fn table(rows: &[Row]) -> String {
    let mut text = format!("{:35} {:48} {}\n", "client   server   TLS mode", "expected", "seen");
    for row in rows {
        let mark = if row.problems.is_empty() { ' ' } else { '✗' };
        let case = row.case.to_string();
        let _ = writeln!(text, "{mark} {case:33} {:48} {}", row.expected, row.seen);
        for problem in &row.problems {
            let _ = writeln!(text, "      {problem}");
        }
    }
    text
}
