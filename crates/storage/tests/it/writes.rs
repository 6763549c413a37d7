//! What is written about changes, requests, builds and logs shows up in the queries.

use std::time::Duration;

use model::{BuildNumber, ChangeId, Json, Results};
use serde_json::json;
use storage::{
    BuildFilter, BuildOrder, Classified, Parent, RequestFilter, StepUrl, StorageError, Write,
    log::{ChunkBuilder, Compression, LogKind, Stream},
};

use crate::{
    farm::{self, Farm, at},
    place,
};

#[track_caller]
fn rejected(result: Result<(), StorageError>, write: &str, reason: &str) {
    match result {
        Err(StorageError::Rejected { write: found, reason: because }) => {
            assert_eq!(found, write);
            assert!(because.to_lowercase().contains(reason), "{because:?} does not say {reason:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_change_comes_back_with_its_parent_and_source_stamp() {
    let directory = tempfile::tempdir().unwrap();
    let Farm { store, restored } = Farm::open(directory.path()).await;
    let ids: Vec<ChangeId> = (0..3).map(|_| store.ids().next_change()).collect();
    let mut other = (*farm::change("r3")).clone();
    other.branch = None;
    let writes = vec![
        Write::Change { id: ids[0], change: farm::change("r1"), at: at(0) },
        Write::Change { id: ids[1], change: farm::change("r2"), at: at(1) },
        Write::Change { id: ids[2], change: other.clone().into(), at: at(2) },
    ];
    store.commit(writes).await.unwrap();
    let row = store.change(ids[1]).await.unwrap().unwrap();
    assert_eq!((&row.change, row.parent), (&*farm::change("r2"), Some(ids[0])));
    assert_eq!(store.change(ids[2]).await.unwrap().unwrap().parent, None);
    let stamp = store.sourcestamp(row.sourcestamp).await.unwrap().unwrap();
    assert_eq!((stamp.stamp, stamp.created_at), (row.change.source_stamp(), at(1)));
    assert_eq!(store.change_of_sourcestamp(row.sourcestamp).await.unwrap().unwrap().id, ids[1]);
    let newest: Vec<ChangeId> = store.changes(2, 0).await.unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(newest, [ids[2], ids[1]]);

    // Schedulers remember changes until they say that they have dealt with them.
    let scheduler = restored.schedulers["all"].0;
    let remember = |change, important| Write::SchedulerChange { scheduler, change, important };
    let done = |changes| vec![Write::SchedulerChangesDone { scheduler, changes }];
    let all: Vec<Write> = ids.iter().map(|&id| remember(id, true)).collect();
    store.commit(all.clone()).await.unwrap();
    store.commit(vec![remember(ids[0], false)]).await.unwrap();
    let pending = store.scheduler_changes(scheduler).await.unwrap();
    assert_eq!(pending, [(ids[0], false), (ids[1], true), (ids[2], true)]);
    store.commit(done(Classified::These(vec![ids[1]]))).await.unwrap();
    assert_eq!(store.scheduler_changes(scheduler).await.unwrap().len(), 2);
    store.commit(done(Classified::Through(ids[1]))).await.unwrap();
    assert_eq!(store.scheduler_changes(scheduler).await.unwrap(), [(ids[2], true)]);
    store.commit(done(Classified::All)).await.unwrap();
    assert_eq!(store.scheduler_changes(scheduler).await.unwrap(), []);
}

#[tokio::test]
async fn a_buildset_and_its_requests_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let (build, _) = farm::whole_build(&farm, "linux", "x\n").await;
    let store = &farm.store;
    let (id, request) = (store.ids().next_buildset(), store.ids().next_request());
    let parent = Some(Parent { build, relationship: "Triggered from".into() });
    let buildset = Write::Buildset {
        id,
        external_id: None,
        reason: "again".into(),
        submitted_at: at(20),
        sourcestamps: vec![farm::stamp(), farm::patched_stamp()],
        properties: farm::properties(),
        parent: parent.clone(),
        rebuilt_build: Some(build),
    };
    let asked = Write::Request {
        id: request,
        buildset: id,
        builder: farm.builder("wörld"),
        priority: 0,
        submitted_at: at(20),
        waited_for: false,
    };
    store.commit(vec![buildset, asked, Write::RequestPriority { request, priority: 99 }]).await.unwrap();
    let row = store.buildset(id).await.unwrap().unwrap();
    assert_eq!((row.reason.as_deref(), row.submitted_at, row.complete), (Some("again"), at(20), false));
    assert_eq!((row.results, row.parent, row.rebuilt_build), (None, parent, Some(build)));
    let stamps = store.sourcestamps(id).await.unwrap();
    assert_eq!(
        stamps.iter().map(|row| row.stamp.clone()).collect::<Vec<_>>(),
        [farm::stamp(), farm::patched_stamp()]
    );
    assert_eq!(stamps.iter().map(|row| row.id).collect::<Vec<_>>(), row.sourcestamps);
    assert_eq!(store.buildset_properties(id).await.unwrap(), farm::properties());
    assert_eq!(store.buildsets(10, 0).await.unwrap().iter().map(|row| row.id.0).collect::<Vec<_>>(), [2, 1]);

    let claimed =
        |claimed| RequestFilter { claimed: Some(claimed), complete: Some(false), ..RequestFilter::default() };
    let open = store.requests(claimed(false)).await.unwrap();
    assert_eq!(open.iter().map(|row| (row.id, row.priority)).collect::<Vec<_>>(), [(request, 99)]);
    store.commit(vec![Write::Claim { request, at: at(21) }]).await.unwrap();
    assert_eq!(store.requests(claimed(true)).await.unwrap()[0].claimed, Some((at(21), store.master())));
    store.commit(vec![Write::Unclaim { request }]).await.unwrap();
    assert_eq!(store.request(request).await.unwrap().unwrap().claimed, None);
    let done = [Write::CompleteRequest { request, results: Results::Cancelled, at: at(22) }];
    store.commit(done.to_vec()).await.unwrap();
    let row = store.request(request).await.unwrap().unwrap();
    assert_eq!((row.complete, row.complete_at, row.results), (true, Some(at(22)), Some(Results::Cancelled)));
    rejected(store.commit(done.to_vec()).await, "end of build request 2", "not complete");
    let complete = vec![Write::CompleteBuildset { buildset: id, results: Results::Cancelled, at: at(22) }];
    store.commit(complete.clone()).await.unwrap();
    let row = store.buildset(id).await.unwrap().unwrap();
    assert_eq!((row.complete, row.complete_at, row.results), (true, Some(at(22)), Some(Results::Cancelled)));
    rejected(store.commit(complete).await, "end of buildset 2", "not complete");
}

#[tokio::test]
async fn a_build_its_steps_and_logs_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let text: String = (0..2500).map(|n| format!("line {n}\n")).collect();
    let (id, log) = farm::whole_build(&farm, "linux", &text).await;
    let store = &farm.store;
    let build = store.build(id).await.unwrap().unwrap();
    assert_eq!(
        (build.number, build.builder, build.worker),
        (BuildNumber(1), farm.builder("linux"), Some(farm.worker("w1")))
    );
    assert_eq!(
        (build.started_at, build.complete_at, build.results),
        (at(2), Some(at(10)), Some(Results::Warnings))
    );
    assert_eq!(
        (build.state_string.as_str(), build.locks_duration, build.master),
        ("warnings compiled", 2, store.master())
    );
    assert_eq!(store.build_by_number(build.builder, build.number).await.unwrap(), Some(build.clone()));
    assert_eq!(store.build_by_number(build.builder, BuildNumber(2)).await.unwrap(), None);
    let properties = store.build_properties(id).await.unwrap();
    assert_eq!(properties.get("got_revision"), Some(&json!({"": "abc2", "é": [1, 2.5, null]})));

    let step = store.steps(id).await.unwrap().remove(0);
    assert_eq!((step.number, step.name.as_str(), step.results), (0, "compile", Some(Results::Warnings)));
    assert_eq!(
        (step.started_at, step.locks_acquired_at, step.complete_at),
        (Some(at(3)), Some(at(3)), Some(at(9)))
    );
    assert_eq!(step.urls, [StepUrl { name: "coverage".into(), url: "http://cov/é".into() }]);
    assert_eq!(store.step(step.id).await.unwrap(), Some(step.clone()));

    let row = store.log_by_slug(step.id, "stdio").await.unwrap().unwrap();
    assert_eq!((row.id, row.complete, row.num_lines, row.kind), (log, true, 2500, LogKind::Stdio));
    assert_eq!(store.logs(step.id).await.unwrap(), [row]);
    let lines = store.log_lines(log, 998, 4).await.unwrap();
    assert_eq!((lines.first_line, lines.num_lines), (998, 4));
    assert_eq!(lines.text, "oline 998\noline 999\noline 1000\noline 1001\n");
    let end = store.log_lines(log, 2499, u32::MAX).await.unwrap();
    assert_eq!((end.num_lines, end.text.as_str()), (1, "oline 2499\n"));
    assert_eq!(store.log_lines(log, 2500, 10).await.unwrap().num_lines, 0);
    assert_eq!(store.log_lines(log, 0, 0).await.unwrap().text, "");
}

#[tokio::test]
async fn a_running_build_changes_under_the_eyes_of_its_readers() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let store = &farm.store;
    let (_, request) = farm.request("linux").await;
    let build = farm.build(request, "linux", 1).await;
    let step = store.ids().next_step();
    let pending = Write::Step {
        id: step,
        number: 0,
        build,
        name: "s".into(),
        started_at: None,
        state_string: "pending".into(),
    };
    store
        .commit(vec![pending, Write::BuildState { build, state_string: "acquiring locks".into() }])
        .await
        .unwrap();
    assert_eq!(store.build(build).await.unwrap().unwrap().state_string, "acquiring locks");
    assert_eq!(store.step(step).await.unwrap().unwrap().started_at, None);
    store.commit(vec![Write::StepStarted { step, at: at(4), locks_acquired: false }]).await.unwrap();
    let row = store.step(step).await.unwrap().unwrap();
    assert_eq!((row.started_at, row.locks_acquired_at), (Some(at(4)), None));
    let link = Write::StepUrl { step, name: "n".into(), url: "u".into() };
    let more = [
        Write::StepLocksAcquired { step, at: at(5) },
        Write::StepState { step, state_string: "running".into() },
        link.clone(),
        link,
        Write::BuildProperty { build, name: "p".into(), value: json!(1), source: "a".into() },
        Write::BuildProperty { build, name: "p".into(), value: json!([2]), source: "b".into() },
    ];
    store.commit(more.to_vec()).await.unwrap();
    let row = store.step(step).await.unwrap().unwrap();
    assert_eq!(
        (row.locks_acquired_at, row.state_string.as_str(), row.urls.len()),
        (Some(at(5)), "running", 1)
    );
    let properties = store.build_properties(build).await.unwrap();
    assert_eq!(properties.property("p").map(|p| (&p.value, p.source.as_str())), Some((&json!([2]), "b")));
    let hide = Write::StepFinished {
        step,
        results: Results::Skipped,
        at: at(6),
        hidden: true,
        state_string: "no".into(),
    };
    store.commit(vec![hide]).await.unwrap();
    let row = store.step(step).await.unwrap().unwrap();
    assert_eq!((row.hidden, row.results, row.complete_at), (true, Some(Results::Skipped), Some(at(6))));
}

