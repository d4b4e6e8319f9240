-- Views with the names of the public record, nested fields joined by `_`. They are made anew whenever the daemon opens
-- the file, so that they may grow without a new version of the schema. Times are text as in the record, lists and what is
-- free in form are JSON, and true is 1. docs/schema.md explains them.

DROP VIEW IF EXISTS connections;
CREATE VIEW connections AS SELECT
  a.record ->> '$.schema' AS schema,
  substr(printf('%012x', (c.opened - coalesce(c.shift, 0)) / 1000000), 1, 8) || '-' || substr(printf('%012x', (c.opened - coalesce(c.shift, 0)) / 1000000), 9) || '-' ||
    lower(substr(hex(c.chance), 1, 4) || '-' || substr(hex(c.chance), 5, 4) || '-' || substr(hex(c.chance), 9)) AS id,
  c.revision / 2 AS revision,
  c.revision % 2 AS final,
  CASE WHEN c.session_id IS NOT NULL THEN lower(hex(c.session_id)) END AS session_id,
  a.record ->> '$.host' AS host,
  a.record ->> '$.host_id' AS host_id,
  a.record ->> '$.boot_id' AS boot_id,
  a.record ->> '$.agent_version' AS agent_version,
  a.record ->> '$.source' AS source,
  a.record ->> '$.file' AS file,
  strftime('%Y-%m-%dT%H:%M:%S', (c.opened - coalesce(c.shift, 0)) / 1000000000, 'unixepoch') || printf('.%09dZ', (c.opened - coalesce(c.shift, 0)) % 1000000000) AS opened,
  strftime('%Y-%m-%dT%H:%M:%S', (c.opened - coalesce(c.shift, 0) + c.decided) / 1000000000, 'unixepoch') || printf('.%09dZ', (c.opened - coalesce(c.shift, 0) + c.decided) % 1000000000) AS decided,
  strftime('%Y-%m-%dT%H:%M:%S', (c.opened - coalesce(c.shift, 0) + c.closed) / 1000000000, 'unixepoch') || printf('.%09dZ', (c.opened - coalesce(c.shift, 0) + c.closed) % 1000000000) AS closed,
  CASE c.close_reason WHEN 0 THEN 'fin' WHEN 1 THEN 'reset' WHEN 2 THEN 'timeout' WHEN 3 THEN 'unknown' END AS close_reason,
  a.scope AS scope,
  a.record ->> '$.interface' AS interface,
  coalesce(v.address, e1.address) AS client_address,
  c.client_port AS client_port,
  e1.record ->> '$.dialled_address' AS client_dialled_address,
  e1.record ->> '$.dialled_port' AS client_dialled_port,
  coalesce(c.rest ->> '$.client_translated', '[]') AS client_translated,
  e1.record ->> '$.netns' AS client_netns,
  s1.pid AS client_process_pid,
  s1.start_time AS client_process_start_time,
  strftime('%Y-%m-%dT%H:%M:%S', (s1.started) / 1000000000, 'unixepoch') || printf('.%09dZ', (s1.started) % 1000000000) AS client_process_started,
  g1.record ->> '$.executable' AS client_process_executable,
  g1.record ->> '$.comm' AS client_process_comm,
  g1.record ->> '$.uid' AS client_process_uid,
  g1.record ->> '$.user' AS client_process_user,
  g1.record ->> '$.executable_device' AS client_process_executable_device,
  g1.record ->> '$.executable_inode' AS client_process_executable_inode,
  g1.record ->> '$.executable_changed' AS client_process_executable_changed,
  g1.record ->> '$.parents' AS client_process_parents,
  g1.record ->> '$.pid_namespace' AS client_process_pid_namespace,
  g1.record ->> '$.mount_namespace' AS client_process_mount_namespace,
  s1.namespace_pid AS client_process_namespace_pid,
  e1.record ->> '$.process_unknown' AS client_process_unknown,
  (SELECT json_group_array(json_object('process', json_set(g.record, '$.pid', s.pid, '$.start_time', s.start_time,
      '$.started', strftime('%Y-%m-%dT%H:%M:%S', (s.started) / 1000000000, 'unixepoch') || printf('.%09dZ', (s.started) % 1000000000),
      '$.namespace_pid', s.namespace_pid), 'role', h.role, 'source', h.source))
    FROM (SELECT * FROM holder WHERE holders = c.client_holders AND position > 0 ORDER BY position) h
    JOIN process s ON s.id = h.process JOIN program g ON g.id = s.program) AS client_processes,
  e1.record ->> '$.owner_source' AS client_owner_source,
  e1.record ->> '$.workload.kind' AS client_workload_kind,
  e1.record ->> '$.workload.name' AS client_workload_name,
  e1.record ->> '$.workload.namespace' AS client_workload_namespace,
  e1.record ->> '$.workload.pod' AS client_workload_pod,
  e1.record ->> '$.workload.container' AS client_workload_container,
  e1.record ->> '$.workload.image' AS client_workload_image,
  e1.record ->> '$.workload.unit' AS client_workload_unit,
  e1.record ->> '$.workload.service_account' AS client_workload_service_account,
  e1.record ->> '$.workload.slice' AS client_workload_slice,
  e1.record ->> '$.workload.unit_user' AS client_workload_unit_user,
  e1.record ->> '$.workload.runtime' AS client_workload_runtime,
  e1.record ->> '$.workload.container_id' AS client_workload_container_id,
  e1.record ->> '$.workload.pod_uid' AS client_workload_pod_uid,
  e1.record ->> '$.workload.unknown' AS client_workload_unknown,
  e1.record ->> '$.labels.owner' AS client_labels_owner,
  e1.record ->> '$.labels.purpose' AS client_labels_purpose,
  e1.record ->> '$.labels.environment' AS client_labels_environment,
  e1.record ->> '$.certificates' AS client_certificates,
  e1.identity AS client_identity,
  c.rest ->> '$.client_inherited_from' AS client_inherited_from,
  e1.record ->> '$.verification' AS client_verification,
  e1.record ->> '$.trust' AS client_trust,
  e1.record ->> '$.identity_fit.status' AS client_identity_fit_status,
  e1.record ->> '$.identity_fit.rule' AS client_identity_fit_rule,
  e1.record ->> '$.identity_fit.expected' AS client_identity_fit_expected,
  e1.record ->> '$.identity_fit.reason' AS client_identity_fit_reason,
  e2.address AS server_address,
  e2.record ->> '$.port' AS server_port,
  e2.record ->> '$.dialled_address' AS server_dialled_address,
  e2.record ->> '$.dialled_port' AS server_dialled_port,
  coalesce(c.rest ->> '$.server_translated', '[]') AS server_translated,
  e2.record ->> '$.netns' AS server_netns,
  s2.pid AS server_process_pid,
  s2.start_time AS server_process_start_time,
  strftime('%Y-%m-%dT%H:%M:%S', (s2.started) / 1000000000, 'unixepoch') || printf('.%09dZ', (s2.started) % 1000000000) AS server_process_started,
  g2.record ->> '$.executable' AS server_process_executable,
  g2.record ->> '$.comm' AS server_process_comm,
  g2.record ->> '$.uid' AS server_process_uid,
  g2.record ->> '$.user' AS server_process_user,
  g2.record ->> '$.executable_device' AS server_process_executable_device,
  g2.record ->> '$.executable_inode' AS server_process_executable_inode,
  g2.record ->> '$.executable_changed' AS server_process_executable_changed,
  g2.record ->> '$.parents' AS server_process_parents,
  g2.record ->> '$.pid_namespace' AS server_process_pid_namespace,
  g2.record ->> '$.mount_namespace' AS server_process_mount_namespace,
  s2.namespace_pid AS server_process_namespace_pid,
  e2.record ->> '$.process_unknown' AS server_process_unknown,
  (SELECT json_group_array(json_object('process', json_set(g.record, '$.pid', s.pid, '$.start_time', s.start_time,
      '$.started', strftime('%Y-%m-%dT%H:%M:%S', (s.started) / 1000000000, 'unixepoch') || printf('.%09dZ', (s.started) % 1000000000),
      '$.namespace_pid', s.namespace_pid), 'role', h.role, 'source', h.source))
    FROM (SELECT * FROM holder WHERE holders = c.server_holders AND position > 0 ORDER BY position) h
    JOIN process s ON s.id = h.process JOIN program g ON g.id = s.program) AS server_processes,
  e2.record ->> '$.owner_source' AS server_owner_source,
  e2.record ->> '$.workload.kind' AS server_workload_kind,
  e2.record ->> '$.workload.name' AS server_workload_name,
  e2.record ->> '$.workload.namespace' AS server_workload_namespace,
  e2.record ->> '$.workload.pod' AS server_workload_pod,
  e2.record ->> '$.workload.container' AS server_workload_container,
  e2.record ->> '$.workload.image' AS server_workload_image,
  e2.record ->> '$.workload.unit' AS server_workload_unit,
  e2.record ->> '$.workload.service_account' AS server_workload_service_account,
  e2.record ->> '$.workload.slice' AS server_workload_slice,
  e2.record ->> '$.workload.unit_user' AS server_workload_unit_user,
  e2.record ->> '$.workload.runtime' AS server_workload_runtime,
  e2.record ->> '$.workload.container_id' AS server_workload_container_id,
  e2.record ->> '$.workload.pod_uid' AS server_workload_pod_uid,
  e2.record ->> '$.workload.unknown' AS server_workload_unknown,
  e2.record ->> '$.labels.owner' AS server_labels_owner,
  e2.record ->> '$.labels.purpose' AS server_labels_purpose,
  e2.record ->> '$.labels.environment' AS server_labels_environment,
  e2.record ->> '$.certificates' AS server_certificates,
  e2.identity AS server_identity,
  c.rest ->> '$.server_inherited_from' AS server_inherited_from,
  e2.record ->> '$.verification' AS server_verification,
  e2.record ->> '$.trust' AS server_trust,
  e2.record ->> '$.identity_fit.status' AS server_identity_fit_status,
  e2.record ->> '$.identity_fit.rule' AS server_identity_fit_rule,
  e2.record ->> '$.identity_fit.expected' AS server_identity_fit_expected,
  e2.record ->> '$.identity_fit.reason' AS server_identity_fit_reason,
  a.record ->> '$.observed_from' AS observed_from,
  a.protocol AS protocol,
  a.record ->> '$.upgraded_from' AS upgraded_from,
  a.encryption AS encryption,
  a.authentication AS authentication,
  a.record ->> '$.evidence.server' AS evidence_server,
  a.record ->> '$.evidence.client' AS evidence_client,
  a.record ->> '$.evidence.reason' AS evidence_reason,
  a.record ->> '$.evidence.disagreement' AS evidence_disagreement,
  a.record ->> '$.confidence.server' AS confidence_server,
  a.record ->> '$.confidence.client' AS confidence_client,
  a.record ->> '$.credential_in_clear' AS credential_in_clear,
  coalesce(c.client_examined, 0) AS cleartext_examined_client,
  coalesce(c.server_examined, 0) AS cleartext_examined_server,
  a.record ->> '$.capture_complete' AS capture_complete,
  a.record ->> '$.capture_reason' AS capture_reason,
  a.record ->> '$.tls.version_offered' AS tls_version_offered,
  a.record ->> '$.tls.version' AS tls_version,
  a.record ->> '$.tls.cipher_suite' AS tls_cipher_suite,
  a.record ->> '$.tls.cipher_suite_id' AS tls_cipher_suite_id,
  a.record ->> '$.tls.group' AS tls_group,
  a.record ->> '$.tls.server_name' AS tls_server_name,
  a.record ->> '$.tls.alpn_offered' AS tls_alpn_offered,
  a.record ->> '$.tls.alpn' AS tls_alpn,
  a.record ->> '$.tls.ja4' AS tls_ja4,
  a.record ->> '$.tls.resumed' AS tls_resumed,
  a.record ->> '$.tls.early_data' AS tls_early_data,
  a.record ->> '$.tls.hello_retry_request' AS tls_hello_retry_request,
  a.record ->> '$.tls.encrypted_client_hello' AS tls_encrypted_client_hello,
  a.record ->> '$.tls.encrypted_client_hello_form' AS tls_encrypted_client_hello_form,
  a.record ->> '$.tls.ocsp_staple' AS tls_ocsp_staple,
  a.record ->> '$.tls.delegated_credential_offered' AS tls_delegated_credential_offered,
  a.record ->> '$.tls.certificate_compression_offered' AS tls_certificate_compression_offered,
  a.record ->> '$.tls.raw_public_key_offered' AS tls_raw_public_key_offered,
  a.record ->> '$.tls.client_certificate_type' AS tls_client_certificate_type,
  a.record ->> '$.tls.server_certificate_type' AS tls_server_certificate_type,
  a.record ->> '$.tls.client_public_key_sha256' AS tls_client_public_key_sha256,
  a.record ->> '$.tls.server_public_key_sha256' AS tls_server_public_key_sha256,
  a.record ->> '$.tls.client_authentication' AS tls_client_authentication,
  a.record ->> '$.tls.client_authentication_outcome' AS tls_client_authentication_outcome,
  a.record ->> '$.tls.alerts' AS tls_alerts,
  a.record ->> '$.tls.history' AS tls_history,
  a.record ->> '$.tls.handshake' AS tls_handshake,
  a.record ->> '$.findings' AS findings,
  a.record ->> '$.authorization' AS authorization,
  a.record ->> '$.policy_version' AS policy_version,
  c.client_bytes AS bytes_client_to_server,
  c.server_bytes AS bytes_server_to_client,
  c.opened AS opened_nanoseconds
