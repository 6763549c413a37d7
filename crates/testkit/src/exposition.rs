//! Reads Prometheus's text format 0.0.4, and takes nothing that the format or its conventions do not allow.

use std::collections::{BTreeMap, BTreeSet};

/// A page of figures.
#[derive(Debug, Default, PartialEq)]
pub struct Page {
    /// Families by name: `counter`, `gauge` or `histogram`.
    pub kinds: BTreeMap<String, String>,
    /// Values by series as they stand there: `up`, `x_total{a="b"}`.
    pub values: BTreeMap<String, f64>,
}

impl Page {
    /// The value of a series.
    ///
    /// # Panics
    /// When there is none: says which there are of that name.
    pub fn value(&self, series: &str) -> f64 {
        let name = series.split('{').next().unwrap_or_default();
        let near = || self.values.keys().filter(|key| key.starts_with(name)).collect::<Vec<_>>();
        *self.values.get(series).unwrap_or_else(|| panic!("no {series}; there are {:?}", near()))
    }
}

/// What a line says.
struct Sample<'a> {
    name: &'a str,
    labels: Vec<(&'a str, String)>,
    value: f64,
}

/// Reads a page.
///
/// # Errors
/// It breaks a rule; the line, and which rule.
pub fn parse(text: &str) -> Result<Page, String> {
    let mut page = Page::default();
    if !text.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    let (mut described, mut family): (Option<&str>, Option<(&str, &str)>) = (None, None);
    let mut samples = Vec::new();
    for line in text.lines() {
        let wrong = |rule: &str| format!("{rule}: {line}");
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or_else(|| wrong("no help"))?;
            if help.is_empty() || !is_name(name) {
                return Err(wrong("no help, or no name"));
            }
            finish(family.take(), &std::mem::take(&mut samples))?;
            described = Some(name);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or_else(|| wrong("no type"))?;
            if described.take() != Some(name) {
                return Err(wrong("a type without its help before it"));
            }
            if !["counter", "gauge", "histogram"].contains(&kind) {
                return Err(wrong("no such type"));
            }
            if (kind == "counter") != name.ends_with("_total") {
                return Err(wrong("counters, and only those, end in _total"));
            }
            if page.kinds.insert(name.to_owned(), kind.to_owned()).is_some() {
                return Err(wrong("a family comes twice"));
            }
            family = Some((name, kind));
        } else {
            let (name, kind) = family.ok_or_else(|| wrong("a sample of no family"))?;
            let sample = sample(line).ok_or_else(|| wrong("not a sample"))?;
            let suffix = sample.name.strip_prefix(name).ok_or_else(|| wrong("a sample of another family"))?;
            let allowed: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            if !allowed.contains(&suffix) {
                return Err(wrong("a name that its family does not have"));
            }
            let names: BTreeSet<_> = sample.labels.iter().map(|(name, _)| *name).collect();
            if names.len() != sample.labels.len() || names.contains("le") != (suffix == "_bucket") {
                return Err(wrong("a label twice, or a bound where none belongs"));
            }
            if kind == "counter" && !(sample.value.is_finite() && sample.value >= 0.0) {
                return Err(wrong("not what a counter can be"));
            }
            let series = line.rsplit_once(' ').map_or(line, |(series, _)| series);
            if page.values.insert(series.to_owned(), sample.value).is_some() {
                return Err(wrong("a series comes twice"));
            }
            samples.push(sample);
        }
    }
    finish(family, &samples)?;
    Ok(page)
}

/// Checks a family as a whole.
fn finish(family: Option<(&str, &str)>, samples: &[Sample<'_>]) -> Result<(), String> {
    let Some((name, kind)) = family else { return Ok(()) };
    if samples.is_empty() {
        return Err(format!("{name} has no samples"));
    }
    let labels: BTreeSet<Vec<&str>> = samples
        .iter()
        .map(|sample| sample.labels.iter().map(|(name, _)| *name).filter(|name| *name != "le").collect())
        .collect();
    if labels.len() != 1 {
        return Err(format!("series of {name} have different labels: {labels:?}"));
    }
    if kind != "histogram" {
        return Ok(());
    }
    let mut histograms: BTreeMap<String, Histogram> = BTreeMap::new();
    for sample in samples {
        let own: Vec<_> = sample.labels.iter().filter(|(name, _)| *name != "le").collect();
        let histogram = histograms.entry(format!("{name}{own:?}")).or_default();
        match sample.name.strip_prefix(name) {
            Some("_sum") => histogram.sum = Some(sample.value),
            Some("_count") => histogram.count = Some(sample.value),
            _ => {
                let bound = sample.labels.iter().find(|(name, _)| *name == "le");
                let bound = bound.and_then(|(_, bound)| number(bound)).ok_or("a bound is no number")?;
                histogram.buckets.push((bound, sample.value));
            }
        }
    }
    for (series, histogram) in histograms {
        let rising = histogram.buckets.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
        let last = histogram.buckets.last().copied();
        if !rising || histogram.sum.is_none() || last != histogram.count.map(|count| (f64::INFINITY, count)) {
            return Err(format!("{series} is no histogram: {histogram:?}"));
        }
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: Vec<(f64, f64)>,
    sum: Option<f64>,
    count: Option<f64>,
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = number(rest.strip_prefix(' ')?)?;
    is_name(name).then_some(Sample { name, labels, value })
}

/// Labels up to their `}`, and what follows.
fn labels(mut rest: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        let (name, after) = rest.split_once("=\"")?;
        if !is_name(name) || name.contains(':') {
            return None;
        }
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at + 1,
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    _ => return None,
                }),
                (_, c) => value.push(c),
            }
        };
        labels.push((name, value));
        rest = after.get(end..)?;
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        rest = rest.strip_prefix(',')?;
    }
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        _ if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') => text.parse().ok(),
        _ => None,
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn good_pages_pass_and_bad_ones_do_not() {
        let head = "# HELP a_total A.\n# TYPE a_total counter\n";
        let page =
            parse(&format!("{head}a_total{{x=\"\\\"\\\\\\n\"}} 1\na_total{{x=\"\"}} 2.5\n")).expect("good");
        assert_eq!(page.value("a_total{x=\"\"}"), 2.5);
        let histogram = "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\n";
        parse(&format!("{histogram}h_sum 3\nh_count 2\n")).expect("good");
        for bad in [
            format!("{head}a_total 1"),
            format!("{head}a_total 1\na_total 2\n"),
            format!("{head}a_total -1\n"),
            format!("{head}a_total{{x=\"\\y\"}} 1\n"),
            format!("{head}a_total{{x=\"1\"}} 1\na_total 2\n"),
            format!("{head}b_total 1\n"),
            format!("{head}a_total 1\n{head}a_total 1\n"),
            head.to_owned(),
            "a 1\n".to_owned(),
            "# HELP a A.\n# TYPE a counter\na 1\n".to_owned(),
            format!("{histogram}h_sum 3\nh_count 3\n"),
            format!("{histogram}h_count 2\n"),
            histogram.replace("le=\"+Inf\"} 2", "le=\"+Inf\"} 0"),
        ] {
            assert!(parse(&bad).is_err(), "{bad}");
        }
    }
}
