//! Masters, builders, workers and schedulers.

use serde_json::json;
use storage::{StorageError, Write};

use crate::farm::{Farm, at};

#[tokio::test]
async fn builders_have_their_description_tags_and_masters() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let (store, id) = (&farm.store, farm.builder("linux"));
    let builder = |description: Option<&str>, tags: &[&str]| Write::Builder {
        id,
        name: "linux".into(),
        description: description.map(str::to_owned),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
    };
    store.commit(vec![builder(Some("old"), &["b", "x"])]).await.unwrap();
    store.commit(vec![builder(Some("a *builder*"), &["b", "a", "a"])]).await.unwrap();
    let row = store.builder(id).await.unwrap().unwrap();
    assert_eq!((row.name.as_str(), row.description.as_deref()), ("linux", Some("a *builder*")));
    assert_eq!(
        (&row.tags[..], &row.masters[..]),
        (&["b".to_owned(), "a".to_owned()][..], &[store.master()][..])
    );
    assert_eq!(store.builders().await.unwrap().iter().find(|row| row.id == id), Some(&row));
    store.commit(vec![Write::BuilderGone { builder: id }]).await.unwrap();
    assert_eq!(store.builder(id).await.unwrap().unwrap().masters, []);

    // A new name takes a new id; an old name keeps its own.
    let new = store.ids().next_builder();
    let mac = Write::Builder { id: new, name: "mac".into(), description: None, tags: vec![] };
    store.commit(vec![mac]).await.unwrap();
    assert_eq!(store.builder(new).await.unwrap().unwrap().name, "mac");
    let clash = Write::Builder {
        id: store.ids().next_builder(),
        name: "mac".into(),
        description: None,
        tags: vec![],
    };
    let error = store.commit(vec![clash]).await.unwrap_err();
    assert!(
        matches!(&error, StorageError::Rejected { reason, .. } if reason.contains("has the id 3")),
        "{error:?}"
    );
}

#[tokio::test]
async fn workers_are_configured_connected_and_paused() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let (store, worker) = (&farm.store, farm.worker("w2"));
    let (linux, world) = (farm.builder("linux"), farm.builder("wörld"));
    let info = json!({"admin": null, "host": "hé", "access_uri": null, "version": "4.3.0"});
    let writes = vec![
        Write::ConfiguredWorker { worker, builders: vec![linux, world] },
        Write::WorkerConnected { worker, info: info.clone() },
        Write::WorkerConnected { worker, info: info.clone() },
        Write::WorkerState { worker, paused: true, pause_reason: Some("disk".into()), graceful: true },
    ];
    store.commit(writes).await.unwrap();
    let row = store.worker(worker).await.unwrap().unwrap();
    assert_eq!((row.name.as_str(), &row.info), ("w2", &info));
    assert_eq!((row.paused, row.pause_reason.as_deref(), row.graceful), (true, Some("disk"), true));
    assert_eq!(row.configured_on, [(store.master(), linux), (store.master(), world)]);
    assert_eq!(row.connected_to, [store.master()]);
    assert_eq!(store.workers().await.unwrap()[1], row);
    let writes = vec![
        Write::ConfiguredWorker { worker, builders: vec![world] },
        Write::WorkerDisconnected { worker },
        Write::WorkerState { worker, paused: false, pause_reason: None, graceful: false },
    ];
    store.commit(writes).await.unwrap();
    let row = store.worker(worker).await.unwrap().unwrap();
    assert_eq!((row.paused, row.pause_reason, row.graceful), (false, None, false));
    assert_eq!((row.configured_on, row.connected_to), (vec![(store.master(), world)], vec![]));
    let id = store.ids().next_worker();
    store.commit(vec![Write::Worker { id, name: "w3".into() }]).await.unwrap();
    assert_eq!(store.worker(id).await.unwrap().unwrap().info, json!({}));
    store.commit(vec![Write::BuilderGone { builder: world }]).await.unwrap();
    assert_eq!(store.worker(worker).await.unwrap().unwrap().configured_on, []);
    let stray = Write::ConfiguredWorker { worker, builders: vec![world] };
    assert!(matches!(store.commit(vec![stray]).await, Err(StorageError::Rejected { .. })));
}

#[tokio::test]
async fn schedulers_belong_to_a_master_and_can_be_switched_off() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let store = &farm.store;
    let (id, enabled) = farm.restored.schedulers["nightly"];
    assert!(enabled);
    store.commit(vec![Write::SchedulerEnabled { scheduler: id, enabled: false }]).await.unwrap();
    let row = store.schedulers().await.unwrap().remove(1);
    assert_eq!(
        (row.id, row.name.as_str(), row.enabled, row.master),
        (id, "nightly", false, Some(store.master()))
    );
    store.commit(vec![Write::SchedulerGone { scheduler: id }]).await.unwrap();
    assert_eq!(store.schedulers().await.unwrap()[1].master, None);
    store.commit(vec![Write::Scheduler { id, name: "nightly".into() }]).await.unwrap();
    assert_eq!(store.schedulers().await.unwrap()[1].master, Some(store.master()));
}

#[tokio::test]
async fn the_master_shows_signs_of_life_until_it_stops() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let store = &farm.store;
    store.commit(vec![Write::MasterActive { at: at(60) }]).await.unwrap();
    let row = store.masters().await.unwrap().remove(0);
    assert_eq!((row.name.as_str(), row.active, row.last_active), ("host:/srv/ganger", true, at(60)));
    store.commit(vec![Write::MasterStopped { at: at(70) }]).await.unwrap();
    assert!(!store.masters().await.unwrap()[0].active);
    assert_eq!(store.builders().await.unwrap()[0].masters, []);
    assert_eq!(store.schedulers().await.unwrap()[0].master, None);
}
