//! A stock Buildbot 4.3 and Ganger read what the other wrote.

use std::{os::unix::process::ExitStatusExt, path::Path, process::Stdio};

use model::{BuildNumber, Json, Results};
use serde_json::json;
use storage::{
    BuildFilter, Identities, Options, RequestFilter, Store, Write,
    log::{ChunkBuilder, Compression, LogKind, Stream},
};
use testkit::venv::{Found, Venv};

use crate::{
    farm::{self, Farm, at},
    place::{location, url},
};

/// Runs the script beside this file; gives back what it prints, and the signal that ended it.
pub(crate) fn stock_buildbot(command: &str, directory: &Path) -> (String, Option<i32>) {
    let Found::Ready(venv) = Venv::find("master-4.3.0").unwrap() else { panic!("it runs on Python 3") };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/stock_buildbot.py");
    let output = venv
        .command("python")
        .arg(script)
        .arg(command)
        .arg(directory)
        .arg(url(directory))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let signal = output.status.signal();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || signal == Some(9), "{log}");
    (String::from_utf8(output.stdout).unwrap(), signal)
}

#[tokio::test]
async fn buildbot_shows_what_ganger_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let store = &farm.store;
    let worker = farm.worker("w1");
    let text: String = (0..3000).map(|n| format!("line {n} é\n")).collect();
    let info = json!({"admin": null, "host": "h\u{e9}", "access_uri": null, "version": "4.3.0"});
    let linux = Write::Builder {
        id: farm.builder("linux"),
        name: "linux".into(),
        description: Some("a *builder*".into()),
        tags: vec!["t2".into(), "t1".into()],
    };
    let change = store.ids().next_change();
    let state = Write::ObjectState {
        object: "nightly".into(),
        class: "Nightly".into(),
        key: "last_build".into(),
        value: json!(1700000000.25),
    };
    let writes = vec![
        linux,
        Write::ConfiguredWorker { worker, builders: vec![farm.builder("linux")] },
        Write::WorkerConnected { worker, info: info.clone() },
        Write::Change { id: change, change: farm::change("abc2"), at: at(0) },
        state,
    ];
    store.commit(writes).await.unwrap();
    let (build, _) = farm::whole_build(&farm, "linux", &text).await;
    let mut raw = ChunkBuilder::new(LogKind::Text, Compression::None);
    raw.push(Stream::Stdout, "no newline, ü\n\nand an empty line".as_bytes());
    raw.finish();
    let step = store.steps(build).await.unwrap()[0].id;
    let notes = store.ids().next_log();
    let mut writes = vec![Write::Log {
        id: notes,
        step,
        name: "notes & more".into(),
        slug: "notes___more".into(),
        kind: LogKind::Text,
    }];
    writes.extend(std::iter::from_fn(|| raw.next_chunk()).map(|chunk| chunk.into_write(notes)));
    writes.push(Write::LogFinished { log: notes, num_lines: 3 });
    store.commit(writes).await.unwrap();
    let stamp = store.change(change).await.unwrap().unwrap().sourcestamp;
    store.commit(vec![Write::MasterStopped { at: at(20) }]).await.unwrap();
    store.close().await;

    let (answer, _) = stock_buildbot("read", directory.path());
    let answer: Json = serde_json::from_str(&answer).unwrap();
    let start = farm::START;
    let part =
        |pointer: &str| answer.pointer(pointer).unwrap_or_else(|| panic!("Buildbot shows no {pointer}"));
    assert_eq!(part("/masters/0/name"), "host:/srv/ganger");
    assert_eq!(part("/masters/0/active"), false);
    assert_eq!(part("/builders/0/tags"), &json!(["t2", "t1"]));
    assert_eq!(part("/builders/0/description"), "a *builder*");
    assert_eq!(part("/builders/1/name"), "wörld");
    assert_eq!(part("/workers/0/workerinfo"), &info);
    let schedulers = part("/schedulers").as_array().unwrap();
    assert!(schedulers.iter().any(|scheduler| scheduler["name"] == "nightly"));
    assert_eq!(part("/changes/0/author"), "Jöe <j@x>");
    assert_eq!(part("/changes/0/files"), &json!(["f1.c", "f2.c"]));
    assert_eq!(part("/changes/0/properties"), &json!({"a": ["b", "Change"]}));
    assert_eq!(part("/changes/0/when_timestamp"), start - 100);
    let buildset = part("/buildsets/0");
    assert_eq!(
        (&buildset["reason"], &buildset["complete"], &buildset["results"]),
        (&json!("because"), &json!(true), &json!(1))
    );
    assert_eq!(buildset["properties"], serde_json::to_value(sourced(&farm::properties())).unwrap());
    assert_eq!(buildset["sourcestamps"][0]["revision"], "abc2");
    let request = part("/buildrequests/0");
    assert_eq!(
        (&request["priority"], &request["claimed"], &request["waited_for"]),
        (&json!(7), &json!(true), &json!(true))
    );
    assert_eq!((&request["results"], &request["complete_at"]), (&json!(1), &json!(start + 10)));
    let build = part("/builds/0");
    assert_eq!(
        (&build["number"], &build["results"], &build["state_string"]),
        (&json!(1), &json!(1), &json!("warnings compiled"))
    );
    assert_eq!((&build["started_at"], &build["complete_at"]), (&json!(start + 2), &json!(start + 10)));
    assert_eq!(build["properties"]["got_revision"], json!([{"": "abc2", "é": [1, 2.5, null]}, "Git"]));
    let step = &build["steps"][0];
    assert_eq!(
        (&step["name"], &step["results"], &step["hidden"]),
        (&json!("compile"), &json!(1), &json!(false))
    );
    assert_eq!(step["urls"], json!([{"name": "coverage", "url": "http://cov/é"}]));
    let (stdio, notes) = (&step["logs"][0], &step["logs"][1]);
    assert_eq!(
        (&stdio["num_lines"], &stdio["complete"], &stdio["type"]),
        (&json!(3000), &json!(true), &json!("s"))
    );
    let expect: String = text.split_inclusive('\n').map(|line| format!("o{line}")).collect();
    assert_eq!(stdio["contents"]["content"], expect);
    assert_eq!(notes["contents"]["content"], "no newline, ü\n\nand an empty line\n");
    let found =
        json!({"builder": 2, "worker": 2, "scheduler": 2, "sourcestamp": stamp.0, "state": 1700000000.25});
    assert_eq!(part("/found"), &found, "Buildbot finds by its hashes what Ganger wrote");
    assert_eq!(part("/next_number"), 2);
}

