//! What nothing refers to any more: visits and pairings without connections and what only they had, holders of forgotten ones, and certificates
//! whose connection was lost.

use rusqlite::{Connection, OptionalExtension as _};
use rustc_hash::FxHashMap;

use super::StoreError;
use super::dimensions::Dimension;
use super::retention::OTHERS;

/// Numbers that mean nothing any more.
#[derive(Debug, Default)]
pub(super) struct Gone(pub FxHashMap<Dimension, Vec<i64>>);

impl Gone {
    /// Deletes a row if the query finds nothing that refers to it.
    fn unless_used(
        &mut self,
        database: &Connection,
        dimension: Dimension,
        number: i64,
        used: &str,
    ) -> Result<bool, StoreError> {
        if database.prepare_cached(used)?.exists([number])? {
            return Ok(false);
        }
        let sql = format!("DELETE FROM {} WHERE id = ?1", dimension.table());
        database.prepare_cached(&sql)?.execute([number])?;
        if let Some(sql) = dimension.delete_parts() {
            database.prepare_cached(sql)?.execute([number])?;
        }
        self.0.entry(dimension).or_default().push(number);
        Ok(true)
    }
}

/// Deletes visits without connections, and visitors that have no others.
pub(super) fn remove_visits(database: &Connection, gone: &mut Gone) -> Result<bool, StoreError> {
    let sql = "DELETE FROM visit WHERE (visitor, pairing) IN \
               (SELECT visitor, pairing FROM visit INDEXED BY visit_unused WHERE connections <= 0 LIMIT ?1) \
               RETURNING visitor";
    let visitors: Vec<i64> =
        database.prepare_cached(sql)?.query_map([OTHERS], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for visitor in &visitors {
        let used = "SELECT 1 FROM visit WHERE visitor = ?1";
        gone.unless_used(database, Dimension::Visitor, *visitor, used)?;
    }
    Ok(!visitors.is_empty())
}

/// Deletes pairings without connections, and what only they had.
pub(super) fn remove_unused(database: &Connection, gone: &mut Gone) -> Result<bool, StoreError> {
    let sql = "SELECT id, edge, client, server, answer FROM pairing WHERE connections <= 0 LIMIT ?1";
    let unused: Vec<[i64; 5]> = database
        .prepare_cached(sql)?
        .query_map([OTHERS], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?]))?
        .collect::<Result<_, _>>()?;
    for [pairing, edge, client, server, answer] in &unused {
        let used = "SELECT 1 FROM folded WHERE pairing = ?1 UNION ALL \
                    SELECT 1 FROM visit WHERE pairing = ?1 AND connections <= 0";
        gone.unless_used(database, Dimension::Pairing, *pairing, used)?;
        gone.unless_used(database, Dimension::Answer, *answer, "SELECT 1 FROM pairing WHERE answer = ?1")?;
        remove_endpoint(database, gone, *client)?;
        remove_endpoint(database, gone, *server)?;
        remove_edge(database, gone, *edge)?;
    }
    Ok(!unused.is_empty())
}