FROM connection c
JOIN pairing p ON p.id = c.pairing
JOIN answer a ON a.id = p.answer
JOIN endpoint e1 ON e1.id = p.client
JOIN endpoint e2 ON e2.id = p.server
LEFT JOIN visitor v ON v.id = c.visitor
LEFT JOIN holder h1 ON h1.holders = c.client_holders AND h1.position = 0
LEFT JOIN process s1 ON s1.id = h1.process
LEFT JOIN program g1 ON g1.id = s1.program
LEFT JOIN holder h2 ON h2.holders = c.server_holders AND h2.position = 0
LEFT JOIN process s2 ON s2.id = h2.process
LEFT JOIN program g2 ON g2.id = s2.program;

DROP VIEW IF EXISTS certificates;
CREATE VIEW certificates AS SELECT
  lower(hex(k.sha256)) AS sha256,
  k.record ->> '$.spki_sha256' AS spki_sha256,
  k.record ->> '$.subject' AS subject,
  k.record ->> '$.issuer' AS issuer,
  k.record ->> '$.serial' AS serial,
  k.record ->> '$.not_before' AS not_before,
  k.record ->> '$.not_after' AS not_after,
  k.record ->> '$.san.dns' AS san_dns,
  k.record ->> '$.san.uri' AS san_uri,
  k.record ->> '$.san.ip' AS san_ip,
  k.record ->> '$.san.email' AS san_email,
  k.record ->> '$.san.unread' AS san_unread,
  k.record ->> '$.spiffe_id' AS spiffe_id,
  k.record ->> '$.svid_problem' AS svid_problem,
  k.record ->> '$.key_algorithm' AS key_algorithm,
  k.record ->> '$.key_bits' AS key_bits,
  k.record ->> '$.signature_algorithm' AS signature_algorithm,
  k.record ->> '$.is_ca' AS is_ca,
  k.record ->> '$.self_signed' AS self_signed,
  k.record ->> '$.key_usage' AS key_usage,
  k.record ->> '$.extended_key_usage' AS extended_key_usage,
  k.record ->> '$.authority_key_id' AS authority_key_id,
  k.record ->> '$.subject_key_id' AS subject_key_id,
  k.record ->> '$.crl_distribution_points' AS crl_distribution_points,
  k.record ->> '$.ocsp_responders' AS ocsp_responders,
  k.record ->> '$.truncated' AS truncated,
  k.record ->> '$.parse_error' AS parse_error,
  strftime('%Y-%m-%dT%H:%M:%S', (k.first_seen) / 1000000000, 'unixepoch') || printf('.%09dZ', (k.first_seen) % 1000000000) AS first_seen,
  (SELECT strftime('%Y-%m-%dT%H:%M:%S', (max(p.last_seen)) / 1000000000, 'unixepoch') || printf('.%09dZ', (max(p.last_seen)) % 1000000000)
    FROM endpoint_certificate x JOIN pairing p ON x.endpoint IN (p.client, p.server) WHERE x.certificate = k.id) AS last_seen,
  k.record ->> '$.roles' AS roles,
  (SELECT json_group_array(DISTINCT w.key) FROM endpoint_certificate x JOIN endpoint e ON e.id = x.endpoint
    JOIN workload w ON w.id = e.workload WHERE x.certificate = k.id AND x.position = 0) AS workloads,
  (SELECT sum(p.connections) FROM pairing p
    WHERE p.client IN (SELECT endpoint FROM endpoint_certificate WHERE certificate = k.id AND position = 0)
    OR p.server IN (SELECT endpoint FROM endpoint_certificate WHERE certificate = k.id AND position = 0)) AS connections,
  k.record ->> '$.owner' AS owner,
  k.record ->> '$.purpose' AS purpose,
  k.record ->> '$.revocation' AS revocation,
  k.record ->> '$.replaces' AS replaces,
  k.record ->> '$.replaced_by' AS replaced_by,
  k.identity AS identity
