-- The history of one host, version 1. docs/schema.md explains it to people who bring their own SQL.
-- What repeats is kept once and named by a number; a connection is one row of numbers. Times are nanoseconds since
-- 1970-01-01 UTC. The columns `record` hold JSON with the names of the public record. A number is never given twice, so that a
-- reader may remember what it means.

-- What a process runs: everything of it that outlives it.
CREATE TABLE program (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  digest BLOB NOT NULL UNIQUE,
  executable TEXT,
  comm TEXT NOT NULL,
  record TEXT NOT NULL
);
CREATE INDEX program_executable ON program (executable);

CREATE TABLE process (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  pid INTEGER NOT NULL,
  start_time INTEGER NOT NULL,
  started INTEGER,
  namespace_pid INTEGER,
  program INTEGER NOT NULL REFERENCES program (id)
);
CREATE INDEX process_pid ON process (pid, start_time);
CREATE INDEX process_program ON process (program);

-- Who held a socket.
CREATE TABLE holders (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  digest BLOB NOT NULL UNIQUE,
  first_seen INTEGER NOT NULL,
  -- Not seen later than that: an hour, or as long again as they had been seen, beyond the time they were seen.
  seen_until INTEGER NOT NULL
);
CREATE INDEX holders_seen_until ON holders (seen_until);
CREATE TABLE holder (
  holders INTEGER NOT NULL REFERENCES holders (id),
  -- 0 is its owner, without role and source; then all that held it, the owner too.
  position INTEGER NOT NULL,
  process INTEGER NOT NULL REFERENCES process (id),
  role TEXT,
  source TEXT,
  PRIMARY KEY (holders, position)
) WITHOUT ROWID;
CREATE INDEX holder_process ON holder (process);

CREATE TABLE workload (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  key TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  record TEXT NOT NULL
);
CREATE INDEX workload_name ON workload (name);

CREATE TABLE certificate (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  sha256 BLOB NOT NULL UNIQUE,
  spki_sha256 BLOB,
  identity TEXT,
  subject TEXT,
  issuer TEXT,
  serial TEXT,
  not_before INTEGER,
  not_after INTEGER,
  -- When it was met first.
  first_seen INTEGER NOT NULL,
  -- Null while only its fingerprint is known.
  record TEXT
);
CREATE INDEX certificate_spki ON certificate (spki_sha256);
CREATE INDEX certificate_identity ON certificate (identity);
CREATE INDEX certificate_subject ON certificate (subject);
CREATE INDEX certificate_issuer ON certificate (issuer);
CREATE INDEX certificate_serial ON certificate (serial);
CREATE INDEX certificate_unknown ON certificate (id) WHERE record IS NULL;

-- The alternative names of certificates, of whatever kind.
CREATE TABLE alternative_name (
  name TEXT NOT NULL,
  certificate INTEGER NOT NULL REFERENCES certificate (id),
  PRIMARY KEY (name, certificate)
) WITHOUT ROWID;
CREATE INDEX alternative_name_certificate ON alternative_name (certificate);

-- An end of connections: everything of it but its port if it is the client's, and its processes.
CREATE TABLE endpoint (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  digest BLOB NOT NULL UNIQUE,
  -- Null for visitors, whose connections have it.
  address TEXT,
  workload INTEGER REFERENCES workload (id),
  identity TEXT,
  record TEXT NOT NULL
);
CREATE INDEX endpoint_address ON endpoint (address);
-- Most clients from elsewhere have neither.
CREATE INDEX endpoint_workload ON endpoint (workload) WHERE workload IS NOT NULL;
CREATE INDEX endpoint_identity ON endpoint (identity) WHERE identity IS NOT NULL;

-- What the workload of an end is called: its key, name, unit, pod and container.
CREATE TABLE endpoint_name (
  name TEXT NOT NULL,
  endpoint INTEGER NOT NULL REFERENCES endpoint (id),
  PRIMARY KEY (name, endpoint)
) WITHOUT ROWID;
CREATE INDEX endpoint_name_endpoint ON endpoint_name (endpoint);

