//! A step while it runs: what its code can use.

use std::{cell::RefCell, path::PathBuf, sync::Arc};

use bytestring::ByteString;
use config::Renderable;
use model::{
    Flags, Json, Properties, Results, StepId,
    template::{Context, RenderError, is_true, to_text},
};
use secrecy::ExposeSecret;
use storage::{
    Write,
    log::{Compression, LogKind, Stream},
};
use tokio::sync::mpsc;
use worker_protocol::{EnvValue, System, WorkerInfo};

use super::{
    arguments::{Arguments, env_value},
    commander::Commander,
    context::Rendering,
    halt::Halt,
    journal::Journal,
    logs::{LogRef, Logs},
    run::Line,
    scrub::Scrubber,
    summary::{Summary, command_in_short},
};
use crate::{Answer, BuildControl, BuildOrder, BuildWish, Notice, Trigger, causes};

/// What lasts as long as the build.
pub(crate) struct Build {
    pub(crate) order: Box<BuildOrder>,
    pub(crate) worker: Arc<dyn Commander>,
    pub(crate) journal: Journal,
    pub(crate) properties: Properties,
    pub(crate) scrubber: Scrubber,
    /// What the steps so far make of it.
    pub(crate) results: Results,
    /// Where users find it.
    pub(crate) url: String,
    /// Where users reach the master; ends with a slash.
    pub(crate) master_url: String,
    /// Where relative paths of the master start.
    pub(crate) base_dir: PathBuf,
    pub(crate) compression: Compression,
    line: Line,
    /// Somebody stopped it: why, and what it ends as.
    pub(crate) stopped: Option<(String, Results)>,
    /// The worker is gone: why.
    pub(crate) lost: Option<String>,
}

impl Build {
    pub(crate) fn new(
        order: Box<BuildOrder>,
        worker: Arc<dyn Commander>,
        journal: Journal,
        master_url: String,
        base_dir: PathBuf,
        compression: Compression,
        line: Line,
    ) -> Self {
        let properties = order.properties.clone();
        let url = format!("{master_url}#/builders/{}/builds/{}", order.builder_id.0, order.number.0);
        Self {
            order,
            worker,
            journal,
            properties,
            scrubber: Scrubber::default(),
            results: Results::Success,
            url,
            master_url,
            base_dir,
            compression,
            line,
            stopped: None,
            lost: None,
        }
    }

    /// Waits until somebody stops the build. Nothing is lost when the future is dropped.
    pub(crate) async fn stop(&mut self) -> (String, Results) {
        loop {
            match self.line.control.recv().await {
                Some(BuildControl::Stop { reason, results }) => {
                    self.stopped = Some((reason.clone(), results));
                    return (reason, results);
                }
                // For a step that waits no longer.
                Some(BuildControl::Locks { .. }) => {}
                None => return std::future::pending().await,
            }
        }
    }

    /// Takes note of a stop that came in the meantime: its reason.
    pub(crate) fn hear(&mut self) -> Option<String> {
        let mut heard = None;
        while let Ok(told) = self.line.control.try_recv() {
            if let BuildControl::Stop { reason, results } = told {
                self.stopped = Some((reason.clone(), results));
                heard = Some(reason);
            }
        }
        heard
    }

    /// Triggers schedulers; the answers follow. There are none when the master is about to end.
    pub(crate) async fn trigger(&self, trigger: Trigger) -> mpsc::UnboundedReceiver<Answer> {
        // As many answers as there are requests, and two.
        let (sender, answers) = mpsc::unbounded_channel();
        self.line.triggers.send((Box::new(trigger), sender)).await.ok();
        answers
    }

    /// What the build is told next; nothing when the master is about to end. Nothing is lost when the future is dropped.
    pub(crate) async fn control(&mut self) -> Option<BuildControl> {
        self.line.control.recv().await
    }

    /// Asks the master for something.
    pub(crate) async fn wish(&self, wish: BuildWish) {
        // Nobody listens only when the master is about to end.
        self.line.wishes.send((self.order.build, wish)).await.ok();
    }

    /// Sets a property of the build. What is stored and told has no secrets in it; the build itself keeps them.
    pub(crate) async fn set_property(&mut self, name: &str, value: Json, source: &str) -> Result<(), Halt> {
        let build = self.order.build;
        self.properties.set(name, value.clone(), source);
        let value = self.scrubber.clean_value(&value);
        let (name, source) = (name.to_owned(), source.to_owned());
        let write =
            Write::BuildProperty { build, name: name.clone(), value: value.clone(), source: source.clone() };
        self.journal.submit(vec![write]).await?;
        self.journal.hold(Notice::BuildProperty { build, name, value, source });
        Ok(())
    }

