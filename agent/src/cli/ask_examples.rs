//! Help of the questions about the history.

pub(super) const CONNECTIONS_EXAMPLES: &str = "\
EXAMPLES:
  countersign connections --since 2h
  countersign connections --workload nginx.service --authentication none,server_only
  countersign connections --where tls.ja4=t13d1516h2_8daaf6152771_b186095e22b6 --json
  countersign connections --since 2026-11-21T09:00:00Z --until 2026-11-21T10:00:00Z --json
  countersign connections --db /mnt/evidence/countersign.db --certificate 9f86d081

FILTERS:
  Values of one kind are alternatives, different kinds must all match. FIELD of --where is any field of countersign.connection/1 \
  with its path; a list has a value if one element has it. What few connections have and no filter by workload, address, \
  identity or certificate narrows is found by looking at all of them.

COLUMNS:
  As in watch. TIME is when the connection ended, else when it was decided; a line names each new day.

EXIT STATUS:
  0 if there are some, 1 if there are none, 2 if it is not asked rightly, 3 without a history, 4 if the answer was cut.";

pub(super) const EDGES_EXAMPLES: &str = "\
EXAMPLES:
  countersign edges                                         the newest first
  countersign edges --sort last-seen --limit 20
  countersign edges --authentication none --scope east_west --sort connections
  countersign edges --server postgresql.service --since 7d
  countersign edges --db /mnt/evidence/countersign.db --json

COLUMNS:
  CLIENT and SERVER are workloads, else the identity that was presented, else the address; `external` are all clients from \
  elsewhere of whom neither is known. LAST is when a connection was seen last.

EXIT STATUS:
  0 if there are some, 1 if there are none, 2 if it is not asked rightly, 3 without a history, 4 if the answer was cut.";

pub(super) const CERTIFICATES_EXAMPLES: &str = "\
EXAMPLES:
  countersign certificates --expiring 14d
  countersign certificates --unused 30d --issuer Internal
  countersign certificates --certificate 9f86d081 --json
  countersign certificates --where key_algorithm=rsa --where key_bits=1024
  countersign certificates --db /mnt/evidence/countersign.db --expired

COLUMNS:
  NOT AFTER is the day on which it expires, with `!` if that is past. LAST is when it was presented last, ROLE how.

EXIT STATUS:
  0 if there are some, 1 if there are none, 2 if it is not asked rightly, 3 without a history, 4 if the answer was cut.";

pub(super) const FINDINGS_EXAMPLES: &str = "\
EXAMPLES:
  countersign findings
  countersign findings --severity high --since 24h
  countersign findings --code credential_in_clear --json
  countersign findings --where host=web-1
  countersign findings --db /mnt/evidence/countersign.db --excepted

EXIT STATUS:
  0 if there are some, 1 if there are none, 2 if it is not asked rightly, 3 without a history, 4 if the answer was cut.";

pub(super) const WHO_EXAMPLES: &str = "\
EXAMPLES:
  countersign who 10.0.4.7
  countersign who 10.0.4.7:5432 --since 1h
  countersign who nginx.service
  countersign who spiffe://example.org/ns/prod/sa/api --json
  countersign who 9f86d081 --db /mnt/evidence/countersign.db

SUBJECT:
  What is typed is taken for all that it can be and is known as, and the answer says so: a number is a pid and may be a serial, \
  a name is a workload and may be an identity. Digits of certificates and keys are hexadecimal, with or without colons.

EXIT STATUS:
  0 if something is known, 1 if not, 2 if it is not asked rightly, 3 without a history, 4 if the answer was cut.";

pub(super) const EXPLAIN_EXAMPLES: &str = "\
EXAMPLES:
  countersign explain 019f7f1c-5a3b-7c11-9d00-0000000000ff
  countersign explain 019f7f1c-5a3b-7c11-9d00-0000000000ff --db /mnt/evidence/countersign.db --json

EXIT STATUS:
  0 if it is known, or counted only; 1 if it is not; 2 if that is no id, 3 without a history, 4 if the answer was cut.";

pub(super) const TIMELINE_EXAMPLES: &str = "\
EXAMPLES:
  countersign timeline spiffe://example.org/payments
  countersign timeline payments.service --since 7d          a workload: its certificates and edges
  countersign timeline --client web.service --server postgresql.service --port 5432     one edge
  countersign timeline 3f2a90c1 --json

EXIT STATUS:
  0 if something happened, 1 if nothing is known, 2 if it is not asked rightly, 3 without a history, 4 if bounds left something out.";

pub(super) const DIFF_EXAMPLES: &str = "\
EXAMPLES:
  countersign diff --before 7d                              a week ago and now
  countersign diff --before 2026-11-20T08:00:00Z --after 2026-11-20T20:00:00Z --window 1h --json

An edge, an identity or a certificate is there at a time if it was seen within the window before it.

EXIT STATUS:
  0 if something changed, 1 if nothing did, 2 if it is not asked rightly, 3 without a history, 4 if more changed than the limit.";
