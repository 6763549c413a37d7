//! What is said about a step in one line.
//!
//! Words and order are Buildbot's (`buildbot/process/buildstep.py`, `getCurrentSummary` and `getResultSummary`;
//! `buildbot/util`, `command_to_string`; 4.3.0).

use model::{Json, Results, template::to_text};

use super::arguments::flatten;

/// What there is to say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    /// While it runs; empty when nothing was given.
    pub(crate) description: Vec<String>,
    /// When it is done; empty when nothing was given.
    pub(crate) done: Vec<String>,
    /// Added to either.
    pub(crate) suffix: Vec<String>,
    /// The command in short, for steps that run one.
    pub(crate) command: Option<String>,
    /// What is said in place of all else.
    pub(crate) whole: Option<String>,
    /// The worker killed it because it took too long.
    pub(crate) timed_out: bool,
    /// The worker killed it because it wrote too much.
    pub(crate) too_many_lines: bool,
}

impl Summary {
    /// While the step runs.
    pub(crate) fn current(&self) -> String {
        if let Some(whole) = &self.whole {
            return whole.clone();
        }
        if self.description.is_empty() { "running".to_owned() } else { self.with_suffix(&self.description) }
    }

    /// When the step is done.
    pub(crate) fn result(&self, results: Results) -> String {
        if let Some(whole) = &self.whole {
            return whole.clone();
        }
        let (mut text, too_many_lines) = match &self.command {
            Some(command) if self.done.is_empty() => (command.clone(), " (max lines)"),
            _ if !self.done.is_empty() => (self.with_suffix(&self.done), " (max lines reached)"),
            _ if !self.description.is_empty() => {
                (self.with_suffix(&self.description), " (max lines reached)")
            }
            _ => ("finished".to_owned(), " (max lines reached)"),
        };
        if results != Results::Success {
            text.push_str(&format!(" ({})", results.name()));
            if self.timed_out {
                text.push_str(" (timed out)");
            } else if self.too_many_lines {
                text.push_str(too_many_lines);
            }
        }
        text
    }

    fn with_suffix(&self, words: &[String]) -> String {
        let mut text = words.join(" ");
        if !self.suffix.is_empty() {
            text.push(' ');
            text.push_str(&self.suffix.join(" "));
        }
        text
    }
}

/// The first two words of a command, in quotes; `None` when it has none.
pub(crate) fn command_in_short(command: &Json) -> Option<String> {
    let words: Vec<String> = match command {
        Json::Null => return None,
        Json::Array(words) => {
            let mut flat = Vec::with_capacity(words.len());
            flatten(words, &mut flat);
            flat.into_iter().map(to_text).collect()
        }
        line => to_text(line).split_whitespace().map(str::to_owned).collect(),
    };
    match words.as_slice() {
        [] => None,
        [first, second, _, ..] => Some(format!("'{first} {second} ...'")),
        few => Some(format!("'{}'", few.join(" "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &[&str]) -> Vec<String> {
        text.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_command_is_its_first_two_words() {
        let check = |command: Json, expect: Option<&str>| {
            assert_eq!(command_in_short(&command).as_deref(), expect, "{command}");
        };
        check("make  check".into(), Some("'make check'"));
        check(serde_json::json!(["make", ["-k", ["check"]]]), Some("'make -k ...'"));
        check(serde_json::json!(["sh", "a b"]), Some("'sh a b'"));
        check("  ".into(), None);
        check(serde_json::json!([]), None);
        check(Json::Null, None);
    }

    #[test]
    fn what_was_given_goes_before_the_command() {
        let command = Summary { command: Some("'make check'".into()), ..Summary::default() };
        assert_eq!(command.current(), "running");
        assert_eq!(command.result(Results::Success), "'make check'");
        let killed = Summary { timed_out: true, ..command.clone() };
        assert_eq!(killed.result(Results::Failure), "'make check' (failure) (timed out)");
        let flooded = Summary { too_many_lines: true, ..command.clone() };
        assert_eq!(flooded.result(Results::Failure), "'make check' (failure) (max lines)");
        // What is shown while it runs does not replace the command; what is shown when it is done does.
        let described = Summary { description: words(&["doing"]), ..command.clone() };
        assert_eq!(described.current(), "doing");
        assert_eq!(described.result(Results::Failure), "'make check' (failure)");
        let done = Summary { done: words(&["done"]), suffix: words(&["suf", "fix"]), ..described };
        assert_eq!(done.result(Results::Success), "done suf fix");
        let plain = Summary::default();
        assert_eq!(plain.result(Results::Skipped), "finished (skipped)");
        assert_eq!(Summary { description: words(&["Working"]), ..plain }.result(Results::Success), "Working");
    }
}
