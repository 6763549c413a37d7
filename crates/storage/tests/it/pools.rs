//! Machines that are gone do not pile up for ever.

use std::time::Duration;

use model::{InstanceId, Json, Time, pool::Money};
use storage::{InstanceFilter, InstanceRow, Write};

use crate::farm::{Farm, at};

const DAY: i64 = 86_400;

fn gone(id: i64, pool: &str, ended_at: Time, fence: u64) -> Write {
    Write::Instance(Box::new(InstanceRow {
        id: InstanceId(id),
        pool: pool.to_owned(),
        slot: 1,
        state: InstanceRow::GONE.to_owned(),
        token: "token".to_owned(),
        offering: "a/large".to_owned(),
        provider_id: None,
        price: Money(0),
        planned_at: ended_at,
        connected_at: None,
        ended_at: Some(ended_at),
        end_code: None,
        cost: None,
        data: Json::Null,
        fence,
    }))
}

#[tokio::test]
async fn machines_of_months_ago_go_a_few_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let farm = Farm::open(directory.path()).await;
    let store = &farm.store;
    let fence = |pool: &'static str| async move {
        store.lease(pool, at(0), Duration::from_secs(60)).await.unwrap().fence().unwrap()
    };
    let (busy, quiet) = (fence("busy").await, fence("quiet").await);
    let old: Vec<Write> = (1..=1500).map(|id| gone(id, "busy", at(id), busy)).collect();
    store.commit(old).await.unwrap();
    store.commit((1501..=1600).map(|id| gone(id, "quiet", at(id), quiet)).collect()).await.unwrap();
    let ids = |pool: &'static str| async move {
        let filter =
            InstanceFilter { pool: Some(pool.to_owned()), limit: 10_000, ..InstanceFilter::default() };
        let mut ids: Vec<i64> =
            store.instances(filter).await.unwrap().into_iter().map(|row| row.id.0).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids("busy").await.len(), 1500, "they are of this month");
    let later = |id: i64| at(70 * DAY + id);
    store.commit(vec![gone(1616, "busy", later(1), busy)]).await.unwrap();
    assert_eq!(ids("busy").await.len(), 1501 - 64, "a few at a time");
    for step in 2..=20 {
        store.commit(vec![gone(1600 + 16 * step, "busy", later(step), busy)]).await.unwrap();
    }
    let left = ids("busy").await;
    assert_eq!((left.len(), left.first().copied()), (1000, Some(521)), "the last thousand stay");
    store.commit(vec![gone(1936, "quiet", later(50), quiet)]).await.unwrap();
    assert_eq!(ids("quiet").await.len(), 101);
}