fn sourced(properties: &model::Properties) -> std::collections::BTreeMap<String, (Json, String)> {
    properties
        .iter()
        .map(|(name, property)| (name.clone(), (property.value.clone(), property.source.clone())))
        .collect()
}

/// A plain installation of Buildbot reads what Ganger compresses by default; what needs one of Buildbot's extras is not
/// the default.
#[tokio::test]
async fn plain_buildbot_reads_the_default_compression() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let (_, request) = farm.request("linux").await;
    let build = farm.build(request, "linux", 1).await;
    let text = "the same again\n".repeat(100);
    for (number, compression) in
        [Compression::default(), Compression::Zstd, Compression::Lz4].into_iter().enumerate()
    {
        let (_, log) = farm.step(build, number as i64, &format!("s{number}"), "").await;
        farm.store.commit(farm::chunks(log, &text, compression)).await.unwrap();
    }
    farm.store.commit(vec![Write::MasterStopped { at: at(20) }]).await.unwrap();
    farm.store.close().await;
    let (answer, _) = stock_buildbot("read", directory.path());
    let answer: Json = serde_json::from_str(&answer).unwrap();
    let contents = |step: usize| &answer["builds"][0]["steps"][step]["logs"][0]["contents"];
    assert_eq!(contents(0)["content"], "othe same again\n".repeat(100));
    for step in [1, 2] {
        assert!(contents(step).is_string(), "an error stands in place of the lines: {}", contents(step));
    }
}

