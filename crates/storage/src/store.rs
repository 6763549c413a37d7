//! The handle to a database.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use model::{MasterId, Time};
use tokio::sync::{Semaphore, oneshot};

use crate::{
    apply::{Tables, pools},
    database::Connection,
    error::{ApplyError, OpenError, StorageError},
    ids::Ids,
    open::{self, Location, Opened, Options},
    pools::Lease,
    readers::Readers,
    restore::{self, Identities, Restored},
    write::Write,
    writer::{Call, Job, Queue, Work, Writer},
};

/// A database that is open as one master's. Clones are cheap and share it.
///
/// When the last clone is dropped, what was queued is still written; [`close`](Self::close) waits for that.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    queue: Arc<Queue>,
    /// A permit for each KiB that waits.
    room: Arc<Semaphore>,
    capacity: u32,
    readers: Arc<Readers>,
    ids: Arc<Ids>,
    master: MasterId,
    deployment: String,
    ticket_key: [u8; 32],
    done: Mutex<Option<oneshot::Receiver<()>>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("master", &self.0.master).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
        self.readers.close();
    }
}

impl Store {
    /// Opens a database of Buildbot 4.3, or makes one where there is nothing. Blocks while it does.
    ///
    /// Nobody else may have it open as a master's. Beside a file, another one with `.lock` added to its name is locked;
    /// files that are made are for their owner only; the modes of those that are there stay. On a server, an advisory lock is
    /// held as long as there is a connection.
    ///
    /// What is not yet known to be durable when a connection is lost is written again over the next one, unless it turns out
    /// to be there.
    ///
    /// # Errors
    ///
    /// When another master has it, its schema is another version's, or the file cannot be used.
    pub fn open(database: impl Into<Location>, options: Options) -> Result<Self, OpenError> {
        let location = database.into();
        Self::start(open::open(&location, &options)?, location, &options)
    }

    /// Starts the threads of an open database.
    pub(crate) fn start(opened: Opened, location: Location, options: &Options) -> Result<Self, OpenError> {
        let Opened { connection, serial, lock, master, deployment, ticket_key, ids } = opened;
        let (queue, ids) = (Arc::new(Queue::default()), Arc::new(ids));
        let (finished, done) = oneshot::channel();
        let writer = Writer {
            connection,
            serial,
            master,
            ids: Arc::clone(&ids),
            queue: Arc::clone(&queue),
            linger: options.linger,
            patience: options.patience,
        };
        writer.start(lock, finished).map_err(|cause| OpenError::System {
            what: "start a thread that writes to",
            path: location.to_string().into(),
            cause,
        })?;
        let capacity = u32::try_from(options.queue_bytes / 1024).unwrap_or(u32::MAX).clamp(1, u32::MAX >> 4);
        Ok(Self(Arc::new(Inner {
            queue,
            room: Arc::new(Semaphore::new(capacity as usize)),
            capacity,
            readers: Arc::new(Readers::new(location, options.readers)),
            ids,
            master,
            deployment,
            ticket_key,
            done: Mutex::new(Some(done)),
        })))
    }

    /// Ids for new rows.
    pub fn ids(&self) -> &Ids {
        &self.0.ids
    }

    /// The row of this master.
    pub fn master(&self) -> MasterId {
        self.0.master
    }

    /// What names this installation to providers of machines, for ever: 32 hexadecimal digits, made up at random when the
    /// database was opened for the first time. A copy of the database has the same name.
    pub fn deployment(&self) -> &str {
        &self.0.deployment
    }

    /// What tickets of calls are made with: random, secret, and the same as long as there is this database.
    pub fn ticket_key(&self) -> &[u8; 32] {
        &self.0.ticket_key
    }

    /// Why nothing can be written any more, if that is so: the database failed, or the store was closed.
    pub fn failure(&self) -> Option<StorageError> {
        self.0.queue.failure()
    }

    /// Queues writes, to be durable soon. They are applied all or none, after all that was queued before. Waits while
    /// too much is queued: writes of one task stay in their order.
    ///
    /// A write that the database refuses is logged; only [`commit`](Self::commit) and [`enqueue`](Self::enqueue) tell.
    ///
    /// # Errors
    ///
    /// When nothing can be written any more.
    ///
    /// # Cancel safety
    ///
    /// Either queued or not; nothing is queued when it is dropped before it is ready.
    pub async fn submit(&self, writes: Vec<Write>) -> Result<(), StorageError> {
        let weight = weigh(&writes);
        let room = self.room_for(weight).await?;
        self.0.queue.push(Job { work: Work::Writes(writes), weight, reply: None, room: Some(room) })
    }

    /// Queues writes like [`submit`](Self::submit), and waits until they and all that was queued before are durable.
    ///
    /// # Errors
    ///
    /// When the database refuses one of them, or nothing can be written any more. Then none of them is written.
    ///
    /// # Cancel safety
    ///
    /// Once it has queued them, they are written even when it is dropped.
    pub async fn commit(&self, writes: Vec<Write>) -> Result<(), StorageError> {
        let weight = weigh(&writes);
        let room = self.room_for(weight).await?;
        self.queue(Work::Writes(writes), weight, Some(room)).await
    }

