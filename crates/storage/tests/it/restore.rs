//! What a master finds after a crash.

use model::{BuildNumber, Results};
use storage::{Identities, Lease, Options, Store, Write};

use crate::{
    farm::{Farm, at, change, identities, properties, stamp},
    place::{self, location},
};

#[tokio::test]
async fn an_interrupted_build_is_closed_and_its_request_is_free_again() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let (buildset, request) = farm.request("linux").await;
    let build = farm.build(request, "linux", 1).await;
    let (done, _) = farm.step(build, 0, "done", "x\n").await;
    let finished = Write::StepFinished {
        step: done,
        results: Results::Success,
        at: at(4),
        hidden: false,
        state_string: "ok".into(),
    };
    farm.store.commit(vec![finished]).await.unwrap();
    let (open, log) = farm.step(build, 1, "open", "one\ntwo\n").await;
    let (_, untouched) = farm.request("wörld").await;
    // As after a crash: nothing says that the master stops.
    farm.store.close().await;

    let farm = Farm::open(directory.path()).await;
    let (store, restored) = (&farm.store, &farm.restored);
    let interrupted = &restored.interrupted[..];
    assert_eq!(interrupted.len(), 1);
    assert_eq!(
        (interrupted[0].build, interrupted[0].request, interrupted[0].number),
        (build, request, BuildNumber(1))
    );
    let row = store.build(build).await.unwrap().unwrap();
    assert_eq!((row.results, row.complete_at), (Some(Results::Retry), Some(at(0))));
    let steps = store.steps(build).await.unwrap();
    assert_eq!((steps[0].results, steps[0].complete_at), (Some(Results::Success), Some(at(4))));
    assert_eq!(
        (steps[1].id, steps[1].results, steps[1].complete_at),
        (open, Some(Results::Retry), Some(at(0)))
    );
    let row = store.log(log).await.unwrap().unwrap();
    assert_eq!((row.complete, row.num_lines), (true, 2));
    assert_eq!(store.log_lines(log, 0, 9).await.unwrap().text, "oone\notwo\n");

    assert_eq!(restored.requests.iter().map(|row| row.id).collect::<Vec<_>>(), [request, untouched]);
    assert_eq!((restored.requests[0].priority, restored.requests[0].waited_for), (7, true));
    let set = &restored.buildsets[&buildset];
    assert_eq!((&set.sourcestamps[..], &set.properties), (&[stamp()][..], &properties()));
    assert_eq!(set.row.reason.as_deref(), Some("because"));
    assert_eq!(restored.builders["linux"], (farm.builder("linux"), BuildNumber(2)));
    assert_eq!(store.request(request).await.unwrap().unwrap().claimed, None);

    // Once is enough: the next start finds nothing to close.
    farm.store.close().await;
    assert_eq!(Farm::open(directory.path()).await.restored.interrupted, []);
}

#[tokio::test]
async fn a_finished_build_of_an_open_request_is_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let (buildset, request) = farm.request("linux").await;
    farm.store.commit(vec![Write::Claim { request, at: at(2) }]).await.unwrap();
    let (_, other) = farm.request("linux").await;
    let done = Write::CompleteRequest { request: other, results: Results::Failure, at: at(5) };
    farm.store.commit(vec![done]).await.unwrap();
    farm.store.close().await;
    let restored = Farm::open(directory.path()).await.restored;
    assert_eq!(restored.requests.iter().map(|row| row.id).collect::<Vec<_>>(), [request]);
    assert_eq!(restored.buildsets[&buildset].finished, []);
    // Of the other buildset no request is left: it only has to be completed.
    let other_set = restored.buildsets.values().find(|set| set.row.id != buildset).unwrap();
    assert_eq!(other_set.finished, [(other, Results::Failure)]);
}

#[tokio::test]
async fn schedulers_find_the_changes_that_they_waited_with() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let (scheduler, id) = (farm.restored.schedulers["all"].0, farm.store.ids().next_change());
    let writes = vec![
        Write::Change { id, change: change("r1"), at: at(0) },
        Write::SchedulerChange { scheduler, change: id, important: false },
        Write::SchedulerEnabled { scheduler, enabled: false },
    ];
    farm.store.commit(writes).await.unwrap();
    farm.store.close().await;
    let restored = Farm::open(directory.path()).await.restored;
    let pending = &restored.pending_changes[..];
    assert_eq!(pending.len(), 1);
    assert_eq!((pending[0].scheduler, pending[0].id, pending[0].important), (scheduler, id, false));
    assert_eq!(pending[0].change, *change("r1"));
    assert_eq!(restored.schedulers["all"], (scheduler, false));
}

