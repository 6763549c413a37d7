//! The steps of a build, in order.
//!
//! Order, names and words are those of Buildbot 4.3.0 (`buildbot/process/build.py`, `buildbot/process/buildstep.py`).

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use config::LogCompression;
use model::{
    BuildId, Flags, Json, Results, StepId,
    template::{is_true, to_text},
};
use storage::{StorageError, Store, Write, log::Compression};
use tokio::sync::mpsc;

use super::{
    commander::Commander,
    halt::Halt,
    journal::Journal,
    step::{Build, Step, join},
    steps,
};
use crate::{
    Answer, BuildControl, BuildOrder, BuildWish, Clock, Notice, NoticeSender, Outcome, Trigger, causes,
};

/// `steps.name` holds so many characters.
const MAX_NAME: usize = 50;

/// What a build runs with.
#[derive(Clone)]
pub struct Means {
    /// The worker.
    pub worker: Arc<dyn Commander>,
    /// Where rows and logs go.
    pub store: Store,
    /// Where notices go.
    pub notices: NoticeSender,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where users reach the master; ends with a slash.
    pub master_url: String,
    /// Where relative paths of the master start.
    pub base_dir: PathBuf,
    /// How log chunks are compressed.
    pub log_compression: LogCompression,
}

/// Between a build and the master.
#[derive(Debug)]
pub struct Line {
    /// What the build is told.
    pub control: mpsc::Receiver<BuildControl>,
    /// What it triggers.
    pub triggers: mpsc::Sender<TriggerCall>,
    /// What it asks for.
    pub wishes: mpsc::Sender<(BuildId, BuildWish)>,
}

/// What a build triggers, and who hears the answers, as [`crate::Event::Trigger`] has them.
pub type TriggerCall = (Box<Trigger>, mpsc::UnboundedSender<Answer>);

/// Runs a build to its end, whatever happens to it. The row of the build is there already; whoever called writes its end.
///
/// A command leaves for the worker only when the rows that it rests on are durable; notices are heard only when theirs
/// are.
pub async fn run(order: Box<BuildOrder>, means: Means, line: Line) -> Outcome {
    let Means { worker, store, notices, clock, master_url, base_dir, log_compression } = means;
    let compression = match log_compression {
        LogCompression::None => Compression::None,
        LogCompression::Gz => Compression::Gz,
        LogCompression::Lz4 => Compression::Lz4,
        LogCompression::Zstd => Compression::Zstd,
    };
    let id = order.build;
    let journal = Journal::new(store, notices, clock, id);
    let build = Build::new(order, worker, journal, master_url, base_dir, compression, line);
    let course = Course { number: 0, names: BTreeSet::new(), texts: Vec::new() };
    match (Underway { build, course }).run().await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::error!(
                build = id.0,
                error = causes::in_lines(&error),
                "build ends because nothing can be written"
            );
            Outcome { results: Results::Retry, state_string: format!("retry storage failed ({error})") }
        }
    }
}

/// A build on its way.
struct Course {
    number: i64,
    names: BTreeSet<String>,
    /// What steps have to say about the build.
    texts: Vec<String>,
}

/// How a step ended.
struct StepEnd {
    results: Results,
    state_string: String,
    hidden: bool,
    flags: Flags,
}

impl StepEnd {
    fn plain(results: Results, state_string: String) -> Self {
        Self { results, state_string, hidden: false, flags: Flags::default() }
    }
}

impl Course {
    /// The name that a step has in this build: the second `shell` is `shell_1`.
    fn unique_name(&mut self, name: &str) -> String {
        let mut unique: String = name.chars().take(MAX_NAME).collect();
        let mut count = 0u32;
        while self.names.contains(&unique) {
            count += 1;
            let suffix = format!("_{count}");
            unique = name.chars().take(MAX_NAME - suffix.len()).collect();
            unique.push_str(&suffix);
        }
        self.names.insert(unique.clone());
        unique
    }
}

/// A build on its way, with all it holds.
struct Underway {
    build: Build,
    course: Course,
}

