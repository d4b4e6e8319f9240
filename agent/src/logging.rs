//! Log lines on standard error: one line each, for people or machines, and never a flood.
//!
//! Enters: `tracing` events. Leaves: lines. A place in the code may write [`LINES_PER_WINDOW`] lines per [`WINDOW`];
//! what it says beyond that is counted and summed up in one line when it next may speak. Refuses: control
//! characters, which come from names that others choose.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{Event, Level, Subscriber, callsite};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{DefaultFields, JsonFields, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;

use crate::config::{LogConfig, LogFormat, LogLevel};
use crate::display::{display_safe, json_safe};

/// Lines that one place in the code may write per [`WINDOW`]: enough to see a pattern.
pub const LINES_PER_WINDOW: u32 = 20;
/// Length of a window.
pub const WINDOW: Duration = Duration::from_secs(10);

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("logging is set up already in this process")]
pub struct LoggingError;

/// The running logger: tells what it suppressed, and changes level.
#[derive(Debug, Clone)]
pub struct Logging {
    limiter: Arc<RateLimiter>,
    level: reload::Handle<LevelFilter, tracing_subscriber::Registry>,
}

impl Logging {
    /// Lines suppressed since the start.
    pub fn suppressed(&self) -> u64 {
        self.limiter.suppressed.load(Ordering::Relaxed)
    }

    /// Writes from this level on.
    pub fn set_level(&self, level: LogLevel) {
        // Fails only when the subscriber is gone, that is at exit.
        let _ = self.level.reload(level_filter(level));
    }
}

/// Starts logging to standard error, once per process.
pub fn start(config: LogConfig) -> Result<Logging, LoggingError> {
    let (subscriber, logging) = subscriber(config, std::io::stderr);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError)?;
    Ok(logging)
}

fn subscriber<W>(config: LogConfig, writer: W) -> (Box<dyn Subscriber + Send + Sync>, Logging)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (level, handle) = reload::Layer::new(level_filter(config.level));
    let logging = Logging { limiter: Arc::default(), level: handle };
    let limiter = logging.limiter.clone();
    let registry = tracing_subscriber::registry().with(level);
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    let subscriber: Box<dyn Subscriber + Send + Sync> = match config.format {
        LogFormat::Text => {
            let line = tracing_subscriber::fmt::format().with_ansi(false).with_timer(Utc);
            let line =
                Limited { limiter, line, summary: text_summary as Summary, escape: display_safe as Escape };
            Box::new(registry.with(layer.fmt_fields(DefaultFields::new()).event_format(line)))
        }
        LogFormat::Json => {
            let line = tracing_subscriber::fmt::format().json().flatten_event(true).with_timer(Utc);
            let line =
                Limited { limiter, line, summary: json_summary as Summary, escape: json_safe as Escape };
            Box::new(registry.with(layer.fmt_fields(JsonFields::new()).event_format(line)))
        }
    };
    (subscriber, logging)
}

fn level_filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// RFC 3339 in UTC, microseconds.
struct Utc;

impl FormatTime for Utc {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{:.6}", jiff::Timestamp::now())
    }
}

/// How one place in the code stands in its window. There are as many as places in the code.
#[derive(Debug)]
struct Window {
    began: Instant,
    lines: u32,
    suppressed: u64,
}

#[derive(Debug, Default)]
struct RateLimiter {
    windows: Mutex<HashMap<callsite::Identifier, Window>>,
    suppressed: AtomicU64,
}

/// What may be written.
#[derive(Debug, PartialEq, Eq)]
enum Admission {
    /// The line; before it, that so many were suppressed.
    Line { suppressed_before: u64 },
    /// Nothing.
    Suppressed,
}

impl RateLimiter {
    fn admit(&self, place: callsite::Identifier, now: Instant) -> Admission {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.entry(place).or_insert(Window { began: now, lines: 0, suppressed: 0 });
        let mut suppressed_before = 0;
        if now.duration_since(window.began) >= WINDOW {
            suppressed_before = window.suppressed;
            *window = Window { began: now, lines: 0, suppressed: 0 };
        }
        if window.lines < LINES_PER_WINDOW {
            window.lines += 1;
            return Admission::Line { suppressed_before };
        }
        window.suppressed += 1;
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        Admission::Suppressed
    }
}

