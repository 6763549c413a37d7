//! The writer: one thread that owns the connection and commits in groups.
//!
//! While one commit waits for the disk, the next group gathers, so that the number of commits follows the speed of the
//! disk and not the number of writes.

use std::{
    collections::VecDeque,
    convert::identity,
    fs::File,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use model::MasterId;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{
    apply,
    database::{Connection, Error},
    error::{ApplyError, Cause, StorageError},
    ids::Ids,
    write::Write,
};

/// How much goes into one transaction at most: a bound for how long others wait for it.
const MAX_GROUP_BYTES: usize = 8 << 20;
/// Writes that nobody waits for are committed at once when there are so many bytes of them.
const ENOUGH_BYTES: usize = 1 << 20;
/// Time between attempts on a full or locked database.
const RETRY_AFTER: Duration = Duration::from_millis(200);

pub(crate) type Reply = oneshot::Sender<Result<(), StorageError>>;
pub(crate) type Call = Box<dyn FnMut(&Connection, MasterId) -> Result<(), ApplyError> + Send>;

/// What is to be done.
pub(crate) enum Work {
    /// Writes, all or none.
    Writes(Vec<Write>),
    /// Something larger, in a transaction of its own, and what it is.
    Call(&'static str, Call),
}

/// Something to be done, and who wants to know.
pub(crate) struct Job {
    pub(crate) work: Work,
    pub(crate) weight: usize,
    /// `None` when nobody waits for it.
    pub(crate) reply: Option<Reply>,
    /// Its place in the queue, given back when it is done.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// Jobs on their way to the writer.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    weight: usize,
    /// How many of the jobs somebody waits for.
    awaited: usize,
    /// No more jobs come.
    closed: bool,
    /// Why nothing can be written any more.
    failed: Option<StorageError>,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every section below leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job at the end; answers it at once when nothing can be written any more.
    pub(crate) fn push(&self, job: Job) -> Result<(), StorageError> {
        let mut state = self.state();
        if let Some(error) = state.refusal() {
            drop(state);
            job.answer(Err(error.clone()));
            return Err(error);
        }
        state.weight += job.weight;
        state.awaited += usize::from(job.reply.is_some());
        let first = state.jobs.is_empty();
        let wakes = first || job.reply.is_some() || state.weight >= ENOUGH_BYTES;
        state.jobs.push_back(job);
        drop(state);
        if wakes {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Lets the writer end once it has done what is there.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.wake.notify_all();
    }

    /// Why nothing can be written any more, if so.
    pub(crate) fn failure(&self) -> Option<StorageError> {
        self.state().failed.clone()
    }

    /// Waits for jobs and takes a group of them; `None` when it is closed and empty.
    fn next_group(&self, linger: Duration) -> Option<Vec<Job>> {
        let mut state = self
            .wake
            .wait_while(self.state(), |state| state.jobs.is_empty() && !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        if state.jobs.is_empty() {
            return None;
        }
        let may_wait = |state: &mut State| state.awaited == 0 && state.weight < ENOUGH_BYTES && !state.closed;
        if may_wait(&mut state) {
            let waited = self.wake.wait_timeout_while(state, linger, may_wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut group = Vec::with_capacity(state.jobs.len().min(1024));
        let mut weight = 0;
        while let Some(job) = state.jobs.front() {
            let alone = matches!(job.work, Work::Call(..));
            if !group.is_empty() && (alone || weight + job.weight > MAX_GROUP_BYTES) {
                break;
            }
            weight += job.weight;
            group.extend(state.jobs.pop_front());
            if alone {
                break;
            }
        }
        state.weight -= weight;
        state.awaited -= group.iter().filter(|job| job.reply.is_some()).count();
        Some(group)
    }

    /// Answers all that wait, now and later, with `error`.
    fn fail(&self, error: &StorageError) {
        let mut state = self.state();
        state.failed.get_or_insert_with(|| error.clone());
        let jobs = std::mem::take(&mut state.jobs);
        (state.weight, state.awaited) = (0, 0);
        drop(state);
        for job in jobs {
            job.answer(Err(error.clone()));
        }
    }
}

impl State {
    fn refusal(&self) -> Option<StorageError> {
        self.failed.clone().or_else(|| self.closed.then_some(StorageError::Closed))
    }
}

impl Job {
    fn answer(self, result: Result<(), StorageError>) {
        drop(self.room);
        let result = match self.reply {
            None => result,
            Some(reply) => match reply.send(result) {
                Ok(()) => return,
                Err(unheard) => unheard,
            },
        };
        if let Err(error @ (StorageError::Rejected { .. } | StorageError::Fenced { .. })) = result {
            tracing::error!(%error, "the database refused a write that nobody waits for");
        }
    }
}

/// The one that writes, before it has its thread.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    /// The serial of the last transaction.
    pub(crate) serial: i64,
    pub(crate) master: MasterId,
    pub(crate) ids: Arc<Ids>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) linger: Duration,
    pub(crate) patience: Duration,
}

impl Drop for Writer {
    /// Nobody waits for a writer that is gone, whatever ended it.
    fn drop(&mut self) {
        self.queue.fail(&StorageError::Closed);
    }
}

/// What is to become of a transaction.
enum Outcome<T> {
    Commit(T),
    Abandon(T),
}

impl Writer {
    /// Starts it. It ends when its queue is closed; `done` is dropped once the database is closed.
    pub(crate) fn start(self, lock: Option<File>, done: oneshot::Sender<()>) -> std::io::Result<()> {
        thread::Builder::new().name("storage-writer".to_owned()).spawn(move || {
            self.run();
            drop(lock);
            drop(done);
        })?;
        Ok(())
    }

    fn run(mut self) {
        while let Some(group) = self.queue.next_group(self.linger) {
            if let Err(error) = self.write(group) {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the database cannot be written any more"
                );
                self.queue.fail(&error);
            }
        }
        if let Err(error) = self.connection.finish(&self.ids) {
            tracing::warn!(%error, "the database was not left as another master would like to find it");
        }
    }

    /// Writes a group and answers it. An error is the end of all writing.
    fn write(&mut self, mut group: Vec<Job>) -> Result<(), StorageError> {
        if let [Job { work: Work::Call(..), .. }] = &group[..] {
            return group.pop().map_or(Ok(()), |job| self.call(job));
        }
        match self.group(&group) {
            Ok(results) => {
                for (job, result) in group.into_iter().zip(results) {
                    job.answer(result);
                }
                Ok(())
            }
            Err(error) => {
                let error = StorageError::WriteFailed(Cause::new(error));
                for job in group {
                    job.answer(Err(error.clone()));
                }
                Err(error)
            }
        }
    }

    /// Does something in a transaction until that is committed or hopeless.
    fn transaction<T>(
        &mut self,
        mut work: impl FnMut(&Connection, MasterId) -> Result<Outcome<T>, Error>,
    ) -> Result<T, Error> {
        let started = Instant::now();
        let mut told = false;
        // Of the last attempt to commit, whose answer may have been lost with the connection.
        let mut unheard = None;
        loop {
            let was_lost = self.connection.is_lost();
            match self.attempt(&mut work, &mut unheard) {
                Err(error)
                    if error.may_pass()
                        && (self.is_patient(started) || !was_lost && self.has_lost(&error)) =>
                {
                    if !told {
                        tracing::error!(%error, "the database cannot be written; trying again");
                        told = true;
                    }
                    thread::sleep(RETRY_AFTER);
                }
                Ok(done) => {
                    if told {
                        tracing::info!("the database can be written again");
                    }
                    return Ok(done);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn is_patient(&self, started: Instant) -> bool {
        started.elapsed() < self.patience && !self.queue.state().closed
    }

    /// Whether an attempt has found out that the connection is gone. Nobody has tried another one yet, and so much is done
    /// for what was submitted even when the master ends.
    fn has_lost(&self, error: &Error) -> bool {
        self.connection.is_lost() || error.ends_the_session()
    }

    fn attempt<T>(
        &mut self,
        work: &mut impl FnMut(&Connection, MasterId) -> Result<Outcome<T>, Error>,
        unheard: &mut Option<T>,
    ) -> Result<T, Error> {
        if self.connection.is_lost() {
            let last = self.connection.reconnect()?;
            if let Some(done) = unheard.take().filter(|_| last == self.serial) {
                return Ok(done);
            }
        }
        // A connection that was lost unnoticed is found out here, where nothing is in doubt.
        self.connection.reserve(&self.ids)?;
        let transaction = self.connection.begin()?;
        match work(&transaction, self.master)? {
            Outcome::Abandon(answer) => Ok(answer),
            Outcome::Commit(answer) => {
                self.serial += 1;
                transaction.mark(self.serial)?;
                match transaction.commit() {
                    Ok(()) => Ok(answer),
                    Err(error) => {
                        *unheard = Some(answer);
                        Err(error)
                    }
                }
            }
        }
    }

    /// Writes a group in one transaction. What only one job did wrong is in its result; an error is everybody's, and
    /// then nothing was written.
    fn group(&mut self, group: &[Job]) -> Result<Vec<Result<(), StorageError>>, Error> {
        // Almost always all is well, and then savepoints would only cost.
        match self.transaction(|connection, master| apply_group(connection, master, group, false))? {
            Some(results) => Ok(results),
            None => {
                let results =
                    self.transaction(|connection, master| apply_group(connection, master, group, true))?;
                Ok(results.unwrap_or_default())
            }
        }
    }

    fn call(&mut self, job: Job) -> Result<(), StorageError> {
        let Job { work: Work::Call(what, mut call), reply, room, .. } = job else { return Ok(()) };
        let result = self.transaction(|connection, master| match call(connection, master) {
            Ok(()) => Ok(Outcome::Commit(Ok(()))),
            Err(ApplyError::Sql(error)) => Err(error),
            Err(refused) => Ok(Outcome::Abandon(Err(refused.rejection(what.to_owned())))),
        });
        let result = result.map_err(|error| StorageError::WriteFailed(Cause::new(error))).and_then(identity);
        let fatal = match &result {
            Err(error @ StorageError::WriteFailed(_)) => Err(error.clone()),
            _ => Ok(()),
        };
        Job { work: Work::Writes(Vec::new()), weight: 0, reply, room }.answer(result);
        fatal
    }
}

/// The results of the jobs of a group; `None` when a job failed and there are no savepoints to go on from.
type GroupResults = Option<Vec<Result<(), StorageError>>>;

fn apply_group(
    connection: &Connection,
    master: MasterId,
    group: &[Job],
    savepoints: bool,
) -> Result<Outcome<GroupResults>, Error> {
    let mut results = Vec::with_capacity(group.len());
    for job in group {
        let Work::Writes(writes) = &job.work else { continue };
        if savepoints {
            connection.batch("SAVEPOINT job")?;
        }
        let result = apply_all(connection, master, writes);
        results.push(match result {
            Ok(()) => {
                if savepoints {
                    connection.batch("RELEASE SAVEPOINT job")?;
                }
                Ok(())
            }
            Err((_, ApplyError::Sql(error))) if !error.is_the_writes_own() => return Err(error),
            Err(_) if !savepoints => return Ok(Outcome::Abandon(None)),
            Err((write, error)) => {
                connection.batch("ROLLBACK TO SAVEPOINT job; RELEASE SAVEPOINT job")?;
                Err(error.rejection(write.to_string()))
            }
        });
    }
    Ok(Outcome::Commit(Some(results)))
}

fn apply_all<'a>(
    connection: &Connection,
    master: MasterId,
    writes: &'a [Write],
) -> Result<(), (&'a Write, ApplyError)> {
    writes
        .iter()
        .try_for_each(|write| apply::apply(connection, master, write).map_err(|error| (write, error)))
}