    /// Renders for this build.
    pub(crate) fn render<T>(
        &mut self,
        what: impl Fn(&dyn Context) -> Result<T, RenderError>,
    ) -> Result<T, RenderError> {
        self.render_with(self.results, what)
    }

    /// Renders for this build, with these for `results`.
    fn render_with<T>(
        &mut self,
        results: Results,
        what: impl Fn(&dyn Context) -> Result<T, RenderError>,
    ) -> Result<T, RenderError> {
        let rendering = Rendering {
            order: &self.order,
            properties: &self.properties,
            worker: self.worker.info(),
            url: &self.url,
            build_results: self.results,
            results,
            used: RefCell::default(),
        };
        let rendered = what(&rendering);
        let used = rendering.used.into_inner();
        for name in used {
            if let Some(secret) = self.order.builder.secrets.get(&name) {
                self.scrubber.add(&name, secret.expose_secret());
            }
        }
        rendered
    }
}

/// A step while it runs.
pub(crate) struct Step {
    pub(crate) build: Build,
    pub(crate) config: Arc<config::Step>,
    pub(crate) id: StepId,
    pub(crate) name: String,
    pub(crate) flags: Flags,
    pub(crate) args: Arguments,
    pub(crate) summary: Summary,
    pub(crate) logs: Logs,
    /// Somebody stopped the build while this step ran: it runs no further command.
    pub(crate) stopped: bool,
}

impl Step {
    pub(crate) fn new(build: Build, config: Arc<config::Step>, id: StepId, name: String) -> Self {
        let logs = Logs::new(id, build.compression);
        Self {
            build,
            config,
            id,
            name,
            flags: Flags::default(),
            args: Arguments::default(),
            summary: Summary::default(),
            logs,
            stopped: false,
        }
    }

    /// Renders all that depends on the build, and says whether the step is to be done.
    pub(crate) fn prepare(&mut self) -> Result<bool, Halt> {
        let config = Arc::clone(&self.config);
        self.flags = self
            .build
            .render(|context| config.flags.render(context))
            .map_err(|error| self.unrendered("what its results do to the build", &error))?;
        let mut values = Vec::with_capacity(config.args.0.len());
        for (name, value) in &config.args.0 {
            values.push(((*name).to_owned(), self.render_as(&format!("argument `{name}`"), value)?));
        }
        self.args = Arguments::new(&self.name, values);
        self.summary.description = self.render_words("description", &config.description)?;
        self.summary.done = self.render_words("descriptionDone", &config.description_done)?;
        self.summary.suffix = self.render_words("descriptionSuffix", &config.description_suffix)?;
        self.summary.command = command_in_short(self.args.get("command"));
        let wanted = self.render_as("argument `doStepIf`", &config.do_step_if)?;
        Ok(is_true(&wanted))
    }

    /// Whether the step, which ended with `results`, is left out of what users see.
    pub(crate) fn is_hidden(&mut self, results: Results) -> Result<bool, Halt> {
        let config = Arc::clone(&self.config);
        let hidden = self.build.render_with(results, |context| config.hide_step_if.render(context));
        hidden
            .map(|hidden| is_true(&hidden))
            .map_err(|error| self.unrendered("argument `hideStepIf`", &error))
    }

    fn render_as(&mut self, what: &str, value: &Renderable) -> Result<Json, Halt> {
        self.build.render(|context| value.render(context)).map_err(|error| self.unrendered(what, &error))
    }

    fn unrendered(&self, what: &str, error: &RenderError) -> Halt {
        let why = causes::in_lines(error);
        Halt::Broken(format!("{what} of step {:?} cannot be rendered: {why}", self.name))
    }

    fn render_words(&mut self, what: &str, words: &Renderable) -> Result<Vec<String>, Halt> {
        Ok(match self.render_as(&format!("argument `{what}`"), words)? {
            Json::Null => Vec::new(),
            Json::Array(words) => words.iter().map(to_text).collect(),
            word => vec![to_text(&word)],
        })
    }

    pub(crate) fn worker(&self) -> &WorkerInfo {
        self.build.worker.info()
    }

    /// The directory on the worker that commands run in.
    pub(crate) fn workdir(&self) -> ByteString {
        match self.args.text("workdir") {
            Some(workdir) if !workdir.is_empty() => workdir.into(),
            _ => ByteString::from_static("build"),
        }
    }

