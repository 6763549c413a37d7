//! `ganger simulate`.

use std::{fs, io::Write, path::Path};

use serde_json::Value;

use crate::program::{ganger, stderr, stdout};

/// 60 jobs of five minutes within ten minutes.
fn trace(directory: &Path) -> String {
    let mut text = String::from("arrival_ms,duration_ms\n");
    for index in 0..60 {
        text.push_str(&format!("{},300000\n", index * 10_000));
    }
    let file = directory.join("trace.csv");
    fs::write(&file, text).expect("a writable directory");
    file.to_str().expect("UTF-8").to_owned()
}

fn json(args: &[&str]) -> Value {
    let output = ganger(args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
    serde_json::from_str(&stdout(&output)).expect("one JSON object")
}

#[test]
fn one_run_is_one_object_and_the_same_again() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let trace = trace(scratch.path());
    let args = ["simulate", "--trace", &trace, "--max", "30", "--boot-median", "60", "--json"];
    let run = json(&args);
    for key in [
        "mean_wait_s",
        "p50_wait_s",
        "p99_wait_s",
        "high_p99_wait_s",
        "overhead_h",
        "busy_h",
        "launches",
        "never_used",
        "api_calls",
        "leaked",
        "killed_busy",
        "jobs",
        "cost",
        "waits",
    ] {
        assert!(!run[key].is_null(), "{key} is not in {run}");
    }
    assert_eq!(run["jobs"], 60);
    assert_eq!(run["busy_h"], 5.0);
    assert!(run["peak"].as_u64() <= Some(30), "{run}");
    assert_eq!(json(&args), run);
    let slow = json(&["simulate", "--trace", &trace, "--max", "30", "--boot-median", "600", "--json"]);
    assert!(slow["mean_wait_s"].as_f64() > run["mean_wait_s"].as_f64());
}

#[test]
fn a_packed_trace_gives_the_same() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let plain = trace(scratch.path());
    let packed = scratch.path().join("trace.csv.gz");
    let mut writer =
        flate2::write::GzEncoder::new(fs::File::create(&packed).expect("a file"), Default::default());
    writer.write_all(&fs::read(&plain).expect("it is there")).expect("it is written");
    writer.finish().expect("it is written");
    let packed = packed.to_str().expect("UTF-8");
    assert_eq!(
        json(&["simulate", "--trace", packed, "--json"]),
        json(&["simulate", "--trace", &plain, "--json"])
    );
}

#[test]
fn rules_and_configurations_are_compared_and_drawn() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let trace = trace(scratch.path());
    let all = json(&["simulate", "--trace", &trace, "--policy", "all", "--json"]);
    assert_eq!(all["runs"].as_array().map(Vec::len), Some(11));
    let compared = json(&["simulate", "--trace", &trace, "--compare", "max=5,lambda=3", "--json"]);
    let runs = compared["runs"].as_array().expect("runs");
    assert_eq!((runs.len(), &runs[1]["max"]), (2, &Value::from(5)));
    assert!(runs[1]["mean_wait_s"].as_f64() > runs[0]["mean_wait_s"].as_f64());

    let picture = scratch.path().join("frontier.svg");
    let shown = picture.to_str().expect("UTF-8");
    let output =
        ganger(&["simulate", "--trace", &trace, "--frontier", "--lambdas", "0.5,1,4", "--plot", shown]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("λ = 4"), "{}", stdout(&output));
    let picture = fs::read_to_string(picture).expect("it is there");
    assert!(picture.starts_with("<svg") && picture.contains("λ = 0.5"), "{picture}");
}

#[test]
fn a_pool_of_a_configuration_is_run() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let trace = trace(scratch.path());
    let file = scratch.path().join("ganger.toml");
    let pool = |name: &str, max: u32| format!("[[pool]]\nname = \"{name}\"\nmax = {max}\n\n[pool.local]\n\n");
    let text = format!(
        "[master]\ntitle = \"x\"\n\n{}{}[[builder]]\nname = \"b\"\nworkers = [\"small\"]\n\n[[builder.step]]\ntype = \"ShellCommand\"\ncommand = \"true\"\n",
        pool("small", 3),
        pool("large", 30)
    );
    fs::write(&file, text).expect("a writable directory");
    let file = file.to_str().expect("UTF-8");
    let output = ganger(&["simulate", "--trace", &trace, "--config", file]);
    assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
    assert!(stderr(&output).contains("--pool: small, large"), "{}", stderr(&output));
    let run = json(&["simulate", "--trace", &trace, "--config", file, "--pool", "small", "--json"]);
    assert_eq!((&run["max"], run["peak"].as_u64() <= Some(3)), (&Value::from(3), true), "{run}");
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let file = scratch.path().join("trace.csv");
    fs::write(&file, "arrival_ms,duration_ms\n1,2\nx,3\n").expect("a writable directory");
    let file = file.to_str().expect("UTF-8");
    let check = |args: &[&str], code, expect: &str| {
        let output = ganger(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expect), "{expect:?} is not in {}", stderr(&output));
    };
    check(&["simulate", "--trace", file], 64, "line 3 of the trace: arrival_ms \"x\"");
    check(&["simulate", "--trace", "/nonexistent.csv"], 66, "/nonexistent.csv");
    check(&["simulate"], 64, "--trace");
    check(&["simulate", "--trace", file, "--boot-fail", "2"], 64, "from 0 to 1");
    check(&["simulate", "--trace", file, "--lambda", "nan"], 64, "not a number");
    check(&["simulate", "--trace", file, "--policy", "nobody"], 64, "net-demand");
    fs::write(scratch.path().join("good.csv"), "1,2\n").expect("a writable directory");
    let good = scratch.path().join("good.csv");
    let good = good.to_str().expect("UTF-8");
    check(&["simulate", "--trace", good, "--plot", "x.png"], 64, ".svg");
    check(&["simulate", "--trace", good, "--compare", "max=many"], 64, "a whole number");
}
