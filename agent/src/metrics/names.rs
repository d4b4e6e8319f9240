//! Names and help texts of all metrics, as users see them.
//!
//! The library appends `_total` to counters and a full stop to help texts; `registry.rs` takes
//! the first off again.

/// Name and help text of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// In full, as it is scraped.
    pub name: &'static str,
    /// One sentence, without its full stop.
    pub help: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
}

macro_rules! descriptions {
    ($($constant:ident = $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(
            #[doc = concat!("`", $name, "`: ", $help, ".")]
            pub const $constant: Description = Description { name: $name, help: $help, labels: &[$($label),*] };
        )+
        /// All families, in the order of the page.
        pub const ALL: &[Description] = &[$($constant),+];
    };
}

descriptions! {
    BUILD_INFO = "countersign_build_info" ["version", "kernel"]
        "Version of the agent and release of the kernel it runs on, always 1";
    HEALTHY = "countersign_healthy" []
        "Whether connections are seen and judged, as /healthz says";
    CONNECTIONS = "countersign_connections_total" ["scope", "role", "protocol", "authentication", "evidence", "version"]
        "TCP connections judged, by scope, by the side on this host, and by what was established; evidence is that of the client's authentication";
    OWNER_CONNECTIONS = "countersign_owner_connections_total" ["owner", "purpose", "environment", "role", "authentication"]
        "Ends of judged connections on this host, by whose they are in the file of owners (empty: nobody's) and by what was established";
    EDGES = "countersign_edges" ["scope", "authentication"]
        "Edges (client, server and its port) that are remembered, by what was established on them last";
    EDGE_REGRESSIONS = "countersign_edge_regressions_total" ["scope", "from", "to"]
        "Times that less was established on an edge than before; an edge that is weaker again and again counts once until it was not for an hour";
    IDENTITY_BLAST_RADIUS = "countersign_identity_blast_radius" ["identity"]
        "Different servers to which an identity proved itself as a client, for the identities with most";
    IDENTITY_BLAST_RADIUS_LEFT_OUT = "countersign_identity_blast_radius_left_out" []
        "Identities that reached servers and have no sample of their own";
    CONNECTIONS_OPEN = "countersign_connections_open" []
        "TCP connections followed now";
    FINDINGS = "countersign_findings_total" ["code", "severity", "excepted"]
        "Findings by code; excepted ones are set apart by an exception of the configuration";
    EXCEPTIONS_EXPIRED = "countersign_exceptions_expired" []
        "Exceptions of the configuration whose date has passed";
    HANDSHAKES_FAILED = "countersign_handshakes_failed_total" ["scope"]
        "TLS handshakes that ended in an alert or were refused";
    CERTIFICATES_SEEN = "countersign_certificates_seen_total" []
        "Certificates met for the first time since the start";
    CERTIFICATES_PARSE_FAILED = "countersign_certificates_parse_failed_total" []
        "Certificates met for the first time that did not parse";
    CERTIFICATE_EXPIRY = "countersign_certificate_expiry_timestamp_seconds" ["workload", "role", "identity"]
        "End of validity, since 1970-01-01 UTC, of certificates that workloads of this host present, for those with the least of their life left";
    CERTIFICATE_LIFETIME = "countersign_certificate_lifetime_seconds" ["workload", "role", "identity"]
        "Time from begin to end of validity of the same certificates";
    CERTIFICATE_EXPIRY_LEFT_OUT = "countersign_certificate_expiry_left_out" []
        "Certificates that workloads of this host present and that have no sample of their own";
    LIBRARY_FILES = "countersign_library_files" ["library", "state"]
        "Files with TLS libraries that processes map now, by whether they are probed for certificates";
    LIBRARY_EVENTS_LOST = "countersign_library_events_lost_total" ["cause"]
        "Events of TLS libraries that were not taken, or not in full: the certificate could not be read, the ring buffer was half full, the chain was longer than what is read, or a call could not be remembered";
    LIBRARY_FILES_PASSED_OVER = "countersign_library_files_passed_over_total" ["reason"]
        "Times that files of a process were not looked at for TLS libraries: it maps more than are read, or they could not be opened";
    UNKNOWN = "countersign_unknown_total" ["about", "reason"]
        "Facts of connections that are not known (authentication, capture, process), by reason";
    EVENTS = "countersign_events_total" ["kind"]
        "Events received from the source";
    EVENTS_LOST = "countersign_events_lost_total" ["cause"]
        "Events that the source could not report";
    OPEN_FILES_UNSEEN = "countersign_open_files_unseen" ["what"]
        "What the last pass over open files could not look at: processes, network namespaces, and sockets beyond its bounds";
    LIBRARY_EVIDENCE = "countersign_library_evidence_total" ["library", "outcome"]
        "Certificate chains and verifications that TLS libraries showed, by what became of them";
    EVENTS_TRUNCATED = "countersign_events_truncated_total" ["reason"]
        "Byte streams of which not all wanted bytes were had";
    RECORDS = "countersign_records_total" ["schema"]
        "Records handed out, revisions included";
    HANDSHAKE_BYTES = "countersign_handshake_bytes" []
        "Payload bytes of the handshake of a connection, both directions";
    SHIPPED_BEYOND_HANDSHAKE_BYTES = "countersign_shipped_beyond_handshake_bytes" []
        "Payload bytes of a connection that left the kernel although the handshake was over";
    SHIPPED_BEYOND_HANDSHAKE_RATIO = "countersign_shipped_beyond_handshake_ratio" []
        "Payload bytes that were shipped beyond the handshake of a TLS connection, divided by those of the handshake";
    DECISION_LATENCY = "countersign_decision_latency_seconds" []
        "Time from the first event of a connection to its verdict, the peers' own time included";
    STAGE_SECONDS = "countersign_stage_seconds_total" ["stage"]
        "Time spent in each stage of the pipeline";
    TABLE_ENTRIES = "countersign_table_entries" ["table"]
        "Entries of a bounded table";
    TABLE_BOUND = "countersign_table_bound" ["table"]
        "Entries that a table holds at most";
    TABLE_EVICTIONS = "countersign_table_evictions_total" ["table"]
        "Entries given up or refused because a table was full";
    WATCH_CLIENTS = "countersign_watch_clients" []
        "Programs that watch the records now";
    WATCH_RECORDS_DROPPED = "countersign_watch_records_dropped_total" []
        "Records that watching programs lost because they read too slowly";
    HISTORY_RECORDS = "countersign_history_records_written_total" []
        "Connections and revisions of them written to the history";
    HISTORY_LOST = "countersign_history_records_lost_total" ["reason"]
        "Records that the history did not take, by what was wrong";
    HISTORY_STATE = "countersign_history_state" ["state"]
        "What the history is doing now: 1 for one of them";
    HISTORY_BYTES = "countersign_history_file_bytes" []
        "Space in use in the file of the history; pages that are free for reuse do not count";
    HISTORY_OLDEST = "countersign_history_oldest_record_time_seconds" []
        "When the oldest connection of the history was opened, since 1970-01-01 UTC; 0 if there is none";
    HISTORY_REMOVED = "countersign_history_connections_removed_total" ["reason"]
        "Connections that left the history for their age or for want of room, or that are only counted any more";
    HISTORY_BATCH_SECONDS = "countersign_history_batch_seconds" []
        "Time to write a batch of records to the history";
    CONFIG_RELOADS = "countersign_config_reload_total" ["result"]
        "Attempts to read the configuration again";
    CONFIG_LAST_RELOAD_SUCCESSFUL = "countersign_config_last_reload_successful" []
        "Whether the last attempt to read the configuration took effect";
    LOG_LINES_SUPPRESSED = "countersign_log_lines_suppressed_total" []
        "Log lines that the rate limit kept back";
    PROCESS_CPU_SECONDS = "process_cpu_seconds_total" []
        "User and system time of the agent";
    PROCESS_RESIDENT_MEMORY = "process_resident_memory_bytes" []
        "Resident memory of the agent";
    PROCESS_OPEN_FDS = "process_open_fds" []
        "Open file descriptors of the agent";
    PROCESS_START_TIME = "process_start_time_seconds" []
        "Start of the agent since 1970-01-01 UTC";
}