type Summary = fn(&mut Writer<'_>, &Level, &str, u64) -> fmt::Result;
type Escape = fn(&str) -> Cow<'_, str>;

fn text_summary(writer: &mut Writer<'_>, level: &Level, target: &str, suppressed: u64) -> fmt::Result {
    Utc.format_time(writer)?;
    writeln!(writer, " {level:>5} {target}: suppressed {suppressed} lines like the next one")
}

fn json_summary(writer: &mut Writer<'_>, level: &Level, target: &str, suppressed: u64) -> fmt::Result {
    let line = serde_json::json!({
        "timestamp": format!("{:.6}", jiff::Timestamp::now()),
        "level": level.as_str(),
        "message": format!("suppressed {suppressed} lines like the next one"),
        "suppressed": suppressed,
        "target": target,
    });
    writeln!(writer, "{line}")
}

/// Writes a line, or nothing, with every control character made visible.
struct Limited<L> {
    limiter: Arc<RateLimiter>,
    line: L,
    summary: Summary,
    escape: Escape,
}

impl<S, N, L> FormatEvent<S, N> for Limited<L>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
    L: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let Admission::Line { suppressed_before } = self.limiter.admit(metadata.callsite(), Instant::now())
        else {
            return Ok(());
        };
        if suppressed_before > 0 {
            (self.summary)(&mut writer, metadata.level(), metadata.target(), suppressed_before)?;
        }
        let mut line = String::new();
        self.line.format_event(context, Writer::new(&mut line), event)?;
        writeln!(writer, "{}", (self.escape)(line.trim_end_matches('\n')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Collects what is written.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(format: LogFormat, say: impl FnOnce(&Logging)) -> Vec<String> {
        let page = Page::default();
        let (subscriber, logging) = subscriber(LogConfig { level: LogLevel::Info, format }, {
            let page = page.clone();
            move || page.clone()
        });
        tracing::subscriber::with_default(subscriber, || say(&logging));
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_text_line_is_one_line_with_a_time_whatever_is_in_it() {
        let lines = written(LogFormat::Text, |_| {
            tracing::debug!("not written");
            tracing::info!(comm = "a\nb\x1b[2J", "started\nfake: line\u{9b}");
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        let (time, rest) = lines[0].split_once(' ').unwrap();
        time.parse::<jiff::Timestamp>().unwrap();
        assert!(rest.contains("INFO") && rest.contains("started\\nfake: line"), "{rest}");
        assert!(!rest.chars().any(char::is_control), "{rest:?}");
    }

    #[test]
    fn a_json_line_is_one_object() {
        let lines = written(LogFormat::Json, |_| tracing::warn!(lost = 3, name = "a\nb\x7f", "ring full"));
        let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(
            (&line["level"], &line["message"], &line["lost"]),
            (&"WARN".into(), &"ring full".into(), &3.into())
        );
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn a_flood_of_one_place_is_cut_and_counted_and_others_are_not() {
        let lines = written(LogFormat::Text, |logging| {
            for _ in 0..LINES_PER_WINDOW + 30 {
                tracing::info!("flood");
            }
            tracing::info!("other");
            assert_eq!(logging.suppressed(), 30);
        });
        assert_eq!(lines.len(), LINES_PER_WINDOW as usize + 1);
        assert!(lines.last().unwrap().ends_with("other"));
    }

    #[test]
    fn the_next_window_begins_with_what_was_suppressed() {
        let mut place = None;
        let (subscriber, logging) =
            subscriber(LogConfig { level: LogLevel::Info, format: LogFormat::Text }, std::io::sink);
        tracing::subscriber::with_default(subscriber, || {
            let enabled = tracing::span!(Level::INFO, "place");
            place = enabled.metadata().map(|metadata| metadata.callsite());
        });
        let (place, start) = (place.unwrap(), Instant::now());
        let limiter = &logging.limiter;
        for _ in 0..LINES_PER_WINDOW {
            assert_eq!(limiter.admit(place.clone(), start), Admission::Line { suppressed_before: 0 });
        }
        assert_eq!(limiter.admit(place.clone(), start), Admission::Suppressed);
        assert_eq!(limiter.admit(place.clone(), start + WINDOW / 2), Admission::Suppressed);
        assert_eq!(limiter.admit(place.clone(), start + WINDOW), Admission::Line { suppressed_before: 2 });
        assert_eq!(limiter.admit(place, start + WINDOW * 2), Admission::Line { suppressed_before: 0 });

        let mut summary = String::new();
        text_summary(&mut Writer::new(&mut summary), &Level::WARN, "room", 2).unwrap();
        assert!(summary.ends_with(" WARN room: suppressed 2 lines like the next one\n"), "{summary}");
    }

    #[test]
    fn the_level_can_change() {
        let lines = written(LogFormat::Text, |logging| {
            logging.set_level(LogLevel::Error);
            tracing::warn!("quiet");
            logging.set_level(LogLevel::Debug);
            tracing::debug!("loud");
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
    }
}
