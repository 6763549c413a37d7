//! How machines stop and end, and what is done about those that ended by themselves.

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    Local, Settings, clock,
    provider::Inner,
    record::{Intent, Record},
    yard::Name,
};

/// How often to look whether a process has gone.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long the kernel may take over a process that it was told to kill.
const KILL_WITHIN: Duration = Duration::from_secs(10);

/// How long the files of a machine that ended by itself are kept, for people.
const FILES_KEPT: Duration = Duration::from_mins(10);

/// How long records of machines that are gone are kept: a call that is repeated must not start them again.
const RECORD_KEPT: Duration = Duration::from_hours(1);

/// A machine that is being stopped or ended. One at a time does so for each.
struct Busy {
    inner: Arc<Inner>,
    name: Name,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.inner.busy().remove(&self.name);
    }
}

/// Ends all machines in a directory, whatever pool and installation they belong to, and removes what they leave: for
/// whoever owns the directory and has no use for any of them. How many there were.
///
/// # Errors
/// A machine does not end, or its files cannot be removed. The others are gone.
pub async fn end_all(directory: &Path) -> io::Result<usize> {
    if !directory.try_exists()? {
        return Ok(0);
    }
    let mut settings = Settings::new("", "", "127.0.0.1:9", directory.to_owned());
    // Nothing is started.
    settings.program = "sh".into();
    let inner = Local::open(settings).map_err(io::Error::other)?.into_inner();
    let names = inner.blocking(|inner| inner.yard.names()).await?;
    let (count, mut failed) = (names.len(), None);
    let mut tasks = Vec::new();
    for name in names {
        let marked = inner.blocking({
            let name = name.clone();
            move |inner| inner.condemn(&name)
        });
        match marked.await {
            Ok(()) => tasks.push((name.clone(), inner.carry_out(name))),
            Err(error) => failed = Some(error),
        }
    }
    for (name, task) in tasks {
        let ended = match task {
            Some(task) => task.await.map_err(io::Error::other).flatten(),
            None => Ok(()),
        };
        match ended {
            Ok(()) => inner.blocking(move |inner| inner.yard.forget(&name)).await?,
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(count), Err)
}

impl Inner {
    /// Writes down that a machine is to end, whoever it belongs to. Blocks.
    fn condemn(&self, name: &Name) -> io::Result<()> {
        let _changing = self.yard.changing()?;
        if let Some(mut record) = self.yard.read(name)? {
            record.intent = Intent::End;
            self.yard.write(name, &record)?;
        }
        Ok(())
    }

    /// Stops or ends a machine as its record says, in a task of its own that outlives whoever waits for it. `None` when one
    /// does so already.
    pub(crate) fn carry_out(self: &Arc<Self>, name: Name) -> Option<JoinHandle<io::Result<()>>> {
        if !self.busy().insert(name.clone()) {
            return None;
        }
        let busy = Busy { inner: Arc::clone(self), name };
        Some(tokio::spawn(async move {
            let (inner, name) = (&busy.inner, &busy.name);
            let result = inner.quieten(name).await;
            if let Err(error) = &result {
                tracing::warn!(machine = name.as_str(), %error, "a machine could not be ended; it is tried again");
            }
            result
        }))
    }

    /// Ends the process, then removes what it leaves.
    async fn quieten(self: &Arc<Self>, name: &Name) -> io::Result<()> {
        if !self.signal_and_wait(name, Signal::TERM, self.settings.grace).await?
            && !self.signal_and_wait(name, Signal::KILL, KILL_WITHIN).await?
        {
            return Err(io::Error::other("its process does not die"));
        }
        self.blocking({
            let name = name.clone();
            move |inner| inner.clear(&name)
        })
        .await
    }

    /// Whether it is gone within the time.
    async fn signal_and_wait(
        self: &Arc<Self>,
        name: &Name,
        signal: Signal,
        within: Duration,
    ) -> io::Result<bool> {
        let boot = self
            .blocking({
                let name = name.clone();
                move |inner| {
                    // It may have been started again meanwhile.
                    let record = inner.yard.read(&name)?.filter(|record| record.intent != Intent::Run);
                    let boot = record.and_then(|record| record.boot);
                    if let Some(boot) = &boot {
                        boot.signal(inner.starter.host(), signal);
                    }
                    Ok(boot)
                }
            })
            .await?;
        let Some(boot) = boot else { return Ok(true) };
        let until = Instant::now() + within;
        // Reading /proc does not wait for a disk.
        while boot.is_alive(self.starter.host()) {
            if Instant::now() > until {
                return Ok(false);
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(true)
    }

    /// Clears up after a process that is gone, as its record says. Blocks.
    fn clear(&self, name: &Name) -> io::Result<()> {
        let record = self.yard.read(name)?.filter(|record| record.intent != Intent::Run);
        let Some(record) = record else { return Ok(()) };
        self.sweep(name, &record);
        // A machine that was stopped may have been told to end since.
        let changing = self.yard.changing()?;
        let record = self.yard.read(name)?.filter(|record| record.intent == Intent::End);
        drop(changing);
        if let Some(mut record) = record {
            self.yard.remove_files(name)?;
            let _changing = self.yard.changing()?;
            record.ended_at.get_or_insert_with(clock::now);
            self.yard.write(name, &record)?;
        }
        Ok(())
    }

    fn sweep(&self, name: &Name, record: &Record) {
        if let Some(boot) = &record.boot {
            boot.sweep(self.starter.host());
        }
        if let Some(cgroup) = &self.settings.cgroup {
            cgroup.leave(name.as_str());
        }
    }

    /// The process of a machine is gone: if nobody meant it to go, that was its end. Blocks.
    pub(crate) fn look_after(&self, name: &Name) -> io::Result<()> {
        let ended = {
            // A launch that is under way holds the lock until there is a process.
            let _changing = self.yard.changing()?;
            let record = self.yard.read(name)?.filter(|record| record.intent == Intent::Run);
            let Some(mut record) =
                record.filter(|record| record.ended_at.is_none() && !self.is_alive(record))
            else {
                return Ok(());
            };
            record.ended_at = Some(clock::now());
            self.yard.write(name, &record)?;
            record
        };
        self.sweep(name, &ended);
        Ok(())
    }

    /// Forgets what is long gone. Blocks.
    pub(crate) fn tidy(&self, name: &Name, record: &Record) -> io::Result<()> {
        let Some(ended_at) = record.ended_at else { return Ok(()) };
        let since = clock::now().since(ended_at);
        if since > FILES_KEPT && self.yard.has_files(name) {
            self.yard.remove_files(name)?;
        }
        if since > RECORD_KEPT {
            self.yard.forget(name)?;
        }
        Ok(())
    }

    pub(crate) fn is_alive(&self, record: &Record) -> bool {
        record.boot.as_ref().is_some_and(|boot| boot.is_alive(self.starter.host()))
    }
}
