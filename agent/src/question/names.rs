//! Names of nodes and edges.

use rustc_hash::FxHashMap;

use super::QuestionError;
use crate::record::EdgeNameRecord;
use crate::store::Reader;

/// Names that were looked up; as many as there are in one answer.
pub(crate) struct Names<'a> {
    pub reader: &'a Reader,
    known: FxHashMap<i64, String>,
}

impl<'a> Names<'a> {
    pub fn new(reader: &'a Reader) -> Self {
        Names { reader, known: FxHashMap::default() }
    }

    /// The key of a node.
    pub fn of(&mut self, node: i64) -> Result<String, QuestionError> {
        if let Some(known) = self.known.get(&node) {
            return Ok(known.clone());
        }
        let mut statement = self.reader.database().prepare_cached("SELECT key FROM node WHERE id = ?1")?;
        let key: String = statement.query_row([node], |row| row.get(0))?;
        self.known.insert(node, key.clone());
        Ok(key)
    }

    /// An edge by the keys of its ends.
    pub fn edge(&mut self, edge: i64) -> Result<EdgeNameRecord, QuestionError> {
        let mut statement =
            self.reader.database().prepare_cached("SELECT client, server, port FROM edge WHERE id = ?1")?;
        let (client, server, port) =
            statement.query_row([edge], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(EdgeNameRecord { client: self.of(client)?, server: self.of(server)?, port })
    }
}
