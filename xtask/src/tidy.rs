//! The rules that no compiler checks.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{policy, tools};

/// Which of our crates a crate may use, and nothing else of ours. Development dependencies are free, but for
/// `ganger-testkit`, which nothing may ship.
const MAY_USE: &[(&str, &[&str])] = &[
    (
        "ganger",
        &[
            "ganger-change-sources",
            "ganger-config",
            "ganger-engine",
            "ganger-model",
            "ganger-pools",
            "ganger-provider-docker",
            "ganger-provider-ec2",
            "ganger-provider-local",
            "ganger-storage",
            "ganger-web",
            "ganger-worker-protocol",
            "perspective-broker",
        ],
    ),
    ("ganger-bootstrap", &[]),
    ("ganger-change-sources", &["ganger-config", "ganger-model"]),
    ("ganger-config", &["ganger-model"]),
    (
        "ganger-engine",
        &[
            "ganger-config",
            "ganger-model",
            "ganger-pools",
            "ganger-storage",
            "ganger-worker-protocol",
            "perspective-broker",
        ],
    ),
    ("ganger-model", &[]),
    ("ganger-pools", &["ganger-model"]),
    ("ganger-provider-docker", &["ganger-model", "ganger-pools"]),
    ("ganger-provider-ec2", &["ganger-model", "ganger-pools"]),
    ("ganger-provider-local", &["ganger-model", "ganger-pools"]),
    ("ganger-storage", &["ganger-model"]),
    ("ganger-testkit", &[]),
    ("ganger-web", &["ganger-engine", "ganger-model", "ganger-pools"]),
    ("ganger-worker-protocol", &["ganger-model", "perspective-broker"]),
    ("perspective-broker", &[]),
    ("xtask", &[]),
];

/// Beyond this a file holds more than one idea.
const MAX_LINES: usize = 800;

pub(crate) fn run() -> Result<()> {
    let mut problems = Vec::new();
    let metadata = metadata()?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists packages")?;
    check_arrows(packages, &mut problems);
    for directory in ["crates", "tests", "xtask"] {
        check_files(&tools::root().join(directory), &mut problems)?;
    }
    for package in packages {
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        check_manifest(Path::new(manifest), &mut problems)?;
    }
    policy::check(&mut problems)?;
    if problems.is_empty() {
        return Ok(());
    }
    bail!("the tree is not tidy:\n  {}", problems.join("\n  "))
}

fn metadata() -> Result<Value> {
    let output = tools::cargo(&["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn check_arrows(packages: &[Value], problems: &mut Vec<String>) {
    let may_use: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(allowed) = may_use.get(name) else {
            problems.push(format!("{name}: xtask/src/tidy.rs does not say what it may use"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or_default();
            let ships = dependency["kind"] != "dev";
            if ships && may_use.contains_key(used) && !allowed.contains(&used) {
                problems.push(format!("{name} uses {used}: that arrow is not in the design"));
            }
            if ships && used.starts_with("aws-") && name != "ganger-provider-ec2" {
                problems.push(format!("{name} uses {used}: only ganger-provider-ec2 may name the AWS SDK"));
            }
        }
    }
}

fn check_files(directory: &Path, problems: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            check_files(&path, problems)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)?;
            let shown = path.strip_prefix(tools::root()).unwrap_or(&path).display();
            let lines = text.lines().count();
            if lines > MAX_LINES {
                problems
                    .push(format!("{shown}: {lines} lines; more than {MAX_LINES} hold more than one idea"));
            }
        }
    }
    Ok(())
}

fn check_manifest(manifest: &Path, problems: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let shown = manifest.strip_prefix(tools::root()).unwrap_or(manifest).display();
    if !text.contains("[lints]\nworkspace = true") {
        problems.push(format!("{shown}: does not take the lints of the workspace"));
    }
    let mut in_dependencies = false;
    for line in text.lines() {
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies");
        } else if in_dependencies
            && line.contains('=')
            && !line.contains("workspace = true")
            && !line.starts_with(' ')
        {
            problems.push(format!("{shown}: `{line}`: versions stand in the root Cargo.toml only"));
        }
    }
    Ok(())
}
