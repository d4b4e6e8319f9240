//! The page in its two formats.

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::names;

/// Content type of [`super::Metrics::render`].
pub const OPENMETRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Content type of [`super::Metrics::render_text`].
pub const TEXT_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn openmetrics(registry: &Registry) -> String {
    let mut page = String::with_capacity(16 * 1024);
    // Writing to a string cannot fail.
    let _ = encode(&mut page, registry);
    page
}

/// The same page for readers of the older format, where a counter's family has the name of its
/// samples and there is no end mark.
pub(super) fn text(openmetrics: &str) -> String {
    let mut page = String::with_capacity(openmetrics.len() + 512);
    for line in openmetrics.lines().filter(|line| *line != "# EOF") {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(keyword), Some(name), Some(rest)) if is_counter(name) => {
                page.push_str(&format!("# {keyword} {name}_total {rest}\n"));
            }
            _ => {
                page.push_str(line);
                page.push('\n');
            }
        }
    }
    page
}

fn is_counter(family: &str) -> bool {
    names::ALL.iter().any(|description| description.name.strip_suffix("_total") == Some(family))
}