impl Underway {
    async fn run(mut self) -> Result<Outcome, StorageError> {
        if let Some(outcome) = self.prepare_worker().await? {
            return Ok(outcome);
        }
        let steps = self.build.order.builder.steps.clone();
        let mut ended = false;
        for config in steps {
            self.build.hear();
            let retried = matches!(self.build.stopped, Some((_, Results::Retry)));
            if self.build.lost.is_some() || retried {
                break;
            }
            if (ended || self.build.stopped.is_some()) && !self.always_runs(&config) {
                continue;
            }
            let (after, end) = self.step(Arc::clone(&config)).await?;
            self = after;
            if self.build.lost.is_some() {
                self.course.texts = vec!["lost connection".to_owned()];
            }
            let (results, ends) = end.flags.fold(self.build.results, end.results);
            self.build.results = results;
            ended |= ends;
            if counts_for_the_build(&config, end.flags, end.results) {
                self.course.texts.push(end.state_string);
                self.say(self.course.texts.join(" ")).await?;
            }
        }
        self.build.hear();
        self.build.journal.commit(Vec::new()).await?;
        Ok(self.outcome())
    }

    fn outcome(self) -> Outcome {
        let Self { build, course } = self;
        let mut results = build.results;
        if build.lost.is_some() {
            results = Results::Retry;
        }
        match &build.stopped {
            Some((_, Results::Retry)) => results = Results::Retry,
            Some((_, stopped)) => results = results.worst(*stopped),
            None => {}
        }
        let mut words = vec![match results {
            Results::Failure => "failed".to_owned(),
            Results::Warnings => "warnings".to_owned(),
            Results::Exception => "exception".to_owned(),
            Results::Retry => "retry".to_owned(),
            Results::Cancelled => "cancelled".to_owned(),
            Results::Success | Results::Skipped => "build successful".to_owned(),
        }];
        // That the worker is lost is said once, however many noticed.
        if let Some((reason, stopped)) = build.stopped
            && (build.lost.is_none() || stopped != Results::Retry)
        {
            words.push(format!("({reason})"));
        }
        words.extend(course.texts);
        Outcome { results, state_string: words.join(" ") }
    }

    /// What Buildbot calls the step `worker_preparation`: makes sure that the worker is there. An outcome when it is not.
    async fn prepare_worker(&mut self) -> Result<Option<Outcome>, StorageError> {
        let step = self.begin_step("worker_preparation", "pending").await?;
        let locks = if self.build.order.builder.locks.is_empty() {
            None
        } else {
            Some(self.plan_step("locks_acquire", "pending").await?)
        };
        self.say("pinging worker".to_owned()).await?;
        let worker = Arc::clone(&self.build.worker);
        if let Err(lost) = worker.ping().await {
            let mut logs = super::logs::Logs::new(step, self.build.compression);
            let log = logs.open(&mut self.build.journal, "err.text", storage::log::LogKind::Text).await?;
            let text = lost.to_string();
            let stream = storage::log::Stream::Stdout;
            logs.append(&mut self.build.journal, &self.build.scrubber, log, stream, &text).await?;
            logs.finish(&mut self.build.journal, &self.build.scrubber).await?;
            let state_string = "error while worker_ping".to_owned();
            self.end_step(step, &StepEnd::plain(Results::Exception, state_string)).await?;
            let state_string = "worker not pinged".to_owned();
            return Ok(Some(Outcome { results: Results::Retry, state_string }));
        }
        let state_string = format!("worker {} ready", self.build.order.worker.name);
        self.end_step(step, &StepEnd::plain(Results::Success, state_string)).await?;
        self.set_directories().await?;
        worker.start_build(&self.build.order.builder.name).await;
        if let Some(locks) = locks {
            self.say("acquiring locks".to_owned()).await?;
            self.have_locks(locks).await?;
        }
        self.say("building".to_owned()).await?;
        Ok(None)
    }