#[tokio::test]
async fn builds_are_filtered_and_ordered() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let store = &farm.store;
    for number in 1..=3 {
        let (_, request) = farm.request("linux").await;
        farm.build(request, "linux", number).await;
    }
    let finish = |id, second| Write::BuildFinished {
        build: model::BuildId(id),
        results: Results::Success,
        at: at(second),
        state_string: "ok".into(),
        locks_duration: Duration::ZERO,
    };
    store.commit(vec![finish(1, 50), finish(2, 40)]).await.unwrap();
    let check = async |filter: BuildFilter, expect: &[i64]| {
        let found: Vec<i64> =
            store.builds(filter.clone()).await.unwrap().iter().map(|row| row.id.0).collect();
        assert_eq!(found, expect, "{filter:?}");
    };
    let all = BuildFilter::default;
    check(all(), &[1, 2, 3]).await;
    check(BuildFilter { complete: Some(false), ..all() }, &[3]).await;
    check(BuildFilter { complete: Some(true), order: BuildOrder::CompleteLast, ..all() }, &[1, 2]).await;
    check(BuildFilter { order: BuildOrder::IdDescending, limit: 1, offset: 1, ..all() }, &[2]).await;
    check(BuildFilter { order: BuildOrder::StartedLast, limit: 2, ..all() }, &[3, 2]).await;
    let linux = Some(farm.builder("linux"));
    check(BuildFilter { builder: linux, order: BuildOrder::NumberDescending, limit: 2, ..all() }, &[3, 2])
        .await;
    check(BuildFilter { builder: Some(farm.builder("wörld")), ..all() }, &[]).await;
    check(BuildFilter { worker: Some(farm.worker("w1")), ..all() }, &[1, 2, 3]).await;
    check(BuildFilter { request: Some(model::BuildRequestId(2)), ..all() }, &[2]).await;
    assert_eq!(store.count_builds(BuildFilter { complete: Some(true), limit: 1, ..all() }).await.unwrap(), 2);
}

