//! What the agent itself costs, from `/proc/self`.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::gauge::Gauge;

use super::Seconds;

/// Clock ticks per second of `/proc` (USER_HZ, proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// A gauge of seconds.
pub(super) type SecondsGauge = Gauge<f64, AtomicU64>;

/// One look at the agent's own process; 0 stands for what `/proc` did not tell.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ProcessSample {
    /// User and system time.
    pub cpu_seconds: f64,
    /// Resident set.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Start, in seconds since 1970.
    pub start_time_seconds: f64,
}

impl ProcessSample {
    /// The process as it is now.
    pub fn now() -> ProcessSample {
        let read = |name| std::fs::read_to_string(name).unwrap_or_default();
        let open_fds = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count());
        ProcessSample {
            // The folder's own descriptor is open while it is counted.
            open_fds: open_fds.saturating_sub(1) as u64,
            ..ProcessSample::parse(&read("/proc/self/stat"), &read("/proc/self/status"), &read("/proc/stat"))
        }
    }

    /// From proc_pid_stat(5) fields 14, 15 and 22, proc_pid_status(5) `VmRSS` and proc_stat(5) `btime`.
    fn parse(stat: &str, status: &str, system: &str) -> ProcessSample {
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or(Vec::new(), |(_, rest)| rest.split_ascii_whitespace().collect());
        let field = |number: usize| number_at(fields.get(number - 3).copied());
        let line = |text: &str, key| number_at(text.lines().find_map(|line| line.strip_prefix(key)));
        let boot = line(system, "btime ");
        let started = if boot == 0.0 { 0.0 } else { boot + field(22) / TICKS_PER_SECOND };
        ProcessSample {
            cpu_seconds: (field(14) + field(15)) / TICKS_PER_SECOND,
            resident_bytes: line(status, "VmRSS:") as u64 * 1024,
            open_fds: 0,
            start_time_seconds: started,
        }
    }
}

/// The first word of `text` as a number, else 0.
fn number_at(text: Option<&str>) -> f64 {
    text.and_then(|text| text.split_ascii_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// The families of the process, with the names that Prometheus' own libraries give them.
#[derive(Debug)]
pub(super) struct ProcessMetrics {
    pub(super) cpu_seconds: Seconds,
    pub(super) resident_memory: Gauge,
    pub(super) open_fds: Gauge,
    pub(super) start_time: SecondsGauge,
}

impl ProcessMetrics {
    pub(super) fn update(&self, sample: &ProcessSample) {
        // Numbers that are not negative are ordered as their bits are, and a counter must never fall.
        self.cpu_seconds.inner().fetch_max(sample.cpu_seconds.max(0.0).to_bits(), Ordering::Relaxed);
        self.resident_memory.set(i64::try_from(sample.resident_bytes).unwrap_or(i64::MAX));
        self.open_fds.set(i64::try_from(sample.open_fds).unwrap_or(i64::MAX));
        self.start_time.set(sample.start_time_seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_measured_in_base_units() {
        let stat = "7 (a) b) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 1 0 1000 0 0";
        let sample = ProcessSample::parse(stat, "VmRSS:\t    4096 kB\n", "cpu 1\nbtime 1700000000\n");
        assert_eq!(
            sample,
            ProcessSample {
                cpu_seconds: 2.0,
                resident_bytes: 4 << 20,
                open_fds: 0,
                start_time_seconds: 1_700_000_010.0,
            }
        );
        assert_eq!(ProcessSample::parse("", "", ""), ProcessSample::default());
    }

    #[test]
    fn a_real_process_has_memory_files_and_a_start() {
        let sample = ProcessSample::now();
        assert!(sample.resident_bytes > 100_000 && sample.open_fds > 0);
        assert!(sample.start_time_seconds > 1_600_000_000.0);
    }
}
