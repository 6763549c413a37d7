//! Figures as Prometheus reads them: its text format 0.0.4, and OpenMetrics 1.0 for whoever asks for that.
//!
//! The figures come ready counted from those who count, so nothing is registered here, and the two formats differ in
//! few places: the name of a counter's family, units, and the end.

use std::fmt::Write as _;

/// How figures are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Prometheus's own, which everything can read.
    Text,
    /// OpenMetrics, which Prometheus asks for first.
    OpenMetrics,
}

impl Format {
    /// The format for a client with this `Accept` header. One that does not name OpenMetrics 1.0, or would rather not
    /// have it, gets [`Self::Text`].
    pub(crate) fn accepted(accept: &str) -> Self {
        let mut best = (0.0, Self::Text);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let format = match parts.next().unwrap_or_default() {
                media if media.eq_ignore_ascii_case("application/openmetrics-text") => Self::OpenMetrics,
                media
                    if ["text/plain", "text/*", "*/*"].iter().any(|one| media.eq_ignore_ascii_case(one)) =>
                {
                    Self::Text
                }
                _ => continue,
            };
            let (mut quality, mut known) = (1.0, true);
            for part in parts {
                match part.split_once('=') {
                    Some(("q", q)) => quality = q.parse().unwrap_or(0.0),
                    Some(("version", version)) if format == Self::OpenMetrics => {
                        known = version.trim_matches('"') == "1.0.0";
                    }
                    _ => {}
                }
            }
            if known && quality > best.0 {
                best = (quality, format);
            }
        }
        best.1
    }

    /// The `Content-Type` of a page.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a family's figures mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A page of figures, family after family.
#[derive(Debug)]
pub(crate) struct Page {
    format: Format,
    text: String,
}

impl Page {
    /// An empty page.
    pub(crate) fn new(format: Format) -> Self {
        Self { format, text: String::with_capacity(16 << 10) }
    }

    /// Something that only grows, until the master is started again. The name is without `_total`.
    pub(crate) fn counter(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(Kind::Counter, name, help)
    }

    /// Something that goes up and down.
    pub(crate) fn gauge(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(Kind::Gauge, name, help)
    }

    /// How something is distributed.
    pub(crate) fn histogram(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(Kind::Histogram, name, help)
    }

    /// The whole page.
    pub(crate) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn family(&mut self, kind: Kind, name: &'static str, help: &'static str) -> Family<'_> {
        Family { page: self, kind, name, help, begun: false }
    }
}

/// A family of a page. Without figures it is left out.
#[derive(Debug)]
pub(crate) struct Family<'a> {
    page: &'a mut Page,
    kind: Kind,
    name: &'static str,
    help: &'static str,
    begun: bool,
}

/// Names and values of labels.
pub(crate) type Labels<'a> = &'a [(&'a str, &'a str)];

impl Family<'_> {
    /// One figure of a counter or gauge. The same labels must not come twice.
    pub(crate) fn put(&mut self, labels: Labels<'_>, value: f64) {
        self.begin();
        let suffix = if self.kind == Kind::Counter { "_total" } else { "" };
        self.line(suffix, labels, None, value);
    }

    /// One histogram: upper bounds, how many values each bucket has (not summed up; one more than bounds, for what is
    /// beyond the last), and the sum of all values.
    pub(crate) fn put_histogram(&mut self, labels: Labels<'_>, bounds: &[f64], counts: &[u64], sum: f64) {
        self.begin();
        let mut so_far = 0;
        let mut counts = counts.iter();
        for bound in bounds {
            so_far += counts.next().copied().unwrap_or(0);
            self.line("_bucket", labels, Some(*bound), whole(so_far));
        }
        so_far += counts.sum::<u64>();
        self.line("_bucket", labels, Some(f64::INFINITY), whole(so_far));
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, whole(so_far));
    }

    /// The lines that tell what the family is, before its first figure.
    fn begin(&mut self) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let (name, help) = (self.name, self.help);
        let openmetrics = self.page.format == Format::OpenMetrics;
        let (kind, suffix) = match self.kind {
            Kind::Counter if openmetrics => ("counter", ""),
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
            Kind::Histogram => ("histogram", ""),
        };
        let text = &mut self.page.text;
        // Writing to a string cannot fail, here and below.
        write!(text, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n").ok();
        if openmetrics && let Some(unit) = ["seconds", "ratio"].iter().find(|unit| name.ends_with(**unit)) {
            writeln!(text, "# UNIT {name} {unit}").ok();
        }
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<f64>, value: f64) {
        let text = &mut self.page.text;
        text.push_str(self.name);
        text.push_str(suffix);
        let mut before = '{';
        for (name, value) in labels {
            write!(text, "{before}{name}=\"").ok();
            escape(text, value);
            text.push('"');
            before = ',';
        }
        if let Some(bound) = bound {
            // With a point, as OpenMetrics wants bounds.
            let bound = if bound.is_infinite() { "+Inf".to_owned() } else { format!("{bound:?}") };
            write!(text, "{before}le=\"{bound}\"").ok();
            before = ',';
        }
        if before == ',' {
            text.push('}');
        }
        if value.is_nan() {
            text.push_str(" NaN\n");
        } else if value.is_infinite() {
            text.push_str(if value > 0.0 { " +Inf\n" } else { " -Inf\n" });
        } else {
            writeln!(text, " {value}").ok();
        }
    }
}