#[tokio::test]
async fn object_state_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let Farm { store, .. } = Farm::open(directory.path()).await;
    let state = |value: Json| Write::ObjectState {
        object: "nightly".into(),
        class: "Nightly".into(),
        key: "last_build".into(),
        value,
    };
    assert_eq!(store.object_state("nightly", "Nightly", "last_build").await.unwrap(), None);
    store.commit(vec![state(json!(1.5)), state(json!({"a": null}))]).await.unwrap();
    assert_eq!(
        store.object_state("nightly", "Nightly", "last_build").await.unwrap(),
        Some(json!({"a": null}))
    );
    assert_eq!(store.object_state("nightly", "Periodic", "last_build").await.unwrap(), None);
}

#[tokio::test]
async fn a_name_that_is_too_long_for_its_column_keeps_its_state() {
    let directory = tempfile::tempdir().unwrap();
    let Farm { store, .. } = Farm::open(directory.path()).await;
    let names = ["1", "2"].map(|last| "ö".repeat(300) + last);
    let write = |name: &String| Write::ObjectState {
        object: name.clone(),
        class: name.clone(),
        key: name.clone(),
        value: json!(name),
    };
    store.commit(names.iter().map(write).collect()).await.unwrap();
    for name in names {
        assert_eq!(store.object_state(&name, &name, &name).await.unwrap(), Some(json!(name)));
        let kept = store.object_states(&*name).await.unwrap();
        assert_eq!(kept.values().collect::<Vec<_>>(), [&json!(name)]);
    }
}

