//! The provider.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pools::{
    Capabilities, Offering, Provider, ProviderError, Token,
    metadata::{self, Document},
    provider::{Answer, ApiBudget, ErrorKind, LaunchRequest, Launched, Look, Machine, MachineStatus, Member},
};
use tokio::process::Child;

use crate::{
    Settings, SettingsError, clock,
    fate::Fate,
    machine,
    record::{Intent, Record},
    start::Starter,
    yard::{Name, Yard},
};

/// The name of what there is to buy.
const OFFERING: &str = "local";

/// The most machines in one call.
const BATCH: u32 = 64;

/// The machines of one pool, as processes of this machine.
#[derive(Clone, Debug)]
pub struct Local(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) starter: Starter,
    pub(crate) yard: Yard,
    /// Machines that somebody is about to stop or end.
    busy: Mutex<BTreeSet<Name>>,
}

impl Local {
    /// Looks whether machines can be made like this, and makes the directory that they live in. Blocks for a moment.
    ///
    /// # Errors
    /// They cannot, and what is to be changed in the configuration.
    pub fn open(settings: Settings) -> Result<Self, SettingsError> {
        settings.check_values()?;
        let starter = Starter::new(&settings)?;
        if let Some(cgroup) = &settings.cgroup {
            cgroup.check()?;
        }
        let yard = Yard::open(&settings.directory, starter.owner().is_some())
            .map_err(|error| SettingsError::Directory { directory: settings.directory.clone(), error })?;
        Ok(Self(Arc::new(Inner { settings, starter, yard, busy: Mutex::default() })))
    }
}

impl Local {
    pub(crate) fn into_inner(self) -> Arc<Inner> {
        self.0
    }
}