    /// The properties that only the worker can tell.
    async fn set_directories(&mut self) -> Result<(), StorageError> {
        let info = self.build.worker.info();
        let Some(basedir) = info.basedir.clone() else { return Ok(()) };
        let builddir = join(info.system, &basedir, &self.build.order.builder.workerbuilddir);
        for (name, value) in [("basedir", basedir), ("builddir", builddir)] {
            let set = self.build.set_property(name, Json::String(value), "Worker").await;
            if let Err(Halt::Storage(error)) = set {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether a step is done although the build is to end. One that cannot tell begins, and says why.
    fn always_runs(&mut self, config: &config::Step) -> bool {
        let always = self.build.render(|context| config.flags.always_run.render(context));
        always.map_or(true, |always| is_true(&always))
    }

    /// Runs one step to its end.
    async fn step(mut self, config: Arc<config::Step>) -> Result<(Self, StepEnd), StorageError> {
        let (name, named) = self.name(&config);
        let name = self.course.unique_name(&self.build.scrubber.clean(&name));
        let id = self.build.journal.store().ids().next_step();
        let Self { build, mut course } = self;
        let mut step = Step::new(build, Arc::clone(&config), id, name);
        let prepared = named.and_then(|()| step.prepare());
        let state_string = step.build.scrubber.clean(&step.summary.current()).into_owned();
        let wants_locks = matches!(prepared, Ok(true)) && !config.locks.is_empty();
        let has_locks = matches!(prepared, Ok(true)) && !wants_locks;
        let number = course.next_number();
        start_step(&mut step.build, id, number, &step.name, &state_string, has_locks).await?;
        let prepared = match prepared {
            Ok(true) if wants_locks => step.take_locks().await.map(|()| true),
            prepared => prepared,
        };
        let ran = match prepared {
            Err(halt) => Err(halt),
            Ok(false) => Ok(Results::Skipped),
            Ok(true) => match steps::of(config.kind) {
                Some(run) => run(&mut step).await,
                None => Err(Halt::Broken(format!("there is no step of type {:?}", config.kind))),
            },
        };
        let results = match ran {
            Ok(results) => results,
            Err(halt) => step.halted(halt).await?,
        };
        let (results, hidden) = match step.is_hidden(results) {
            Ok(hidden) => (results, hidden),
            Err(halt) => (step.halted(halt).await?, false),
        };
        let state_string = step.build.scrubber.clean(&step.summary.result(results)).into_owned();
        step.logs.finish(&mut step.build.journal, &step.build.scrubber).await?;
        let end = StepEnd { results, state_string, hidden, flags: step.flags };
        if wants_locks {
            step.return_locks().await;
        }
        let mut after = Self { build: step.build, course };
        after.end_step(id, &end).await?;
        Ok((after, end))
    }

    /// What a step is called; with its codebase, if it has one. Where that cannot be told, why not.
    fn name(&mut self, config: &config::Step) -> (String, Result<(), Halt>) {
        let rendered = self.build.render(|context| {
            let (name, codebase) = (&config.name, config.args.get("codebase"));
            Ok((to_text(&name.render(context)?), to_text(&codebase.render(context)?), codebase.is_null()))
        });
        match rendered {
            Ok((name, codebase, none)) if none || codebase.is_empty() => (name, Ok(())),
            Ok((name, codebase, _)) => (format!("{name}-{codebase}"), Ok(())),
            Err(error) => {
                let why = causes::in_lines(&error);
                let halt = Halt::Broken(format!("the name of the step cannot be rendered: {why}"));
                (config.kind.to_owned(), Err(halt))
            }
        }
    }

    /// A step that has its row before it starts.
    async fn plan_step(&mut self, name: &str, state_string: &str) -> Result<StepId, StorageError> {
        let id = self.build.journal.store().ids().next_step();
        let (name, number) = (self.course.unique_name(name), self.course.next_number());
        let (build, state_string) = (self.build.order.build, state_string.to_owned());
        let write = Write::Step {
            id,
            number,
            build,
            name: name.clone(),
            started_at: None,
            state_string: state_string.clone(),
        };
        self.build.journal.submit(vec![write]).await?;
        self.build.journal.hold(Notice::StepStarted { step: id, build, number, name, state_string });
        Ok(id)
    }

    /// What Buildbot calls the step `locks_acquire`. A build has its locks when it starts.
    async fn have_locks(&mut self, step: StepId) -> Result<(), StorageError> {
        let at = self.build.journal.now();
        self.build.journal.submit(vec![Write::StepStarted { step, at, locks_acquired: true }]).await?;
        let state_string = "locks acquired".to_owned();
        self.end_step(step, &StepEnd::plain(Results::Success, state_string)).await
    }

    async fn begin_step(&mut self, name: &str, state_string: &str) -> Result<StepId, StorageError> {
        let id = self.build.journal.store().ids().next_step();
        let name = self.course.unique_name(name);
        start_step(&mut self.build, id, self.course.next_number(), &name, state_string, true).await?;
        Ok(id)
    }

    async fn end_step(&mut self, step: StepId, end: &StepEnd) -> Result<(), StorageError> {
        let build = self.build.order.build;
        let (results, hidden, state_string) = (end.results, end.hidden, end.state_string.clone());
        let at = self.build.journal.now();
        let write = Write::StepFinished { step, results, at, hidden, state_string: state_string.clone() };
        self.build.journal.submit(vec![write]).await?;
        self.build.journal.hold(Notice::StepFinished { step, build, results, hidden, state_string });
        self.build.journal.commit(Vec::new()).await
    }

    /// Says what the build is at.
    async fn say(&mut self, state_string: String) -> Result<(), StorageError> {
        let build = self.build.order.build;
        let write = Write::BuildState { build, state_string: state_string.clone() };
        self.build.journal.submit(vec![write]).await?;
        self.build.journal.hold(Notice::BuildState { build, state_string });
        Ok(())
    }
}

impl Course {
    fn next_number(&mut self) -> i64 {
        let number = self.number;
        self.number += 1;
        number
    }
}

impl Step {
    /// What a step ends as that did not come to its own end.
    async fn halted(&mut self, halt: Halt) -> Result<Results, StorageError> {
        let log = match &halt {
            Halt::Failed => return Ok(Results::Failure),
            Halt::Stopped => {
                return Ok(match &self.build.stopped {
                    Some((_, Results::Retry)) => Results::Retry,
                    _ => Results::Cancelled,
                });
            }
            Halt::Storage(_) => None,
            Halt::Lost(why) => {
                self.build.lost = Some(why.clone());
                Some(("cancelled", format!("worker is lost: {why}"), Results::Retry))
            }
            Halt::Broken(text) => Some(("err.text", text.clone(), Results::Exception)),
        };
        let written = match log {
            Some((name, text, results)) => self.text_log(name, &text).await.map(|()| results),
            None => Err(halt),
        };
        match written {
            Ok(results) => Ok(results),
            Err(Halt::Storage(error)) => Err(error),
            Err(_) => Ok(Results::Exception),
        }
    }
}

async fn start_step(
    build: &mut Build,
    id: StepId,
    number: i64,
    name: &str,
    state_string: &str,
    has_locks: bool,
) -> Result<(), StorageError> {
    let (started_at, of) = (build.journal.now(), build.order.build);
    let (name, state_string) = (name.to_owned(), state_string.to_owned());
    let write = Write::Step {
        id,
        number,
        build: of,
        name: name.clone(),
        started_at: has_locks.then_some(started_at),
        state_string: state_string.clone(),
    };
    build.journal.submit(vec![write]).await?;
    if !has_locks {
        let write = Write::StepStarted { step: id, at: started_at, locks_acquired: false };
        build.journal.submit(vec![write]).await?;
    }
    build.journal.hold(Notice::StepStarted { step: id, build: of, number, name, state_string });
    build.journal.commit(Vec::new()).await
}

/// Whether the state string of a step with these results becomes part of its build's.
fn counts_for_the_build(config: &config::Step, flags: Flags, results: Results) -> bool {
    if let Some(policy) = &config.update_build_summary_policy {
        return policy.contains(&results);
    }
    match results {
        Results::Exception | Results::Retry | Results::Cancelled => true,
        Results::Failure => flags.flunk_on_failure || flags.halt_on_failure || flags.warn_on_failure,
        Results::Warnings => flags.flunk_on_warnings || flags.warn_on_warnings,
        Results::Success | Results::Skipped => false,
    }
}