FROM certificate k;

-- Who reached whom: workloads, else identities, else addresses; folded connections count, too.
DROP VIEW IF EXISTS edges;
CREATE VIEW edges AS SELECT
  n1.key AS client,
  n2.key AS server,
  e.port AS port,
  sum(p.connections) AS connections,
  sum(p.connections) FILTER (WHERE a.authentication = 'none') AS authentication_none,
  sum(p.connections) FILTER (WHERE a.authentication = 'server_only') AS authentication_server_only,
  sum(p.connections) FILTER (WHERE a.authentication = 'mutual') AS authentication_mutual,
  sum(p.connections) FILTER (WHERE a.authentication = 'anonymous') AS authentication_anonymous,
  sum(p.connections) FILTER (WHERE a.authentication = 'psk') AS authentication_psk,
  sum(p.connections) FILTER (WHERE a.authentication = 'not_established') AS authentication_not_established,
  sum(p.connections) FILTER (WHERE a.authentication = 'unknown') AS authentication_unknown,
  sum(p.client_bytes) AS bytes_client_to_server,
  sum(p.server_bytes) AS bytes_server_to_client,
  strftime('%Y-%m-%dT%H:%M:%S', (min(p.first_seen)) / 1000000000, 'unixepoch') || printf('.%09dZ', (min(p.first_seen)) % 1000000000) AS first_seen,
  strftime('%Y-%m-%dT%H:%M:%S', (max(p.last_seen)) / 1000000000, 'unixepoch') || printf('.%09dZ', (max(p.last_seen)) % 1000000000) AS last_seen
