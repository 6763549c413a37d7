//! `examples/iam-policy.json` allows what `provider-ec2` calls, and nothing of those services beside it.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::tools;

const POLICY: &str = "examples/iam-policy.json";

/// Services that are called. (Others' actions are what EC2 does in the master's name.)
const SERVICES: &[&str] = &["ec2:", "pricing:", "servicequotas:", "sqs:", "ssm:"];

/// What names of calls begin with.
const VERBS: &[&str] = &[
    "allocate",
    "associate",
    "attach",
    "cancel",
    "create",
    "delete",
    "describe",
    "detach",
    "disassociate",
    "get",
    "modify",
    "receive",
    "release",
    "request",
    "run",
    "start",
    "stop",
    "terminate",
];

/// Reports calls that the policy does not allow, and actions that nothing calls.
pub(crate) fn check(problems: &mut Vec<String>) -> Result<()> {
    let policy: Value = serde_json::from_slice(&fs::read(tools::root().join(POLICY)).context(POLICY)?)
        .with_context(|| format!("{POLICY} is no JSON"))?;
    let mut called = BTreeSet::new();
    let sources = tools::root().join("crates/provider-ec2/src");
    for entry in fs::read_dir(&sources).with_context(|| format!("cannot read {}", sources.display()))? {
        called.extend(calls(&fs::read_to_string(entry?.path())?));
    }
    problems.extend(differences(&called, &allowed(&policy)));
    Ok(())
}

fn differences(called: &BTreeSet<String>, allowed: &BTreeSet<String>) -> Vec<String> {
    let missing =
        called.difference(allowed).map(|call| format!("{POLICY}: does not allow {call}, which is called"));
    let unused =
        allowed.difference(called).map(|call| format!("{POLICY}: allows {call}, which nothing calls"));
    missing.chain(unused).collect()
}

/// Actions of services that are called that a policy allows.
fn allowed(policy: &Value) -> BTreeSet<String> {
    let statements = policy["Statement"].as_array().into_iter().flatten();
    let actions = statements.flat_map(|statement| match &statement["Action"] {
        Value::Array(actions) => actions.clone(),
        action => vec![action.clone()],
    });
    let called =
        |action: &str| SERVICES.iter().find_map(|service| action.strip_prefix(service)).map(str::to_owned);
    actions.filter_map(|action| called(action.as_str()?)).collect()
}

/// `.describe_instances()` is a call of `DescribeInstances`.
fn calls(source: &str) -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    for (end, _) in source.match_indices("()") {
        let before = &source[..end];
        let start = before.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(0, |at| at + 1);
        let name = &before[start..];
        let is_method = before[..start].ends_with('.');
        if is_method && name.split_once('_').is_some_and(|(verb, _)| VERBS.contains(&verb)) {
            calls.insert(name.split('_').map(capitalized).collect());
        }
    }
    calls
}

fn capitalized(word: &str) -> String {
    let (first, rest) = word.split_at(word.len().min(1));
    first.to_ascii_uppercase() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_in_sources() {
        let source = "client\n    .describe_spot_price_history()\n    .start_time(x)\n fn stop_instances() {} a.run_instances().b()";
        let found: Vec<_> = calls(source).into_iter().collect();
        assert_eq!(found, ["DescribeSpotPriceHistory", "RunInstances"]);
    }

    #[test]
    fn what_is_missing_and_what_is_too_much_is_told() {
        let policy = serde_json::json!({"Statement": [
            {"Action": "ec2:RunInstances"},
            {"Action": ["ec2:StopInstances", "iam:PassRole"]},
        ]});
        let called = calls("a.run_instances() b.describe_images()");
        assert_eq!(
            differences(&called, &allowed(&policy)),
            [
                "examples/iam-policy.json: does not allow DescribeImages, which is called",
                "examples/iam-policy.json: allows StopInstances, which nothing calls",
            ]
        );
    }
}
