//! The provider.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bollard::{
    body_full,
    errors::Error,
    models::VolumeCreateRequest,
    query_parameters::{
        CreateContainerOptions, InspectContainerOptions, ListContainersOptions, ListVolumesOptions,
        LogsOptions, RemoveContainerOptions, RemoveVolumeOptions, RenameContainerOptions,
        StartContainerOptions, StopContainerOptions, UploadToContainerOptions,
    },
};
use futures_util::{StreamExt as _, stream};
use model::docker::Credentials;
use pools::{
    Capabilities, Offering, Provider, ProviderError, Token,
    metadata::{self, Document},
    provider::{Answer, ApiBudget, ErrorKind, LaunchRequest, Launched, Look, Machine, MachineStatus, Member},
};
use tokio::sync::OnceCell;

use crate::{
    Settings, SettingsError, clock,
    container::{self, Found},
    document,
    engine::{self, explain, status},
    image::Images,
    owner,
};

/// The name of what there is to buy.
const OFFERING: &str = "docker";

/// The most machines in one call.
const BATCH: u32 = 16;

/// How often it is looked for a container that the engine is about to make, and how long after each look.
const LOOKS: u32 = 100;
const LOOK: Duration = Duration::from_millis(100);

/// How many of them are made at once.
const AT_ONCE: usize = 4;

/// How long a container that ended by itself is kept for whoever wants to read its console.
const KEEP: Duration = Duration::from_mins(10);

/// How long it is known that a machine is gone: longer than any call is made again.
const REMEMBER: i64 = 24 * 60 * 60;

/// How often it is looked for what can be forgotten.
const FORGET: Duration = Duration::from_hours(1);

/// The label of a volume that stands for a machine that is gone: when it went, in seconds of the epoch.
const ENDED: &str = "ganger.ended";

/// The most bytes of a console.
const CONSOLE: usize = 64 * 1024;

/// The machines of one pool, as containers of one engine.
#[derive(Clone, Debug)]
pub struct Docker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    engine: OnceCell<bollard::Docker>,
    images: Images,
    /// Held by whoever launches.
    launching: tokio::sync::Mutex<()>,
    /// When a container was first seen that had ended by itself.
    ended: Mutex<BTreeMap<String, Instant>>,
    /// When it was last looked for what can be forgotten.
    forgot: Mutex<Option<Instant>>,
}

/// What containers of one call are made from.
#[derive(Debug)]
struct Image {
    name: String,
    /// Who they run as, as it is configured; empty is root.
    user: String,
}

impl Docker {
    /// Looks whether machines can be made like this. The engine is asked when it is first needed: it may start later than
    /// the master.
    ///
    /// # Errors
    /// They cannot, and what is to be changed in the configuration.
    pub fn open(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        let (engine, images, launching, ended, forgot) = Default::default();
        Ok(Self(Arc::new(Inner { settings, engine, images, launching, ended, forgot })))
    }
}

impl Inner {
    async fn engine(&self) -> Result<&bollard::Docker, ProviderError> {
        self.engine.get_or_try_init(|| engine::connect(&self.settings)).await
    }

    /// All containers of the pool.
    async fn containers(&self) -> Result<Vec<Found>, ProviderError> {
        self.filtered(container::filters(&self.settings)).await
    }

    async fn filtered(&self, filters: HashMap<String, Vec<String>>) -> Result<Vec<Found>, ProviderError> {
        let filters = Some(filters);
        let options = ListContainersOptions { all: true, filters, ..ListContainersOptions::default() };
        let listed = self.engine().await?.list_containers(Some(options)).await.map_err(explain)?;
        Ok(listed.into_iter().filter_map(|summary| Found::of(&self.settings, summary)).collect())
    }

    async fn find(&self, name: &str) -> Result<Option<Found>, ProviderError> {
        let Some(filters) = container::filters_for(&self.settings, name) else { return Ok(None) };
        Ok(self.filtered(filters).await?.into_iter().find(|found| found.machine.provider_id == name))
    }