impl Inner {
    pub(crate) fn busy(&self) -> MutexGuard<'_, BTreeSet<Name>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what waits for the disk on a thread of its own.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let inner = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&inner)).await.map_err(io::Error::other)?
    }

    /// Whether this provider has to do with a machine.
    fn is_ours(&self, record: &Record) -> bool {
        record.pool == self.settings.pool && record.deployment == self.settings.deployment
    }

    /// A machine as it is now. What was found to have ended without anybody's wish is written down.
    fn show(&self, name: &Name, record: &Record) -> Machine {
        let alive = self.is_alive(record);
        let status = match record.intent {
            _ if record.ended_at.is_some() => MachineStatus::Terminated,
            Intent::Run if alive => MachineStatus::Running,
            Intent::Run => MachineStatus::Terminated,
            Intent::Stop if alive => MachineStatus::Stopping,
            Intent::Stop => MachineStatus::Stopped,
            Intent::End => MachineStatus::ShuttingDown,
        };
        let mut details = BTreeMap::new();
        details.insert("directory".to_owned(), self.yard.home(name).display().to_string());
        if let Some(boot) = record.boot.as_ref().filter(|_| alive) {
            details.insert("pid".to_owned(), boot.pid.to_string());
        }
        Machine {
            provider_id: name.as_str().to_owned(),
            token: Some(record.token.clone()),
            member: Some(record.instance),
            offering: Some(record.offering.clone()),
            template: Some(record.template.clone()),
            status,
            launched_at: Some(record.launched_at),
            price: Some(record.price),
            details,
        }
    }

    /// The machine of one member, started if it was not yet. Blocks; needs a runtime around it.
    fn hire(self: &Arc<Self>, request: &LaunchRequest, member: &Member) -> Result<Machine, ProviderError> {
        let Settings { pool, deployment, .. } = &self.settings;
        let name = Name::of(member.instance);
        let _changing = self.yard.changing().map_err(io_error)?;
        let mut record = match self.yard.read(&name).map_err(io_error)? {
            Some(record) if !self.is_ours(&record) || record.token != request.token => {
                return Err(ProviderError::config(
                    "DirectoryInUse",
                    format!(
                        "the pool's directory has another {}, of pool `{}` and deployment `{}`: give the pool a \
                         directory of its own",
                        name.as_str(),
                        record.pool,
                        record.deployment
                    ),
                ));
            }
            Some(record) if record.boot.is_some() || record.ended_at.is_some() => {
                return Ok(self.show(&name, &record));
            }
            // A crash came between the record and the process.
            Some(record) => record,
            None => Record {
                offering: request.offering.clone(),
                template: request.template.clone(),
                price: self.settings.price,
                ..Record::new(deployment, pool, member.instance, request.token.clone())
            },
        };
        let Some(secret) = &member.secret else {
            let name = name.as_str();
            let text = format!("{name} was not started before its secret was lost, and is of no use now");
            return Err(ProviderError::capacity("NoSecret", text));
        };
        let document = Document {
            version: Document::VERSION,
            deployment: deployment.clone(),
            pool: pool.clone(),
            instance: Some(member.instance),
            token: request.token.clone(),
            template: request.template.clone(),
            worker: Some(metadata::Worker { name: member.login.clone(), password: secret.clone() }),
            master: metadata::Master { address: self.settings.master.clone() },
            enroll: None,
            settings: metadata::Settings {
                keepalive: self.settings.keepalive,
                silence: u32::try_from(self.settings.silence.as_secs()).unwrap_or(u32::MAX),
                clean: metadata::Clean::Never,
            },
        };
        self.yard.write(&name, &record).map_err(io_error)?;
        machine::make(&self.yard.home(&name), &document, self.starter.owner()).map_err(io_error)?;
        self.boot(&name, &mut record).map_err(io_error)?;
        Ok(self.show(&name, &record))
    }

    /// Starts a machine's process. The record names it before it does anything.
    fn boot(self: &Arc<Self>, name: &Name, record: &mut Record) -> io::Result<()> {
        let console = self.yard.open_console(name)?;
        let fate = Fate::of(&self.settings.trouble, record.instance);
        let started = self.starter.start(&self.settings, &self.yard.home(name), console, fate)?;
        if let Some(cgroup) = &self.settings.cgroup {
            cgroup.enter(name.as_str(), started.boot.pid.unsigned_abs())?;
        }
        record.boot = Some(started.boot.clone());
        record.intent = Intent::Run;
        self.yard.write(name, record)?;
        let child = started.go()?;
        tokio::spawn(Arc::clone(self).reap(name.clone(), child));
        Ok(())
    }

    /// Waits for the end of a process, as its parent has to.
    async fn reap(self: Arc<Self>, name: Name, mut child: Child) {
        match child.wait().await {
            Ok(status) => tracing::debug!(machine = name.as_str(), %status, "a machine's process has ended"),
            Err(error) => {
                tracing::warn!(machine = name.as_str(), %error, "a machine's process cannot be waited for")
            }
        }
        let looked = self
            .blocking({
                let name = name.clone();
                move |inner| inner.look_after(&name)
            })
            .await;
        if let Err(error) = looked {
            tracing::warn!(machine = name.as_str(), %error, "the end of a machine could not be written down");
        }
    }

    /// Writes down what is to become of a machine of ours that is not gone; whether there is one. Blocks.
    fn intend(&self, name: &Name, intent: Intent) -> io::Result<bool> {
        let changing = self.yard.changing()?;
        let Some(mut record) = self.yard.read(name)?.filter(|record| self.is_ours(record)) else {
            return Ok(false);
        };
        if record.ended_at.is_some() {
            drop(changing);
            if intent == Intent::End {
                // Of one that ended by itself the files are still there.
                self.yard.remove_files(name)?;
            }
            return Ok(false);
        }
        // What is to end is not stopped any more.
        if record.intent != intent && record.intent != Intent::End {
            record.intent = intent;
            self.yard.write(name, &record)?;
        }
        Ok(true)
    }

    /// Stops or ends a machine, and waits for it if nobody else does so already; whether there is one.
    async fn end(self: &Arc<Self>, name: Name, intent: Intent) -> Result<bool, ProviderError> {
        let there = self
            .blocking({
                let name = name.clone();
                move |inner| inner.intend(&name, intent)
            })
            .await
            .map_err(io_error)?;
        if there && let Some(task) = self.carry_out(name) {
            task.await.map_err(io::Error::other).flatten().map_err(io_error)?;
        }
        Ok(there)
    }

    /// Starts a stopped machine again. Blocks; needs a runtime around it.
    fn resume(self: &Arc<Self>, name: &Name) -> Result<(), ProviderError> {
        let _changing = self.yard.changing().map_err(io_error)?;
        let record = self.yard.read(name).map_err(io_error)?.filter(|record| self.is_ours(record));
        let Some(mut record) = record.filter(|record| record.ended_at.is_none()) else {
            return Err(unknown(name.as_str()));
        };
        match record.intent {
            Intent::Run => Ok(()),
            Intent::End => Err(unknown(name.as_str())),
            Intent::Stop if self.busy().contains(name) || self.is_alive(&record) => Err(ProviderError {
                kind: ErrorKind::Throttled(None),
                code: "IncorrectInstanceState".to_owned(),
                text: format!("{} is still stopping", name.as_str()),
            }),
            Intent::Stop => {
                record.launched_at = clock::now();
                self.boot(name, &mut record).map_err(io_error)
            }
        }
    }

    /// What there is to buy.
    fn offering(&self) -> Offering {
        Offering::only(OFFERING, self.settings.price)
    }

    /// All machines, and those that are still to be stopped or ended. Blocks.
    fn survey(self: &Arc<Self>) -> io::Result<(Vec<Machine>, Vec<Name>)> {
        let (mut machines, mut unfinished) = (Vec::new(), Vec::new());
        for name in self.yard.names()? {
            let ours = || io::Result::Ok(self.yard.read(&name)?.filter(|record| self.is_ours(record)));
            let Some(mut record) = ours()? else { continue };
            if record.intent == Intent::Run && record.ended_at.is_none() && !self.is_alive(&record) {
                self.look_after(&name)?;
                let Some(after) = ours()? else { continue };
                record = after;
            }
            let (ended, alive) = (record.ended_at.is_some(), self.is_alive(&record));
            if !ended && (record.intent == Intent::End || (record.intent == Intent::Stop && alive)) {
                unfinished.push(name.clone());
            }
            machines.push(self.show(&name, &record));
            self.tidy(&name, &record)?;
        }
        Ok((machines, unfinished))
    }
}