    /// Queues writes at once, however much is queued, and gives back what [`commit`](Self::commit) would wait for. For
    /// the one owner of the truth, which must not wait, and bounds by its own means how much it has under way.
    pub fn enqueue(&self, writes: Vec<Write>) -> Committed {
        let weight = weigh(&writes);
        self.queue(Work::Writes(writes), weight, None)
    }

    /// Prepares the database for this master's start, and tells what it has to know.
    ///
    /// Builds that this master left open are closed as Buildbot closes them: results RETRY for the build and its open
    /// steps, open logs complete with the lines they have, the requests free to be taken again. So are those of other
    /// masters that have been silent for ten minutes, and of the one that had the database's lock before this one. All of
    /// it is one transaction; doing it again changes nothing.
    /// Builders, workers and schedulers that are new to the database get their rows; those that are not named lose their
    /// tie to this master.
    ///
    /// # Errors
    ///
    /// When the database cannot be written or holds what no Buildbot writes, or when a master that may still be alive
    /// runs one of the schedulers.
    pub async fn restore(&self, identities: Identities, at: Time) -> Result<Restored, StorageError> {
        let ids = Arc::clone(&self.0.ids);
        let restore =
            move |connection: &_, master| restore::restore(connection, master, &ids, &identities, at);
        self.call("what a master finds at its start", restore).await
    }

    /// Writes what is queued, and closes the database. Later uses of any clone fail.
    pub async fn close(&self) {
        self.0.queue.close();
        self.0.readers.close();
        let done = self.0.done.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(done) = done {
            // It only ever ends by being dropped.
            done.await.ok();
        }
    }

    /// Takes a pool for this master: when nobody has it, when the lease of who had it has ended, and when it is this
    /// master's own from an earlier start. From then on, writes about the pool under any earlier lease are refused.
    ///
    /// # Errors
    ///
    /// When the database cannot be written.
    pub async fn lease(&self, pool: &str, at: Time, ttl: Duration) -> Result<Lease, StorageError> {
        let pool = pool.to_owned();
        let take = move |connection: &_, master| pools::lease(&Tables { connection, master }, &pool, at, ttl);
        self.call("lease of a pool", take).await
    }

    /// Makes a lease last until `ttl` from now. `false` when the pool is no longer this master's under that number: then it
    /// must be left alone.
    ///
    /// # Errors
    ///
    /// When the database cannot be written.
    pub async fn renew_lease(
        &self,
        pool: &str,
        fence: u64,
        at: Time,
        ttl: Duration,
    ) -> Result<bool, StorageError> {
        let pool = pool.to_owned();
        let renew =
            move |connection: &_, master| pools::renew(&Tables { connection, master }, &pool, fence, at, ttl);
        self.call("renewal of the lease of a pool", renew).await
    }

    /// Gives a pool back, for another master to take at once. Nothing happens when it is no longer this master's.
    ///
    /// # Errors
    ///
    /// When the database cannot be written.
    pub async fn release_lease(&self, pool: &str, fence: u64) -> Result<(), StorageError> {
        let pool = pool.to_owned();
        let release =
            move |connection: &_, master| pools::release(&Tables { connection, master }, &pool, fence);
        self.call("return of a pool", release).await
    }

    pub(crate) fn readers(&self) -> &Arc<Readers> {
        &self.0.readers
    }

    async fn room_for(&self, weight: usize) -> Result<tokio::sync::OwnedSemaphorePermit, StorageError> {
        let permits = u32::try_from(weight / 1024 + 1).unwrap_or(u32::MAX).min(self.0.capacity);
        Arc::clone(&self.0.room).acquire_many_owned(permits).await.map_err(|_| StorageError::Closed)
    }

    fn queue(&self, work: Work, weight: usize, room: Option<tokio::sync::OwnedSemaphorePermit>) -> Committed {
        let (reply, committed) = oneshot::channel();
        // A refusal goes to `reply` as well.
        self.0.queue.push(Job { work, weight, reply: Some(reply), room }).ok();
        Committed(committed)
    }

    /// Does something in a transaction of its own; again, when that could not be committed.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        what: &'static str,
        mut call: impl FnMut(&Connection, MasterId) -> Result<T, ApplyError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let answer = Arc::new(Mutex::new(None));
        let place = Arc::clone(&answer);
        let call: Call = Box::new(move |connection, master| {
            let result = call(connection, master)?;
            place.lock().unwrap_or_else(PoisonError::into_inner).replace(result);
            Ok(())
        });
        self.queue(Work::Call(what, call), 0, None).await?;
        let result = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        result.ok_or(StorageError::Closed)
    }
}

fn weigh(writes: &[Write]) -> usize {
    writes.iter().map(Write::weight).sum()
}

/// Ready when the writes of [`Store::enqueue`] are durable, or will never be. It may be dropped: they are written all the
/// same, and a refusal is then logged.
#[derive(Debug)]
pub struct Committed(oneshot::Receiver<Result<(), StorageError>>);

impl Future for Committed {
    type Output = Result<(), StorageError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(Pin::new(&mut self.0).poll(context)).unwrap_or(Err(StorageError::Closed)))
    }
}