    /// Sees to it that the engine has the image of a call, and what its containers are.
    async fn image(&self, request: &LaunchRequest) -> Result<Image, ProviderError> {
        let template = &self.settings.template;
        // After a bad image that is the one before.
        let name = if request.image.is_empty() { &template.image } else { &request.image };
        let image = self.images.get(self.engine().await?, name, template).await?;
        let user = template.user.clone();
        let user = user.or_else(|| image.config.and_then(|config| config.user)).unwrap_or_default();
        Ok(Image { name: name.clone(), user })
    }

    /// The machine of one member, started if it was not yet.
    async fn hire(
        &self,
        request: &LaunchRequest,
        member: &Member,
        image: &Image,
    ) -> Result<Machine, ProviderError> {
        let engine = self.engine().await?;
        let name = container::name(&self.settings, member.instance);
        // Whether it is gone is asked first: it may go in the meantime, and does not come back.
        if self.is_gone(&name).await? {
            return Err(gone(&name));
        }
        let mut found = self.find(&name).await?;
        if found.is_none() {
            if member.secret.is_none() {
                return Err(useless(&name));
            }
            let options = CreateContainerOptions { name: Some(name.clone()), ..Default::default() };
            let body = container::body(&self.settings, &image.name, request, member);
            match engine.create_container(Some(options), body).await {
                Ok(_) => {}
                // Somebody was faster: with the same call, or with a name of its own.
                Err(error) if status(&error) == Some(409) => {}
                // Podman says so with another status.
                Err(Error::DockerResponseServerError { message, .. })
                    if message.contains("already in use") => {}
                Err(error) => return Err(explain(error)),
            }
            found = self.made(&name).await?;
        }
        let Some(found) = found.filter(|found| found.machine.token.as_ref() == Some(&request.token)) else {
            return Err(ProviderError::config(
                "NameInUse",
                format!("the engine has another container {name}, which this pool did not make"),
            ));
        };
        if !found.created {
            return Ok(found.machine);
        }
        if member.secret.is_none() {
            self.remove(&found.id).await?;
            return Err(useless(&name));
        }
        if let Err(error) = self.start(&found.id, request, member, image).await {
            if error.kind == ErrorKind::Config {
                self.remove(&found.id).await?;
            }
            return Err(error);
        }
        Ok(Machine { status: MachineStatus::Running, ..found.machine })
    }