FROM edge e
JOIN node n1 ON n1.id = e.client
JOIN node n2 ON n2.id = e.server
JOIN pairing p ON p.edge = e.id
JOIN answer a ON a.id = p.answer
GROUP BY e.id;

DROP VIEW IF EXISTS findings;
CREATE VIEW findings AS SELECT
  f.record ->> '$.schema' AS schema,
  f.record ->> '$.id' AS id,
  f.record ->> '$.code' AS code,
  f.record ->> '$.severity' AS severity,
  f.record ->> '$.host' AS host,
  f.record ->> '$.connection' AS connection,
  f.record ->> '$.certificate' AS certificate,
  f.record ->> '$.workload' AS workload,
  f.record ->> '$.edge' AS edge,
  f.record ->> '$.first_seen' AS first_seen,
  f.record ->> '$.last_seen' AS last_seen,
  f.record ->> '$.resolved' AS resolved,
  f.record ->> '$.count' AS count,
  f.record ->> '$.summary' AS summary,
  f.record ->> '$.remedy' AS remedy,
  f.record ->> '$.controls' AS controls,
  f.record ->> '$.exception.owner' AS exception_owner,
  f.record ->> '$.exception.reason' AS exception_reason,
  f.record ->> '$.exception.expires' AS exception_expires
