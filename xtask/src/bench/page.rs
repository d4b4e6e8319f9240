//! A page of metrics, as Prometheus would read it.

/// The text of `/metrics`.
pub struct Page(pub String);

impl Page {
    /// Sum of all samples of a name over the labels that contain `label` (all of them if it is empty).
    pub fn sum(&self, name: &str, label: &str) -> f64 {
        self.samples(name).filter(|(labels, _)| labels.contains(label)).map(|(_, value)| value).sum()
    }

    /// Upper bounds and cumulative counts of a histogram, in order.
    pub fn buckets(&self, name: &str) -> Vec<(f64, f64)> {
        let mut buckets: Vec<(f64, f64)> = self
            .samples(&format!("{name}_bucket"))
            .filter_map(|(labels, count)| {
                let (_, rest) = labels.split_once("le=\"")?;
                let bound = rest.split('"').next()?;
                let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
                Some((bound, count))
            })
            .collect();
        buckets.sort_by(|left, right| left.0.total_cmp(&right.0));
        buckets
    }

    /// Labels (with their braces) and value of each sample of a name.
    fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.rsplit_once('}')?,
                None => ("", rest.strip_prefix(' ')?),
            };
            Some((labels, value.split_whitespace().next()?.parse().ok()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_gauges_counters_and_histograms() {
        let page = Page(
            "# TYPE a gauge\na 3\na_b{x=\"1\"} 4\na_b{x=\"2\"} 5\n\
             h_bucket{le=\"10.0\"} 1\nh_bucket{le=\"+Inf\"} 2\n"
                .to_owned(),
        );
        assert_eq!(page.sum("a", ""), 3.0);
        assert_eq!(page.sum("a_b", ""), 9.0);
        assert_eq!(page.sum("a_b", "x=\"2\""), 5.0);
        assert_eq!(page.buckets("h"), [(10.0, 1.0), (f64::INFINITY, 2.0)]);
    }
}