    /// A container whose name the engine has taken. It may be still at making it, for whoever was faster.
    async fn made(&self, name: &str) -> Result<Option<Found>, ProviderError> {
        for _ in 0..LOOKS {
            let found = self.find(name).await?;
            let inspected = self.engine().await?.inspect_container(name, None::<InspectContainerOptions>);
            match inspected.await {
                Err(error) if found.is_none() && status(&error) == Some(404) => {}
                // It is there: ours if it was found, or else somebody else's.
                Ok(_) | Err(_) => return if found.is_some() { Ok(found) } else { self.find(name).await },
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(None)
    }

    /// Tells a container what it needs to know, and starts it.
    async fn start(
        &self,
        id: &str,
        request: &LaunchRequest,
        member: &Member,
        image: &Image,
    ) -> Result<(), ProviderError> {
        let engine = self.engine().await?;
        if self.settings.template.credentials == Credentials::File
            && let Some(secret) = &member.secret
        {
            let settings = &self.settings;
            let text = document::text(&Document {
                version: Document::VERSION,
                deployment: settings.deployment.clone(),
                pool: settings.pool.clone(),
                instance: Some(member.instance),
                token: request.token.clone(),
                template: request.template.clone(),
                worker: Some(metadata::Worker { name: member.login.clone(), password: secret.clone() }),
                master: metadata::Master { address: settings.master.clone() },
                enroll: None,
                settings: metadata::Settings {
                    silence: u32::try_from(settings.template.silence.as_secs()).unwrap_or(u32::MAX),
                    ..metadata::Settings::default()
                },
            })?;
            let owner = owner::of(engine, id, &image.user).await?;
            let archive = document::archive(&text, owner).map_err(|error| explain(error.into()))?;
            let options = UploadToContainerOptions { path: "/".to_owned(), ..Default::default() };
            let put = engine.upload_to_container(id, Some(options), body_full(archive.into())).await;
            put.map_err(explain)?;
        }
        // One that runs already answers "not modified", which is no error.
        engine.start_container(id, None::<StartContainerOptions>).await.map_err(explain)
    }

    /// Lets a container end, with the volumes that are its own.
    async fn remove(&self, id: &str) -> Result<(), ProviderError> {
        let options = RemoveContainerOptions { v: true, force: true, link: false };
        match self.engine().await?.remove_container(id, Some(options)).await {
            Ok(()) => Ok(()),
            // Gone, or somebody else is at it.
            Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
            Err(error) => Err(explain(error)),
        }
    }

    async fn halt(&self, id: &str) -> Result<(), ProviderError> {
        let grace = i32::try_from(self.settings.grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptions { t: Some(grace), signal: None };
        match self.engine().await?.stop_container(id, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
            Err(error) => Err(explain(error)),
        }
    }

    /// Ends a machine for good.
    async fn end(&self, found: &Found) -> Result<(), ProviderError> {
        let mut labels = HashMap::from([
            (container::DEPLOYMENT.to_owned(), self.settings.deployment.clone()),
            (container::POOL.to_owned(), self.settings.pool.clone()),
        ]);
        labels.insert(ENDED.to_owned(), clock::now().epoch_seconds().to_string());
        let volume = VolumeCreateRequest {
            name: Some(found.machine.provider_id.clone()),
            labels: Some(labels),
            ..VolumeCreateRequest::default()
        };
        match self.engine().await?.create_volume(volume).await {
            Ok(_) => {}
            // Podman minds that it is there.
            Err(Error::DockerResponseServerError { message, .. }) if message.contains("already exists") => {}
            Err(error) => return Err(explain(error)),
        }
        if matches!(found.machine.status, MachineStatus::Running | MachineStatus::Stopping) {
            self.halt(&found.id).await?;
        }
        self.remove(&found.id).await
    }

    async fn is_gone(&self, name: &str) -> Result<bool, ProviderError> {
        match self.engine().await?.inspect_volume(name).await {
            Ok(_) => Ok(true),
            Err(error) if status(&error) == Some(404) => Ok(false),
            Err(error) => Err(explain(error)),
        }
    }

    /// Forgets what went long ago.
    async fn forget(&self) -> Result<(), ProviderError> {
        let engine = self.engine().await?;
        let options = ListVolumesOptions { filters: Some(container::filters(&self.settings)) };
        let volumes = engine.list_volumes(Some(options)).await.map_err(explain)?.volumes;
        for volume in volumes.unwrap_or_default() {
            let ended = volume.labels.get(ENDED).and_then(|ended| ended.parse::<i64>().ok());
            if ended.is_some_and(|ended| ended.saturating_add(REMEMBER) < clock::now().epoch_seconds()) {
                match engine.remove_volume(&volume.name, None::<RemoveVolumeOptions>).await {
                    Ok(()) => {}
                    Err(error) if status(&error) == Some(404) => {}
                    Err(error) => self.warn(&explain(error)),
                }
            }
        }
        Ok(())
    }

    /// Ends what ended by itself and was kept for long enough, and forgets what went long ago. What fails is tried again at
    /// a later listing.
    async fn look_after(&self, listed: &[Found]) {
        for ended in listed.iter().filter(|found| found.machine.status == MachineStatus::Terminated) {
            if self.is_due(ended)
                && let Err(error) = self.end(ended).await
            {
                self.warn(&error);
            }
        }
        {
            let mut seen = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            seen.retain(|id, _| listed.iter().any(|found| found.id == *id));
        }
        {
            let mut forgot = self.forgot.lock().unwrap_or_else(PoisonError::into_inner);
            if forgot.is_some_and(|at| at.elapsed() < FORGET) {
                return;
            }
            *forgot = Some(Instant::now());
        }
        if let Err(error) = self.forget().await {
            self.warn(&error);
        }
    }

    fn warn(&self, error: &ProviderError) {
        tracing::warn!(pool = self.settings.pool, code = error.code, "{}", error.text);
    }

    /// What there is to buy.
    fn offering(&self) -> Offering {
        Offering::only(OFFERING, self.settings.template.price)
    }

    /// Whether a container that ended by itself was kept for long enough.
    fn is_due(&self, found: &Found) -> bool {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.entry(found.id.clone()).or_insert_with(Instant::now).elapsed() >= KEEP
    }
}

impl Provider for Docker {
    fn capabilities(&self) -> Answer<'_, Capabilities> {
        let capabilities = Capabilities {
            offerings: vec![self.0.offering()],
            batch: BATCH,
            stops: true,
            api: ApiBudget { calls: 20, calls_per_second: 10.0, instances: 100, instances_per_second: 10.0 },
            quota: None,
            image: None,
            look: Look { going: Duration::from_secs(1), coming: Duration::from_secs(5) },
        };
        Box::pin(async move { Ok(capabilities) })
    }

    fn launch(&self, request: LaunchRequest) -> Answer<'_, Launched> {
        Box::pin(async move {
            let settings = &self.0.settings;
            request.check(&settings.pool, &settings.deployment, &self.0.offering())?;
            // It may have to be pulled, which nobody else needs to wait for.
            let image = self.0.image(&request).await?;
            let _launching = self.0.launching.lock().await;
            let members: Vec<_> =
                request.members.iter().map(|member| self.0.hire(&request, member, &image)).collect();
            Launched::one_by_one(stream::iter(members).buffered(AT_ONCE).collect::<Vec<_>>().await)
        })
    }

    fn list(&self) -> Answer<'_, Vec<Machine>> {
        Box::pin(async move {
            let found = self.0.containers().await?;
            self.0.look_after(&found).await;
            Ok(found.into_iter().map(|found| found.machine).collect())
        })
    }