fn remove_endpoint(database: &Connection, gone: &mut Gone, endpoint: i64) -> Result<(), StoreError> {
    let used = "SELECT 1 FROM pairing WHERE client = ?1 OR server = ?1";
    if database.prepare_cached(used)?.exists([endpoint])? {
        return Ok(());
    }
    let workload = "SELECT workload FROM endpoint WHERE id = ?1";
    let workload: Option<Option<i64>> =
        database.prepare_cached(workload)?.query_row([endpoint], |row| row.get(0)).optional()?;
    let certificates: Vec<i64> = database
        .prepare_cached("DELETE FROM endpoint_certificate WHERE endpoint = ?1 RETURNING certificate")?
        .query_map([endpoint], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    gone.unless_used(database, Dimension::Endpoint, endpoint, used)?;
    for certificate in certificates {
        let used = "SELECT 1 FROM endpoint_certificate WHERE certificate = ?1";
        gone.unless_used(database, Dimension::Certificate, certificate, used)?;
    }
    match workload.flatten() {
        Some(workload) => remove_workload(database, gone, workload),
        None => Ok(()),
    }
}

fn remove_workload(database: &Connection, gone: &mut Gone, workload: i64) -> Result<(), StoreError> {
    let used = "SELECT 1 FROM endpoint WHERE workload = ?1 UNION ALL SELECT 1 FROM node WHERE workload = ?1";
    gone.unless_used(database, Dimension::Workload, workload, used).map(drop)
}

fn remove_edge(database: &Connection, gone: &mut Gone, edge: i64) -> Result<(), StoreError> {
    if database.prepare_cached("SELECT 1 FROM pairing WHERE edge = ?1")?.exists([edge])? {
        return Ok(());
    }
    database.prepare_cached("UPDATE finding SET edge = NULL WHERE edge = ?1")?.execute([edge])?;
    let ends: Option<[i64; 2]> = database
        .prepare_cached("SELECT client, server FROM edge WHERE id = ?1")?
        .query_row([edge], |row| Ok([row.get(0)?, row.get(1)?]))
        .optional()?;
    gone.unless_used(database, Dimension::Edge, edge, "SELECT 1 FROM pairing WHERE edge = ?1")?;
    for node in ends.into_iter().flatten() {
        let workload: Option<Option<i64>> = database
            .prepare_cached("SELECT workload FROM node WHERE id = ?1")?
            .query_row([node], |row| row.get(0))
            .optional()?;
        let used = "SELECT 1 FROM edge WHERE client = ?1 OR server = ?1";
        if gone.unless_used(database, Dimension::Node, node, used)?
            && let Some(workload) = workload.flatten()
        {
            remove_workload(database, gone, workload)?;
        }
    }
    Ok(())
}

/// Deletes holders whom no connection has that is kept: they were last seen before the oldest of these was opened.
pub(super) fn remove_holders(database: &Connection, gone: &mut Gone) -> Result<bool, StoreError> {
    let sql = "SELECT id FROM holders WHERE seen_until < coalesce((SELECT min(opened) FROM connection), ?2) \
               ORDER BY seen_until LIMIT ?1";
    let stale: Vec<i64> = database
        .prepare_cached(sql)?
        .query_map([OTHERS, i64::MAX], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for holders in &stale {
        let processes: Vec<i64> = database
            .prepare_cached("DELETE FROM holder WHERE holders = ?1 RETURNING process")?
            .query_map([holders], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        gone.unless_used(database, Dimension::Holders, *holders, "SELECT 1 FROM holder WHERE holders = ?1")?;
        for process in processes {
            remove_process(database, gone, process)?;
        }
    }
    Ok(!stale.is_empty())
}

/// Looks at the next certificates, and deletes those that no end presented although they were met long ago: the connection that
/// showed them was lost. Returns how far it came; behind the last one it begins anew.
pub(super) fn sweep_certificates(
    database: &Connection,
    gone: &mut Gone,
    oldest: i64,
    swept_to: i64,
) -> Result<i64, StoreError> {
    let sql = "SELECT id, first_seen < ?2 FROM certificate WHERE id > ?1 ORDER BY id LIMIT ?3";
    let met: Vec<(i64, bool)> = database
        .prepare_cached(sql)?
        .query_map([swept_to, oldest, OTHERS], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (certificate, _) in met.iter().filter(|(_, is_old)| *is_old) {
        let used = "SELECT 1 FROM endpoint_certificate WHERE certificate = ?1";
        gone.unless_used(database, Dimension::Certificate, *certificate, used)?;
    }
    let is_last = (met.len() as i64) < OTHERS;
    Ok(met.last().filter(|_| !is_last).map_or(0, |(certificate, _)| *certificate))
}

fn remove_process(database: &Connection, gone: &mut Gone, process: i64) -> Result<(), StoreError> {
    let program: Option<i64> = database
        .prepare_cached("SELECT program FROM process WHERE id = ?1")?
        .query_row([process], |row| row.get(0))
        .optional()?;
    let used = "SELECT 1 FROM holder WHERE process = ?1";
    if gone.unless_used(database, Dimension::Process, process, used)?
        && let Some(program) = program
    {
        let used = "SELECT 1 FROM process WHERE program = ?1";
        gone.unless_used(database, Dimension::Program, program, used)?;
    }
    Ok(())
}