/// The value of a label, as both formats have it.
fn escape(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

/// A count as a figure.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, and the format knows only floats")]
pub(crate) fn whole(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(format: Format) -> String {
        let mut page = Page::new(format);
        let mut launches = page.counter("x_launches", "Machines.");
        launches.put(&[("pool", "a\\b\"c\nd"), ("reason", "demand")], 3.0);
        launches.put(&[("pool", "b"), ("reason", "demand")], 0.5);
        page.gauge("x_up", "Whether.").put(&[], 1.0);
        page.gauge("x_nothing", "Left out.");
        page.gauge("x_budget", "Endless.").put(&[], f64::INFINITY);
        page.histogram("x_wait_seconds", "Waits.").put_histogram(
            &[("pool", "a")],
            &[1.0, 2.5],
            &[2, 0, 1],
            9.25,
        );
        page.finish()
    }

    #[test]
    fn prometheus_text() {
        let expect = r#"# HELP x_launches_total Machines.
# TYPE x_launches_total counter
x_launches_total{pool="a\\b\"c\nd",reason="demand"} 3
x_launches_total{pool="b",reason="demand"} 0.5
# HELP x_up Whether.
# TYPE x_up gauge
x_up 1
# HELP x_budget Endless.
# TYPE x_budget gauge
x_budget +Inf
# HELP x_wait_seconds Waits.
# TYPE x_wait_seconds histogram
x_wait_seconds_bucket{pool="a",le="1.0"} 2
x_wait_seconds_bucket{pool="a",le="2.5"} 2
x_wait_seconds_bucket{pool="a",le="+Inf"} 3
x_wait_seconds_sum{pool="a"} 9.25
x_wait_seconds_count{pool="a"} 3
"#;
        assert_eq!(page(Format::Text), expect);
    }

    #[test]
    fn openmetrics_differs_where_it_must() {
        let text = page(Format::OpenMetrics);
        for expect in [
            "# HELP x_launches Machines.\n# TYPE x_launches counter\nx_launches_total{",
            "# TYPE x_wait_seconds histogram\n# UNIT x_wait_seconds seconds\nx_wait_seconds_bucket{",
        ] {
            assert!(text.contains(expect), "{expect:?} is not in\n{text}");
        }
        assert!(text.ends_with("x_wait_seconds_count{pool=\"a\"} 3\n# EOF\n"), "{text}");
    }

    #[test]
    fn clients_get_what_they_can_read() {
        let check = |accept: &str, expect| assert_eq!(Format::accepted(accept), expect, "{accept}");
        check("", Format::Text);
        check("*/*", Format::Text);
        check("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text);
        check("application/openmetrics-text; version=1.0.0", Format::OpenMetrics);
        check("application/openmetrics-text;version=\"1.0.0\";q=0.5,text/plain;q=0.6", Format::Text);
        check("application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4;q=0.3", Format::Text);
        check("application/openmetrics-text;q=0", Format::Text);
        // What Prometheus 2.53 sends.
        check(
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            Format::OpenMetrics,
        );
        check("application/openmetrics-text;q=nonsense, \u{fe}", Format::Text);
    }
}