-- The chain that an end presented, leaf first.
CREATE TABLE endpoint_certificate (
  endpoint INTEGER NOT NULL REFERENCES endpoint (id),
  position INTEGER NOT NULL,
  certificate INTEGER NOT NULL REFERENCES certificate (id),
  PRIMARY KEY (endpoint, position)
) WITHOUT ROWID;
CREATE INDEX endpoint_certificate_certificate ON endpoint_certificate (certificate);

-- What was said of connections: everything but their ends, times, ids and counts.
CREATE TABLE answer (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  digest BLOB NOT NULL UNIQUE,
  authentication TEXT NOT NULL,
  encryption TEXT NOT NULL,
  protocol TEXT NOT NULL,
  scope TEXT NOT NULL,
  server_name TEXT,
  client_public_key_sha256 TEXT,
  server_public_key_sha256 TEXT,
  record TEXT NOT NULL
);
CREATE INDEX answer_server_name ON answer (server_name) WHERE server_name IS NOT NULL;
-- Hardly anybody has raw public keys.
CREATE INDEX answer_client_public_key ON answer (client_public_key_sha256) WHERE client_public_key_sha256 IS NOT NULL;
CREATE INDEX answer_server_public_key ON answer (server_public_key_sha256) WHERE server_public_key_sha256 IS NOT NULL;

-- An end of an edge: a workload (`workload:KEY`), else an identity (`identity:NAME`), else an address (`address:A`),
-- and `external` for clients from elsewhere without either.
CREATE TABLE node (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  key TEXT NOT NULL UNIQUE,
  workload INTEGER REFERENCES workload (id)
);
CREATE INDEX node_workload ON node (workload);

CREATE TABLE edge (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  client INTEGER NOT NULL REFERENCES node (id),
  server INTEGER NOT NULL REFERENCES node (id),
  port INTEGER NOT NULL,
  UNIQUE (client, server, port)
);
CREATE INDEX edge_server ON edge (server);

-- Connections with the same ends and the same answer, counted as they are written. first_seen and last_seen are of
-- all there ever were, the counts of those that are still kept, one by one or folded.
CREATE TABLE pairing (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  edge INTEGER NOT NULL REFERENCES edge (id),
  client INTEGER NOT NULL REFERENCES endpoint (id),
  server INTEGER NOT NULL REFERENCES endpoint (id),
  answer INTEGER NOT NULL REFERENCES answer (id),
  connections INTEGER NOT NULL,
  first_seen INTEGER NOT NULL,
  last_seen INTEGER NOT NULL,
  client_bytes INTEGER NOT NULL,
  server_bytes INTEGER NOT NULL,
  UNIQUE (client, server, answer)
);
CREATE INDEX pairing_edge ON pairing (edge);
CREATE INDEX pairing_server ON pairing (server);
CREATE INDEX pairing_answer ON pairing (answer);
CREATE INDEX pairing_unused ON pairing (id) WHERE connections <= 0;

-- Clients from elsewhere without workload and identity: as many as there are addresses.
CREATE TABLE visitor (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  address TEXT NOT NULL UNIQUE
);

-- What of a pairing is of one visitor.
CREATE TABLE visit (
  visitor INTEGER NOT NULL REFERENCES visitor (id),
  pairing INTEGER NOT NULL REFERENCES pairing (id),
  connections INTEGER NOT NULL,
  first_seen INTEGER NOT NULL,
  last_seen INTEGER NOT NULL,
  client_bytes INTEGER NOT NULL,
  server_bytes INTEGER NOT NULL,
  PRIMARY KEY (visitor, pairing)
) WITHOUT ROWID;
CREATE INDEX visit_unused ON visit (pairing) WHERE connections <= 0;

