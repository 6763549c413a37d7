//! How machines stop and end, and what is done about those that ended by themselves.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    clock,
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

impl Inner {
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