#[tokio::test]
async fn writes_take_effect_in_the_order_of_the_calls() {
    let directory = tempfile::tempdir().unwrap();
    let Farm { store, .. } = Farm::open(directory.path()).await;
    let state = |value: i64| {
        vec![Write::ObjectState {
            object: "o".into(),
            class: "c".into(),
            key: "k".into(),
            value: json!(value),
        }]
    };
    let mut last = None;
    for value in 0..500 {
        if value % 2 == 0 {
            store.submit(state(value)).await.unwrap();
        } else {
            last = Some(store.enqueue(state(value)));
        }
    }
    last.unwrap().await.unwrap();
    assert_eq!(store.object_state("o", "c", "k").await.unwrap(), Some(json!(499)));
    // What is only submitted is durable once something after it is.
    store.submit(state(7)).await.unwrap();
    store.commit(vec![]).await.unwrap();
    assert_eq!(store.object_state("o", "c", "k").await.unwrap(), Some(json!(7)));
}

#[tokio::test]
async fn a_refused_write_fails_its_own_batch_only() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let store = &farm.store;
    let (_, request) = farm.request("linux").await;
    let state = |key: &str| Write::ObjectState {
        object: "o".into(),
        class: "c".into(),
        key: key.into(),
        value: json!(1),
    };
    // All in one group, most likely; the answers have to be the same if not.
    let before = store.enqueue(vec![state("before")]);
    let claim = store.enqueue(vec![Write::Claim { request, at: at(2) }]);
    let again = store.enqueue(vec![state("again"), Write::Claim { request, at: at(2) }, state("again too")]);
    let unknown =
        store.enqueue(vec![Write::BuildState { build: model::BuildId(77), state_string: "x".into() }]);
    let orphan = store.enqueue(vec![Write::Request {
        id: store.ids().next_request(),
        buildset: model::BuildsetId(99),
        builder: farm.builder("linux"),
        priority: 0,
        submitted_at: at(1),
        waited_for: false,
    }]);
    let after = store.enqueue(vec![state("after")]);
    before.await.unwrap();
    claim.await.unwrap();
    rejected(again.await, "claim of build request 1", "master 1 has taken it");
    rejected(unknown.await, "state of build 77", "there is no build 77");
    rejected(orphan.await, "build request 2", "foreign key constraint");
    after.await.unwrap();
    for (key, expect) in [("before", true), ("after", true), ("again", false), ("again too", false)] {
        assert_eq!(store.object_state("o", "c", key).await.unwrap().is_some(), expect, "{key}");
    }
    let build = farm.build(farm.request("linux").await.1, "linux", 1).await;
    farm.step(build, 0, "twice", "").await;
    let twice = Write::Step {
        id: store.ids().next_step(),
        number: 1,
        build,
        name: "twice".into(),
        started_at: None,
        state_string: "pending".into(),
    };
    rejected(store.commit(vec![twice]).await, "step 2 (\"twice\" of build 1)", "unique constraint");
    let retry = Write::CompleteRequest { request, results: Results::Retry, at: at(9) };
    rejected(store.commit(vec![retry]).await, "end of build request 1", "to be tried again");
}