impl Provider for Local {
    fn capabilities(&self) -> Answer<'_, Capabilities> {
        let capabilities = Capabilities {
            offerings: vec![self.0.offering()],
            batch: BATCH,
            stops: true,
            api: ApiBudget {
                calls: 100,
                calls_per_second: 100.0,
                instances: 1000,
                instances_per_second: 1000.0,
            },
            quota: None,
            image: None,
            // It costs a look at some directories.
            look: Look { going: Duration::from_secs(1), coming: Duration::from_secs(5) },
        };
        Box::pin(async move { Ok(capabilities) })
    }

    fn launch(&self, request: LaunchRequest) -> Answer<'_, Launched> {
        Box::pin(async move {
            let settings = &self.0.settings;
            request.check(&settings.pool, &settings.deployment, &self.0.offering())?;
            let started = self.0.blocking(move |inner| {
                Ok(request.members.iter().map(|member| inner.hire(&request, member)).collect::<Vec<_>>())
            });
            Launched::one_by_one(started.await.map_err(io_error)?)
        })
    }

    fn list(&self) -> Answer<'_, Vec<Machine>> {
        Box::pin(async move {
            let (machines, unfinished) = self.0.blocking(Inner::survey).await.map_err(io_error)?;
            for name in unfinished {
                // Whoever asked for it may be gone with an earlier master. Nobody waits.
                self.0.carry_out(name);
            }
            Ok(machines)
        })
    }

    fn terminate(&self, provider_id: String) -> Answer<'_, ()> {
        Box::pin(async move {
            if let Some(name) = Name::parse(&provider_id) {
                self.0.end(name, Intent::End).await?;
            }
            Ok(())
        })
    }

    fn stop(&self, provider_id: String) -> Answer<'_, ()> {
        Box::pin(async move {
            let there = match Name::parse(&provider_id) {
                Some(name) => self.0.end(name, Intent::Stop).await?,
                None => false,
            };
            if there { Ok(()) } else { Err(unknown(&provider_id)) }
        })
    }

    fn resume(&self, provider_id: String) -> Answer<'_, ()> {
        Box::pin(async move {
            let Some(name) = Name::parse(&provider_id) else { return Err(unknown(&provider_id)) };
            self.0.blocking(move |inner| Ok(inner.resume(&name))).await.map_err(io_error)?
        })
    }

    fn console(&self, provider_id: String) -> Answer<'_, String> {
        Box::pin(async move {
            let Some(name) = Name::parse(&provider_id) else { return Err(unknown(&provider_id)) };
            let read = self.0.blocking(move |inner| {
                let ours = inner.yard.read(&name)?.is_some_and(|record| inner.is_ours(&record));
                ours.then(|| inner.yard.read_console(&name)).transpose()
            });
            read.await.map_err(io_error)?.ok_or_else(|| unknown(&provider_id))
        })
    }

    fn cancel(&self, _token: Token) -> Answer<'_, ()> {
        // A call here is over when it is answered.
        Box::pin(async { Ok(()) })
    }
}

fn unknown(provider_id: &str) -> ProviderError {
    ProviderError::config("NotFound", format!("there is no machine {provider_id:?} here"))
}

/// By what can be done about it: room comes back by itself, rights do not.
fn io_error(error: io::Error) -> ProviderError {
    use io::ErrorKind as Io;
    let kind = match error.kind() {
        Io::StorageFull | Io::QuotaExceeded | Io::OutOfMemory | Io::WouldBlock => ErrorKind::Capacity,
        Io::PermissionDenied | Io::NotFound | Io::InvalidData | Io::InvalidInput | Io::ReadOnlyFilesystem => {
            ErrorKind::Config
        }
        _ => ErrorKind::Transport,
    };
    ProviderError { kind, code: format!("{:?}", error.kind()), text: error.to_string() }
}