-- Who held sockets of a pairing.
CREATE TABLE held (
  holders INTEGER NOT NULL REFERENCES holders (id),
  pairing INTEGER NOT NULL REFERENCES pairing (id),
  PRIMARY KEY (holders, pairing)
) WITHOUT ROWID;
CREATE INDEX held_pairing ON held (pairing);

CREATE TABLE connection (
  -- Nanoseconds since 1970, moved on by `shift` where two would be equal.
  opened INTEGER PRIMARY KEY,
  -- The last ten bytes of its id; the first six are its milliseconds (RFC 9562 section 5.7).
  chance BLOB NOT NULL,
  pairing INTEGER NOT NULL REFERENCES pairing (id),
  -- Twice the revision, and one more if it was the last.
  revision INTEGER NOT NULL,
  client_port INTEGER NOT NULL,
  client_holders INTEGER REFERENCES holders (id),
  server_holders INTEGER REFERENCES holders (id),
  visitor INTEGER REFERENCES visitor (id),
  -- Nanoseconds after it was opened.
  decided INTEGER,
  closed INTEGER,
  -- 0 fin, 1 reset, 2 timeout, 3 unknown.
  close_reason INTEGER,
  session_id BLOB,
  -- Sent by either side, when it had ended.
  client_bytes INTEGER,
  server_bytes INTEGER,
  -- Bytes that were looked at for a credential in clear; null for none.
  client_examined INTEGER,
  server_examined INTEGER,
  shift INTEGER,
  -- JSON of what few connections have: addresses they were translated to, and whose session they resume.
  rest TEXT
);
CREATE INDEX connection_visitor ON connection (visitor, pairing) WHERE visitor IS NOT NULL;

-- Connections by pairing; the latest stand apart (pairing_recent) and are put here in order.
CREATE TABLE pairing_connection (
  pairing INTEGER NOT NULL REFERENCES pairing (id),
  opened INTEGER NOT NULL REFERENCES connection (opened),
  PRIMARY KEY (pairing, opened)
) WITHOUT ROWID;
CREATE TABLE pairing_recent (
  pairing INTEGER NOT NULL REFERENCES pairing (id),
  opened INTEGER NOT NULL REFERENCES connection (opened),
  PRIMARY KEY (pairing, opened)
) WITHOUT ROWID;
-- Both of them.
CREATE VIEW pairing_connections AS
  SELECT pairing, opened FROM pairing_connection UNION ALL SELECT pairing, opened FROM pairing_recent;

-- Connections that are only counted any more, by pairing, hour and visitor.
CREATE TABLE folded (
  pairing INTEGER NOT NULL REFERENCES pairing (id),
  -- Hours since 1970 of when they were opened.
  hour INTEGER NOT NULL,
  -- 0 for none.
  visitor INTEGER NOT NULL,
  connections INTEGER NOT NULL,
  first_opened INTEGER NOT NULL,
  last_opened INTEGER NOT NULL,
  client_bytes INTEGER NOT NULL,
  server_bytes INTEGER NOT NULL,
  PRIMARY KEY (pairing, hour, visitor)
) WITHOUT ROWID;
CREATE INDEX folded_hour ON folded (hour);

CREATE TABLE finding (
  id TEXT PRIMARY KEY,
  code TEXT NOT NULL,
  severity TEXT NOT NULL,
  -- The edge of its first connection, null if that is not kept.
  edge INTEGER REFERENCES edge (id),
  first_seen INTEGER NOT NULL,
  last_seen INTEGER NOT NULL,
  record TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX finding_edge ON finding (edge);
CREATE INDEX finding_last_seen ON finding (last_seen);

-- What was not seen, or seen and not written.
CREATE TABLE gap (
  id INTEGER PRIMARY KEY,
  began INTEGER,
  ended INTEGER NOT NULL,
  cause TEXT NOT NULL,
  lost INTEGER
);