#[tokio::test]
async fn ganger_takes_over_from_a_buildbot_that_died() {
    let directory = tempfile::tempdir().unwrap();
    let (said, signal) = stock_buildbot("build", directory.path());
    assert_eq!(signal, Some(9), "it was to die: {said}");
    let said: Json = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let store =
        Store::open(location(directory.path()), Options::new(said["master"].as_str().unwrap(), at(0)))
            .unwrap();
    assert_eq!(store.master().0, 1);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let identities = Identities {
        builders: names(&["fast", "slow"]),
        workers: names(&["local"]),
        schedulers: names(&["some"]),
    };
    let restored = store.restore(identities, at(400_000_000)).await.unwrap();

    let fast = restored.builders["fast"];
    assert_eq!(fast.1, BuildNumber(2));
    let tags = store.builder(fast.0).await.unwrap().unwrap().tags;
    assert_eq!(
        tags.iter().map(String::as_str).collect::<std::collections::BTreeSet<_>>(),
        ["t1", "t2"].into()
    );
    assert_eq!(restored.workers["local"].info["version"], "4.3.0");
    assert!(restored.schedulers["some"].1);

    // The build that Buildbot finished.
    let build = store.build_by_number(fast.0, BuildNumber(1)).await.unwrap().unwrap();
    assert_eq!((build.results, build.state_string.as_str()), (Some(Results::Success), "build successful"));
    let properties = store.build_properties(build.id).await.unwrap();
    assert_eq!(properties.get("got"), Some(&json!("hé")));
    assert_eq!(
        properties.property("f").map(|p| (&p.value, p.source.as_str())),
        Some((&json!(1e20), "Force"))
    );
    let steps = store.steps(build.id).await.unwrap();
    let step_names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(step_names, ["worker_preparation", "echo", "count", "set"]);
    let log = store.log_by_slug(steps[1].id, "stdio").await.unwrap().unwrap();
    let text = store.log_lines(log.id, 0, u32::MAX).await.unwrap();
    assert_eq!(text.num_lines, log.num_lines);
    assert!(
        text.text.contains("\noout\n") && text.text.contains("\neerr\n") && text.text.contains("\noend\n"),
        "{}",
        text.text
    );
    let log = store.log_by_slug(steps[2].id, "stdio").await.unwrap().unwrap();
    let text = store.log_lines(log.id, 0, u32::MAX).await.unwrap();
    let numbers = (1..=3000).map(|n| format!("o{n}\n")).collect::<String>();
    assert!(text.num_lines == log.num_lines && text.text.contains(&numbers));

    // What it was asked for.
    let set = store.buildset(model::BuildsetId(1)).await.unwrap().unwrap();
    assert_eq!(
        (set.external_id.as_deref(), set.reason.as_deref(), set.results),
        (Some("ext"), Some("because"), Some(Results::Success))
    );
    let stamp = store.sourcestamps(set.id).await.unwrap().remove(0).stamp;
    let patch = stamp.patch.unwrap();
    assert_eq!(
        (patch.body.as_slice(), patch.level, patch.subdir.as_str()),
        (&b"--- a\n+++ b\n"[..], 1, "src")
    );
    let properties = store.buildset_properties(set.id).await.unwrap();
    assert_eq!(properties.get("é"), Some(&json!(["ü", null])));
    let change = store.changes(10, 0).await.unwrap().remove(0).change;
    assert_eq!(
        (change.author.as_str(), change.comments.as_str(), &change.files[..]),
        ("Jöe", "mé", &["a.c".to_owned()][..])
    );
    assert_eq!(
        change.properties.property("x").map(|p| (&p.value, p.source.as_str())),
        Some((&json!(1), "Change"))
    );

    // The build that it died in.
    assert_eq!(restored.interrupted.len(), 1);
    let running = store.build(restored.interrupted[0].build).await.unwrap().unwrap();
    assert_eq!((running.builder, running.results), (restored.builders["slow"].0, Some(Results::Retry)));
    assert_eq!(running.complete_at, Some(at(400_000_000)));
    let step = store.steps(running.id).await.unwrap().remove(1);
    assert_eq!(step.results, Some(Results::Retry));
    let log = store.logs(step.id).await.unwrap().remove(0);
    let text = store.log_lines(log.id, 0, u32::MAX).await.unwrap();
    assert!(
        log.complete && text.num_lines == log.num_lines && text.text.ends_with("o19\no20\n"),
        "{}",
        text.text
    );
    let open = store.requests(RequestFilter {
        claimed: Some(false),
        complete: Some(false),
        ..RequestFilter::default()
    });
    assert_eq!(open.await.unwrap()[0].id, running.request);
    assert_eq!(
        (restored.requests.len(), restored.requests[0].id, restored.requests[0].priority),
        (1, running.request, 3)
    );

    // And on it goes.
    let next = store.ids().next_build();
    assert!(next > running.id);
    let again = Write::Build {
        id: next,
        number: restored.builders["slow"].1,
        builder: running.builder,
        request: running.request,
        worker: running.worker,
        started_at: at(400_000_001),
        state_string: "building".into(),
    };
    store.commit(vec![Write::Claim { request: running.request, at: at(400_000_001) }, again]).await.unwrap();
    assert_eq!(
        store.count_builds(BuildFilter { complete: Some(false), ..BuildFilter::default() }).await.unwrap(),
        1
    );
}