#[tokio::test]
async fn a_builder_that_is_not_configured_goes_on_with_its_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    crate::farm::whole_build(&farm, "wörld", "x\n").await;
    let id = farm.store.ids().next_builder();
    let virtual_builder = |project: Option<&str>, tags: &[&str]| Write::VirtualBuilder {
        id,
        name: "shown".into(),
        description: Some("text".into()),
        project: project.map(Into::into),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
    };
    farm.store.commit(vec![virtual_builder(Some("p"), &["a", "_virtual_"])]).await.unwrap();
    farm.store.commit(vec![virtual_builder(Some("p"), &["_virtual_"])]).await.unwrap();
    farm.store.close().await;
    let store = Store::open(location(directory.path()), crate::farm::options()).unwrap();
    let mut fewer = identities();
    fewer.builders.pop();
    let restored = store.restore(fewer, at(1)).await.unwrap();
    assert_eq!(restored.builders.keys().collect::<Vec<_>>(), ["linux", "shown", "wörld"]);
    assert_eq!(
        (restored.builders["wörld"].1, restored.builders["shown"]),
        (BuildNumber(2), (id, BuildNumber(1)))
    );
    let rows = store.builders().await.unwrap();
    assert_eq!(rows.iter().map(|row| row.masters.len()).collect::<Vec<_>>(), [1, 0, 0]);
    let shown = rows.iter().find(|row| row.name == "shown").unwrap();
    assert_eq!(
        (shown.description.as_deref(), &shown.tags[..]),
        (Some("text"), &["_virtual_".to_owned()][..])
    );
    assert!(shown.project.is_some());
}

#[tokio::test]
async fn another_master_is_cleaned_up_after_once_it_was_silent_for_ten_minutes() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let (_, request) = farm.request("linux").await;
    let build = farm.build(request, "linux", 1).await;
    farm.store.close().await;

    // The last to have it was not a Ganger.
    place::forget_last_master(directory.path());
    let store = Store::open(location(directory.path()), Options::new("other:/master", at(0))).unwrap();
    let others = Identities { schedulers: Vec::new(), ..identities() };
    let restored = store.restore(others, at(600)).await.unwrap();
    assert_ne!(restored.master.0, 1);
    assert_eq!((restored.interrupted.len(), restored.requests.len()), (0, 0));
    store.commit(vec![Write::MasterActive { at: at(600) }]).await.unwrap();
    assert_eq!(store.build(build).await.unwrap().unwrap().results, None);
    store.commit(vec![Write::MasterActive { at: at(601) }]).await.unwrap();
    assert_eq!(store.build(build).await.unwrap().unwrap().results, Some(Results::Retry));
    assert!(!store.masters().await.unwrap()[0].active);
    assert_eq!(store.request(request).await.unwrap().unwrap().claimed, None);
}

#[tokio::test]
async fn a_master_that_another_cleaned_up_after_starts_again() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    // As another does whose clock is ten minutes ahead.
    place::sql(directory.path(), "UPDATE masters SET active = 0");
    let error = farm.store.commit(vec![Write::MasterActive { at: at(60) }]).await.unwrap_err();
    assert!(error.to_string().contains("another master has cleaned up after this one"), "{error}");
    farm.store.close().await;
    let farm = Farm::open(directory.path()).await;
    farm.store.commit(vec![Write::MasterActive { at: at(60) }]).await.unwrap();
    assert!(farm.store.masters().await.unwrap()[0].active);
}

#[tokio::test]
async fn a_master_that_was_moved_takes_up_its_own_work_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let (_, request) = farm.request("linux").await;
    let build = farm.build(request, "linux", 1).await;
    let ttl = std::time::Duration::from_secs(600);
    assert_eq!(farm.store.lease("machines", at(0), ttl).await.unwrap(), Lease::Ours(1));
    // As after a crash, and then the directory was moved, or the host got another name.
    farm.store.close().await;

    for (before, name) in (1..).zip(["host:/srv/elsewhere", "other:/srv/elsewhere", "host:/srv/ganger"]) {
        let options = Options::new(name, at(30));
        // It does not matter that a start got no further than this.
        Store::open(location(directory.path()), options.clone()).unwrap().close().await;
        let store = Store::open(location(directory.path()), options).unwrap();
        let restored = store.restore(identities(), at(31)).await.unwrap();
        assert_eq!(restored.requests.iter().map(|row| row.id).collect::<Vec<_>>(), [request], "{name}");
        assert_eq!(store.build(build).await.unwrap().unwrap().results, Some(Results::Retry));
        for (scheduler, (id, _)) in restored.schedulers {
            store.commit(vec![Write::Scheduler { id, name: scheduler }]).await.unwrap();
        }
        assert_eq!(store.lease("machines", at(32), ttl).await.unwrap(), Lease::Ours(before + 1), "{name}");
        store.close().await;
    }
}

#[tokio::test]
async fn a_scheduler_of_a_living_master_is_refused_with_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    farm.store.close().await;
    // The last to have it was not a Ganger.
    place::forget_last_master(directory.path());
    let options = Options::new("host:/srv/elsewhere", at(30));
    let store = Store::open(location(directory.path()), options).unwrap();
    let error = store.restore(identities(), at(30)).await.unwrap_err().to_string();
    assert!(error.contains("host:/srv/ganger") && error.contains("alive 30 s ago"), "{error}");
}