#[tokio::test]
async fn lines_of_a_log_have_no_gaps() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let store = &farm.store;
    let build = farm.build(farm.request("linux").await.1, "linux", 1).await;
    let (_, log) = farm.step(build, 0, "s", "a\nb\n").await;
    let more = farm::chunks(log, "c\n", Compression::None);
    rejected(store.commit(more).await, "lines 0 to 0 of log 1", "log 1 has 2 lines");
    rejected(
        store.commit(vec![Write::LogFinished { log, num_lines: 3 }]).await,
        "end of log 1",
        "log 1 has 2 lines",
    );
    let nothing = Write::LogFinished { log: model::LogId(9), num_lines: 0 };
    rejected(store.commit(vec![nothing]).await, "end of log 9", "there is no log 9");
    assert_eq!(store.log_lines(log, 0, 100).await.unwrap().text, "oa\nob\n");
}

#[tokio::test]
async fn a_huge_log_is_read_in_bounded_pieces() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let build = farm.build(farm.request("linux").await.1, "linux", 1).await;
    let text = format!("{}\n", "y".repeat(1000)).repeat(12_000);
    let (_, log) = farm.step(build, 0, "s", &text).await;
    let (mut next, mut whole, mut answers) = (0, String::new(), 0);
    loop {
        let answer = farm.store.log_lines(log, next, u32::MAX).await.unwrap();
        if answer.num_lines == 0 {
            break;
        }
        assert!(answer.text.len() < 5 << 20, "{}", answer.text.len());
        assert_eq!(answer.first_line, next);
        next += answer.num_lines;
        whole.push_str(&answer.text);
        answers += 1;
    }
    assert!(answers > 1);
    assert_eq!(whole, format!("o{}\n", "y".repeat(1000)).repeat(12_000));
}

#[tokio::test]
async fn the_chunks_of_a_log_that_was_looked_at_become_one() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let (_, request) = farm.request("linux").await;
    let build = farm.build(request, "linux", 1).await;
    for (number, is_cut_short) in [(0, false), (1, true)] {
        let (_, log) = farm.step(build, number, &format!("s{number}"), "").await;
        let mut builder = ChunkBuilder::new(LogKind::Stdio, Compression::Gz);
        for line in ["one\n", "two\nthree\n", "four\n"] {
            builder.push(Stream::Stdout, line.as_bytes());
            builder.flush();
        }
        let writes = std::iter::from_fn(|| builder.next_chunk()).map(|chunk| chunk.into_write(log)).collect();
        farm.store.commit(writes).await.unwrap();
        let delete = format!("DELETE FROM logchunks WHERE logid = {log} AND first_line = 1");
        if is_cut_short {
            place::sql(directory.path(), &delete);
        }
        farm.store.merge_chunks(log, builder.take_scattered(), Compression::Gz).await.unwrap();
        farm.store.commit(Vec::new()).await.unwrap();
        if !is_cut_short {
            // There is no such chunk any more.
            place::sql(directory.path(), &delete);
        }
        let text = farm.store.log_lines(log, 0, 10).await.unwrap().text;
        assert_eq!(text, if is_cut_short { "oone\n" } else { "oone\notwo\nothree\nofour\n" });
    }
}