    fn terminate(&self, provider_id: String) -> Answer<'_, ()> {
        Box::pin(async move {
            match self.0.find(&provider_id).await? {
                Some(found) => self.0.end(&found).await,
                None => Ok(()),
            }
        })
    }

    fn stop(&self, provider_id: String) -> Answer<'_, ()> {
        Box::pin(async move {
            let found = self.0.find(&provider_id).await?.ok_or_else(|| unknown(&provider_id))?;
            match found.machine.status {
                MachineStatus::Running => {
                    // The name first: one that has stopped without it would be taken for one that has ended.
                    let options = RenameContainerOptions { name: container::stopped(&provider_id) };
                    self.0.engine().await?.rename_container(&found.id, options).await.map_err(explain)?;
                    self.0.halt(&found.id).await
                }
                MachineStatus::Stopping => self.0.halt(&found.id).await,
                MachineStatus::Stopped => Ok(()),
                _ => Err(unknown(&provider_id)),
            }
        })
    }

    fn resume(&self, provider_id: String) -> Answer<'_, ()> {
        Box::pin(async move {
            let found = self.0.find(&provider_id).await?.ok_or_else(|| unknown(&provider_id))?;
            match found.machine.status {
                MachineStatus::Running => Ok(()),
                MachineStatus::Stopped | MachineStatus::Stopping => {
                    let engine = self.0.engine().await?;
                    let start = engine.start_container(&found.id, None::<StartContainerOptions>);
                    start.await.map_err(explain)?;
                    let options = RenameContainerOptions { name: provider_id };
                    engine.rename_container(&found.id, options).await.map_err(explain)
                }
                _ => Err(unknown(&provider_id)),
            }
        })
    }

    fn console(&self, provider_id: String) -> Answer<'_, String> {
        Box::pin(async move {
            let found = self.0.find(&provider_id).await?.ok_or_else(|| unknown(&provider_id))?;
            let options =
                LogsOptions { stdout: true, stderr: true, tail: "1000".to_owned(), ..LogsOptions::default() };
            let mut logs = std::pin::pin!(self.0.engine().await?.logs(&found.id, Some(options)));
            let mut text = Vec::new();
            while let Some(piece) = logs.next().await {
                text.extend_from_slice(&piece.map_err(explain)?.into_bytes());
                if text.len() > 2 * CONSOLE {
                    text.drain(..text.len() - CONSOLE);
                }
            }
            text.drain(..text.len().saturating_sub(CONSOLE));
            Ok(String::from_utf8_lossy(&text).into_owned())
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

fn gone(name: &str) -> ProviderError {
    ProviderError::capacity("Gone", format!("{name} has ended, and does not come back"))
}

fn useless(name: &str) -> ProviderError {
    ProviderError::capacity(
        "NoSecret",
        format!("{name} was not started before its secret was lost, and is of no use now"),
    )
}