FROM finding f;

DROP VIEW IF EXISTS gaps;
CREATE VIEW gaps AS SELECT
  strftime('%Y-%m-%dT%H:%M:%S', (g.began) / 1000000000, 'unixepoch') || printf('.%09dZ', (g.began) % 1000000000) AS "from",
  strftime('%Y-%m-%dT%H:%M:%S', (g.ended) / 1000000000, 'unixepoch') || printf('.%09dZ', (g.ended) % 1000000000) AS "to",
  g.cause AS cause,
  g.lost AS lost
FROM gap g;

DROP VIEW IF EXISTS workloads;
CREATE VIEW workloads AS SELECT
  w.key AS key,
  w.record ->> '$.kind' AS kind,
  w.record ->> '$.name' AS name,
  w.record ->> '$.namespace' AS namespace,
  w.record ->> '$.pod' AS pod,
  w.record ->> '$.container' AS container,
  w.record ->> '$.image' AS image,
  w.record ->> '$.unit' AS unit,
  w.record ->> '$.service_account' AS service_account,
  w.record ->> '$.slice' AS slice,
  w.record ->> '$.unit_user' AS unit_user,
  w.record ->> '$.runtime' AS runtime,
  w.record ->> '$.container_id' AS container_id,
  w.record ->> '$.pod_uid' AS pod_uid,
  w.record ->> '$.unknown' AS unknown
