//! Where the two differ, and which of that is meant.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, ensure};
use regex::Regex;
use serde_json::Value;
use similar::TextDiff;

use crate::cases::{Cases, belongs, directory};

/// How much is shown of what only one side has, in characters.
const MOST: usize = 600;

/// Stands for anything in names.
const ANY: char = '*';

/// The differences that are meant.
pub(crate) struct Known(Vec<Difference>);

/// An entry of `differences.toml`.
struct Difference {
    /// As it is written, for messages.
    entry: String,
    case_names: String,
    case: Regex,
    at: Regex,
    seen: Cell<bool>,
}

impl Known {
    /// Reads what `differences.toml` has for the cases of a file.
    pub(crate) fn read(file: &str) -> anyhow::Result<Self> {
        let table: Value = toml::from_str(&fs::read_to_string(directory().join("differences.toml"))?)?;
        let entries = table["difference"].as_array().map_or(&[][..], Vec::as_slice);
        let known = entries.iter().map(|entry| {
            let text = |name: &str| {
                entry[name]
                    .as_str()
                    .with_context(|| format!("an entry of differences.toml lacks `{name}`: {entry}"))
            };
            text("reason")?;
            Ok(Difference {
                entry: format!("{} at {}", text("case")?, text("at")?),
                case_names: text("case")?.to_owned(),
                case: pattern(text("case")?)?,
                at: pattern(text("at")?)?,
                // Not every file has all that many files have.
                seen: Cell::new(text("case")?.starts_with(ANY)),
            })
        });
        let mut all = known.collect::<anyhow::Result<Vec<_>>>()?;
        for difference in &all {
            let files = Cases::files()?;
            let case = &difference.case_names;
            ensure!(
                case.starts_with(ANY) || files.iter().any(|file| belongs(case, file)),
                "{case:?} in differences.toml are no cases"
            );
        }
        all.retain(|difference| {
            difference.case_names.starts_with(ANY) || belongs(&difference.case_names, file)
        });
        Ok(Self(all))
    }

    /// All that is wrong, for people; empty when all is well.
    pub(crate) fn compare(
        &self,
        theirs: &BTreeMap<String, Value>,
        ours: &BTreeMap<String, Value>,
        cases: &Cases,
    ) -> String {
        let mut report = String::new();
        for case in cases.names().chain(cases.tables.as_deref()) {
            let mut found = Vec::new();
            differences(theirs.get(case), ours.get(case), String::new(), &mut found);
            found.retain(|(at, ..)| !self.is_meant(case, at));
            for (at, buildbot, ganger) in found {
                report += &format!("=== {case}: {at}\n{}\n", shown(buildbot, ganger));
            }
        }
        if !cases.partial {
            for difference in self.0.iter().filter(|difference| !difference.seen.get()) {
                report += &format!(
                    "=== differences.toml: there is no difference any more for {}\n",
                    difference.entry
                );
            }
        }
        report
    }

    fn is_meant(&self, case: &str, at: &str) -> bool {
        let mut entries = self.0.iter();
        entries.any(|entry| {
            let meant = entry.case.is_match(case) && entry.at.is_match(at);
            entry.seen.set(entry.seen.get() || meant);
            meant
        })
    }
}

fn pattern(text: &str) -> anyhow::Result<Regex> {
    let parts: Vec<String> = text.split(ANY).map(regex::escape).collect();
    Ok(Regex::new(&format!("^{}$", parts.join(".*")))?)
}

type Found<'v> = (String, Option<&'v Value>, Option<&'v Value>);

/// Goes down where both sides have a table or lists of one length.
fn differences<'v>(
    theirs: Option<&'v Value>,
    ours: Option<&'v Value>,
    at: String,
    found: &mut Vec<Found<'v>>,
) {
    let below = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}/{key}") };
    match (theirs, ours) {
        (Some(Value::Object(theirs)), Some(Value::Object(ours))) => {
            for (key, value) in theirs {
                differences(Some(value), ours.get(key), below(key), found);
            }
            for (key, value) in ours.iter().filter(|(key, _)| !theirs.contains_key(*key)) {
                differences(None, Some(value), below(key), found);
            }
        }
        (Some(Value::Array(theirs)), Some(Value::Array(ours))) if theirs.len() == ours.len() => {
            for (index, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
                differences(Some(theirs), Some(ours), below(&index.to_string()), found);
            }
        }
        _ if theirs == ours => {}
        _ => found.push((at, theirs, ours)),
    }
}

fn shown(buildbot: Option<&Value>, ganger: Option<&Value>) -> String {
    match (buildbot, ganger) {
        (Some(Value::String(buildbot)), Some(Value::String(ganger)))
            if buildbot.contains('\n') || ganger.contains('\n') =>
        {
            let diff = TextDiff::from_lines(&**buildbot, &**ganger);
            diff.unified_diff().context_radius(2).header("Buildbot", "Ganger").to_string()
        }
        _ => {
            let text = |value: Option<&Value>| {
                let text = value.map_or_else(|| "(nothing)".to_owned(), Value::to_string);
                text.chars().take(MOST).collect::<String>()
            };
            format!("  Buildbot: {}\n  Ganger:   {}", text(buildbot), text(ganger))
        }
    }
}