    /// The environment of the builder, with that of the step over it.
    pub(crate) fn merged_env(&mut self) -> Result<Vec<(ByteString, EnvValue)>, Halt> {
        let builder = Arc::clone(&self.build.order.builder);
        let mut merged: Vec<(ByteString, EnvValue)> = Vec::with_capacity(builder.env.len());
        for (name, value) in &builder.env {
            let value = self.build.render(|context| value.render(context)).map_err(|error| {
                Halt::Broken(format!("`env` of the builder, {name}: {}", causes::in_lines(&error)))
            })?;
            merged.push((name.as_str().into(), env_value(&value)));
        }
        for (name, value) in self.args.env("env")? {
            match merged.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = value,
                None => merged.push((name, value)),
            }
        }
        Ok(merged)
    }

    /// Sets a property of the build.
    pub(crate) async fn set_property(&mut self, name: &str, value: Json, source: &str) -> Result<(), Halt> {
        self.build.set_property(name, value, source).await
    }

    /// Says what the step is at, once that is known better than before it began.
    pub(crate) async fn say(&mut self) -> Result<(), Halt> {
        let (step, build) = (self.id, self.build.order.build);
        let state_string = self.build.scrubber.clean(&self.summary.current()).into_owned();
        let write = Write::StepState { step, state_string: state_string.clone() };
        self.build.journal.submit(vec![write]).await?;
        self.build.journal.hold(Notice::StepState { step, build, state_string });
        Ok(())
    }

    /// Gives the step a link.
    pub(crate) async fn add_url(&mut self, name: &str, url: &str) -> Result<(), Halt> {
        let build = self.build.order.build;
        let clean = |text: &str| self.build.scrubber.clean(text).into_owned();
        let (step, name, url) = (self.id, clean(name), clean(url));
        let write = Write::StepUrl { step, name: name.clone(), url: url.clone() };
        self.build.journal.submit(vec![write]).await?;
        self.build.journal.hold(Notice::StepUrl { step, build, name, url });
        Ok(())
    }

    /// The log of this name with the streams of commands; opened if it is not there.
    pub(crate) async fn log(&mut self, name: &str) -> Result<LogRef, Halt> {
        match self.logs.find(name) {
            Some(log) => Ok(log),
            None => Ok(self.logs.open(&mut self.build.journal, name, LogKind::Stdio).await?),
        }
    }

    /// Adds text to a log.
    pub(crate) async fn append(&mut self, log: LogRef, stream: Stream, text: &str) -> Result<(), Halt> {
        Ok(self.logs.append(&mut self.build.journal, &self.build.scrubber, log, stream, text).await?)
    }

    /// A log of plain text.
    pub(crate) async fn text_log(&mut self, name: &str, text: &str) -> Result<(), Halt> {
        let log = self.logs.open(&mut self.build.journal, name, LogKind::Text).await?;
        self.append(log, Stream::Stdout, text).await
    }

    /// A path on the worker, `within` seen from `base`.
    pub(crate) fn join(&self, base: &str, within: &str) -> String {
        join(self.worker().system, base, within)
    }

    /// A path of the master: `~` is the home directory, what is relative is seen from the configuration's directory.
    pub(crate) fn master_path(&self, path: &str) -> PathBuf {
        let home = || std::env::var_os("HOME").map(PathBuf::from);
        match path.strip_prefix("~/").or_else(|| (path == "~").then_some("")) {
            Some(rest) if let Some(home) = home() => home.join(rest),
            // Without a slash at its end.
            _ if path.is_empty() => self.build.base_dir.clone(),
            _ => self.build.base_dir.join(path),
        }
    }
}

/// A path of a worker, `within` seen from `base`, as the worker's system writes it (Python's `os.path.join`).
pub(crate) fn join(system: System, base: &str, within: &str) -> String {
    let (separator, absolute, ends) = match system {
        System::Posix => ('/', within.starts_with('/'), base.ends_with('/')),
        System::Nt => (
            '\\',
            within.starts_with(['/', '\\']) || within.as_bytes().get(1) == Some(&b':'),
            base.ends_with(['/', '\\', ':']),
        ),
    };
    if absolute || base.is_empty() {
        within.to_owned()
    } else if ends {
        format!("{base}{within}")
    } else {
        format!("{base}{separator}{within}")
    }
}

/// The last part of a path (Python's `os.path.basename` on the master, which is POSIX).
pub(crate) fn base_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}