FROM workload w;

DROP VIEW IF EXISTS processes;
CREATE VIEW processes AS SELECT
  s.pid AS pid,
  s.start_time AS start_time,
  strftime('%Y-%m-%dT%H:%M:%S', (s.started) / 1000000000, 'unixepoch') || printf('.%09dZ', (s.started) % 1000000000) AS started,
  g.record ->> '$.executable' AS executable,
  g.record ->> '$.comm' AS comm,
  g.record ->> '$.uid' AS uid,
  g.record ->> '$.user' AS user,
  g.record ->> '$.executable_device' AS executable_device,
  g.record ->> '$.executable_inode' AS executable_inode,
  g.record ->> '$.executable_changed' AS executable_changed,
  g.record ->> '$.parents' AS parents,
  g.record ->> '$.pid_namespace' AS pid_namespace,
  g.record ->> '$.mount_namespace' AS mount_namespace,
  s.namespace_pid AS namespace_pid
FROM process s
JOIN program g ON g.id = s.program;

-- Connections that are only counted any more, by hour.
DROP VIEW IF EXISTS folded_connections;
CREATE VIEW folded_connections AS SELECT
  strftime('%Y-%m-%dT%H:%M:%S', (f.hour * 3600000000000) / 1000000000, 'unixepoch') || printf('.%09dZ', (f.hour * 3600000000000) % 1000000000) AS hour,
  n1.key AS client,
  coalesce(v.address, e1.address) AS client_address,
  n2.key AS server,
  e.port AS port,
  a.authentication AS authentication,
  a.protocol AS protocol,
  f.connections AS connections,
  f.client_bytes AS bytes_client_to_server,
  f.server_bytes AS bytes_server_to_client
FROM folded f
JOIN pairing p ON p.id = f.pairing
JOIN endpoint e1 ON e1.id = p.client
LEFT JOIN visitor v ON v.id = f.visitor
JOIN answer a ON a.id = p.answer
JOIN edge e ON e.id = p.edge
JOIN node n1 ON n1.id = e.client
JOIN node n2 ON n2.id = e.server;
