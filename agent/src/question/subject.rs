//! Whom a question means: a name that certificates carry, a fingerprint, a key or an issuer.

use rusqlite::{Connection, Params};
use rustc_hash::FxHashSet;

use super::QuestionError;
use super::selection::fingerprints;
use crate::record::Text;

/// Certificates that one subject may mean; an issuer's are the most.
const MAX_CERTIFICATES: usize = 20_000;
/// Digits from which on a part of a fingerprint is taken for one: so few are not met by chance.
const MIN_DIGITS: usize = 8;
/// Certificates with the name `?1` among their alternative ones, also where it is not what they are identified by.
pub(super) const HAS_ALTERNATIVE_NAME: &str =
    "id IN (SELECT certificate FROM alternative_name WHERE name = ?1)";

/// What a subject was found to be.
#[derive(Debug, Default)]
pub(crate) struct Subject {
    /// `identity` `alternative_name` `subject` `certificate` `key` `issuer`.
    pub understood_as: Vec<Text>,
    /// Rows of `certificate`, in order.
    pub certificates: Vec<i64>,
    /// Ends that presented one of them, or that are known by the name.
    pub endpoints: FxHashSet<i64>,
    /// There are more certificates.
    pub is_cut: bool,
}

impl Subject {
    /// Looks a subject up; one that nothing is known of has no certificates and no ends.
    pub fn find(database: &Connection, text: &str) -> Result<Subject, QuestionError> {
        let mut subject = Subject::default();
        let also = format!("identity IS NOT ?1 AND {HAS_ALTERNATIVE_NAME}");
        let by_name = [
            ("identity", "identity = ?1"),
            ("alternative_name", also.as_str()),
            ("subject", "subject = ?1"),
            ("issuer", "issuer = ?1"),
        ];
        let by_digits =
            [("certificate", "sha256 BETWEEN ?1 AND ?2"), ("key", "spki_sha256 BETWEEN ?1 AND ?2")];
        for (what, condition) in by_name {
            subject.add(database, what, condition, [text])?;
        }
        if let Some((first, last)) = digits(text).as_deref().and_then(fingerprints) {
            for (what, condition) in by_digits {
                subject.add(database, what, condition, [first, last])?;
            }
        }
        subject.certificates.sort_unstable();
        subject.certificates.dedup();
        let sql = "SELECT endpoint FROM endpoint_certificate WHERE certificate = ?1";
        let mut statement = database.prepare_cached(sql)?;
        for certificate in &subject.certificates {
            for endpoint in statement.query_map([certificate], |row| row.get(0))? {
                subject.endpoints.insert(endpoint?);
            }
        }
        // Resumed sessions have the name without the certificate.
        let known = subject.endpoints.len();
        let mut statement = database.prepare_cached("SELECT id FROM endpoint WHERE identity = ?1")?;
        for endpoint in statement.query_map([text], |row| row.get(0))? {
            subject.endpoints.insert(endpoint?);
        }
        if subject.endpoints.len() > known && !subject.understood_as.contains(&"identity".into()) {
            subject.understood_as.push("identity".into());
        }
        Ok(subject)
    }

    fn add(
        &mut self,
        database: &Connection,
        what: &'static str,
        condition: &str,
        values: impl Params,
    ) -> Result<(), QuestionError> {
        let most = MAX_CERTIFICATES + 1;
        let sql = format!("SELECT id FROM certificate WHERE {condition} ORDER BY id LIMIT {most}");
        let mut statement = database.prepare_cached(&sql)?;
        let found: Vec<i64> = statement.query_map(values, |row| row.get(0))?.collect::<Result<_, _>>()?;
        if !found.is_empty() {
            self.understood_as.push(what.into());
        }
        self.is_cut |= found.len() > MAX_CERTIFICATES;
        self.certificates.extend(found.into_iter().take(MAX_CERTIFICATES));
        Ok(())
    }
}

/// A fingerprint or the beginning of one: with colons or without.
fn digits(text: &str) -> Option<String> {
    let text = text.strip_prefix("sha256:").unwrap_or(text);
    let digits: String = text.chars().filter(|character| *character != ':').collect();
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hex && (MIN_DIGITS..=64).contains(&digits.len())).then_some(digits)
}
