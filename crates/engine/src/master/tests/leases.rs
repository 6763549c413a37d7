//! Leases that are lost and taken again.

use super::{super::leases::Leases, *};

/// A table of leases that gives out higher and higher numbers.
#[derive(Default)]
struct Numbers {
    last: Mutex<u64>,
    /// Whether nothing can be renewed.
    broken: Mutex<bool>,
}

struct Table(Arc<Numbers>);

impl Ledger for Table {
    fn enqueue(&self, _writes: Vec<Write>) -> Boxed<Result<(), StorageError>> {
        Box::pin(async { Ok(()) })
    }

    fn known(&self, _names: Unknown) -> Boxed<Result<Known, StorageError>> {
        Box::pin(async { Ok(Known::default()) })
    }

    fn lease(&self, _pool: String, _at: Time, _ttl: Duration) -> Boxed<Result<Lease, StorageError>> {
        let table = Arc::clone(&self.0);
        // As in the database: it is taken whether or not anybody hears of it.
        *lock(&table.last) += 1;
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(Lease::Ours(*lock(&table.last)))
        })
    }

    fn renew_lease(
        &self,
        _pool: String,
        fence: u64,
        _at: Time,
        _ttl: Duration,
    ) -> Boxed<Result<bool, StorageError>> {
        let same = *lock(&self.0.last) == fence;
        let broken = *lock(&self.0.broken);
        Box::pin(async move { if broken { Err(StorageError::Closed) } else { Ok(same) } })
    }

    fn release_lease(&self, _pool: String, _fence: u64) -> Boxed<Result<(), StorageError>> {
        Box::pin(async { Ok(()) })
    }
}

fn leases() -> (Leases, Arc<Numbers>) {
    let table = Arc::new(Numbers { last: Mutex::new(1), ..Numbers::default() });
    let clock = Arc::new(TestClock::starting_at(START));
    (Leases::new(Arc::new(Table(Arc::clone(&table))), clock), table)
}

async fn next(leases: &mut Leases) -> Option<u64> {
    match tokio::time::timeout(Duration::from_secs(600), leases.next()).await {
        Ok(::pools::Event::Lease { fence, .. }) => fence,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_just_being_taken_is_not_taken_twice() {
    let (mut leases, table) = leases();
    leases.keep("linux".to_owned(), Some(1));
    *lock(&table.broken) = true;
    assert_eq!(next(&mut leases).await, None, "it has run out");
    *lock(&table.broken) = false;
    // Rows under the old number are refused when the new one is on its way.
    until_paused(|| *lock(&table.last) == 2).await;
    leases.lost("linux", 1);
    assert_eq!(
        next(&mut leases).await,
        Some(2),
        "a number more would look as if another master had had the pool"
    );
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(*lock(&table.last), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_lost_is_asked_for_at_once() {
    let (mut leases, table) = leases();
    leases.keep("linux".to_owned(), Some(1));
    tokio::time::sleep(Duration::from_secs(5)).await;
    leases.lost("linux", 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(next(&mut leases).await, Some(2));
    assert_eq!(*lock(&table.last), 2);
}

/// Waits, in small steps of paused time.
async fn until_paused(so: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("waited too long");
}
