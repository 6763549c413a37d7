//! The core, told things and asked what follows.

mod builds;
mod choices;
mod locks;
pub(crate) mod pools;
mod reload;
mod scale;
mod schedulers;
mod simulation;
mod tables;
mod timed;
mod triggers;
mod widths;
mod workers;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use ::pools::Order;
use config::Config;
use model::{
    BuildId, BuildRequestId, BuilderId, BuildsetId, Change, ChangeId, InstanceId, Json, Results, SchedulerId,
    Time, WorkerId,
};
use secrecy::{ExposeSecret as _, SecretString};
use storage::{Restored, Write};

use super::{Action, Answer, Batch, Core, Event, Force, Hiring, Known, NewIds, ReplyId, SessionId};

/// When the tests begin.
pub(crate) const START: Time = Time::from_epoch_seconds(1_000_000);

/// A configuration from text; what every test needs is added.
pub(crate) fn config(text: &str) -> Arc<Config> {
    match config::parse(text, "test.toml", Path::new("/base")) {
        Ok(loaded) => Arc::new(loaded.config),
        Err(errors) => panic!("{errors:?}"),
    }
}

/// Workers with (perhaps) a limit of builds, builders with their workers, and a `force` scheduler for all builders.
pub(crate) fn farm(workers: &[(&str, u32)], builders: &[(&str, &[&str])], more: &str) -> String {
    let mut text = String::from("[master]\ncollapseRequests = false\n");
    for (name, max) in workers {
        let max = if *max == 0 { String::new() } else { format!("max_builds = {max}\n") };
        write!(text, "[[worker]]\nname = {name:?}\npassword = \"x\"\n{max}").unwrap();
    }
    for (name, workers) in builders {
        write!(text, "[[builder]]\nname = {name:?}\nworkers = {workers:?}\n").unwrap();
    }
    let all: Vec<_> = builders.iter().map(|(name, _)| name).collect();
    write!(
        text,
        "[[scheduler]]\ntype = \"ForceScheduler\"\nname = \"force\"\nbuilderNames = {all:?}\n{more}"
    )
    .unwrap();
    text
}

/// Ids that go on after a restart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters(Arc<[AtomicI64; 7]>);

impl Counters {
    fn next(&self, which: usize) -> i64 {
        self.0[which].fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl NewIds for Counters {
    fn next_build(&self) -> BuildId {
        BuildId(self.next(0))
    }
    fn next_builder(&self) -> BuilderId {
        BuilderId(self.next(1))
    }
    fn next_buildset(&self) -> BuildsetId {
        BuildsetId(self.next(2))
    }
    fn next_change(&self) -> ChangeId {
        ChangeId(self.next(3))
    }
    fn next_request(&self) -> BuildRequestId {
        BuildRequestId(self.next(4))
    }
    fn next_scheduler(&self) -> SchedulerId {
        SchedulerId(self.next(5))
    }
    fn next_worker(&self) -> WorkerId {
        WorkerId(self.next(6))
    }
}

/// Ids and secrets for pools, one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coins(Arc<AtomicI64>);

impl Coins {
    fn next(&self) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl ::pools::Mint for Coins {
    fn next_instance(&mut self) -> InstanceId {
        InstanceId(self.next())
    }
    fn token(&mut self) -> ::pools::Token {
        ::pools::Token(format!("token-{}", self.next()))
    }
    fn secret(&mut self) -> SecretString {
        format!("secret-{}", self.next()).into()
    }
    fn verifier(&self, secret: &SecretString) -> ::pools::Verifier {
        ::pools::Verifier(secret.expose_secret().to_owned())
    }
    fn ticket(&self, pool: &str, token: &::pools::Token, expires: Time) -> SecretString {
        format!("1.{}.{pool}-{token}", expires.epoch_seconds()).into()
    }
}

/// A core, the time, and what it said last.
pub(super) struct World {
    pub(super) core: Core,
    pub(super) now: Time,
    pub(super) batch: Batch,
}

impl World {
    pub(super) fn new(text: &str) -> Self {
        Self::restored(text, Restored::default(), BTreeMap::new())
    }

    pub(super) fn restored(
        text: &str,
        restored: Restored,
        changes: BTreeMap<BuildsetId, Vec<Arc<Change>>>,
    ) -> Self {
        Self::configured(config(text), restored, changes)
    }

    pub(super) fn configured(
        config: Arc<Config>,
        restored: Restored,
        changes: BTreeMap<BuildsetId, Vec<Arc<Change>>>,
    ) -> Self {
        let ids = Box::new(Counters::default());
        let hiring = Hiring::new(&config, Box::new(Coins::default()));
        let (core, batch) = Core::new(config, restored, changes, hiring, ids, START);
        Self { core, now: START, batch }
    }

    pub(super) fn event(&mut self, event: Event) -> &mut Self {
        self.batch = self.core.handle(self.now, event);
        self
    }

    /// Lets time pass, stopping wherever something is due; keeps all that comes of it.
    pub(super) fn pass(&mut self, time: Duration) -> &mut Self {
        let end = self.now + time;
        self.batch = Batch::default();
        while let Some(due) = self.core.next_deadline().filter(|due| *due <= end) {
            let Batch { writes, actions, notices } = self.core.handle_timeout(due);
            self.batch.writes.extend(writes);
            self.batch.actions.extend(actions);
            self.batch.notices.extend(notices);
        }
        self.now = end;
        self
    }

    pub(super) fn login(&mut self, session: u64, worker: &str) -> &mut Self {
        self.event(Event::LoggedIn { session: SessionId(session), worker: worker.to_owned() })
    }

    /// Logs a worker in and makes it ready.
    pub(super) fn connect(&mut self, session: u64, worker: &str) -> &mut Self {
        let id = SessionId(session);
        self.login(session, worker).event(Event::Attached { session: id, info: Json::Null, boot: None });
        self.event(Event::Ready { session: id })
    }

    pub(super) fn lose(&mut self, session: u64) -> &mut Self {
        self.event(Event::Lost { session: SessionId(session), why: "connection lost".to_owned() })
    }

    pub(super) fn force(&mut self, builders: &[&str], priority: i64) -> &mut Self {
        let builder_names = builders.iter().map(|name| (*name).to_owned()).collect();
        let force = Force {
            scheduler: "force".to_owned(),
            builder_names,
            priority: Some(priority),
            owner: "me".to_owned(),
            ..Force::default()
        };
        self.event(Event::Force { force: Box::new(force), reply: ReplyId(0) })
    }

    pub(super) fn finish(&mut self, build: i64, results: Results) -> &mut Self {
        let state_string = format!("build {results}");
        self.event(Event::BuildFinished { build: BuildId(build), results, state_string })
    }

    pub(super) fn stop(&mut self, build: i64) -> &mut Self {
        let (build, reason) = (BuildId(build), "not wanted".to_owned());
        self.event(Event::StopBuild { build, reason, reply: ReplyId(0) })
    }

    pub(super) fn cancel(&mut self, request: i64) -> &mut Self {
        let (request, reason) = (BuildRequestId(request), "not wanted".to_owned());
        self.event(Event::CancelRequest { request, reason, reply: ReplyId(0) })
    }

    pub(super) fn change(&mut self, change: Change) -> &mut Self {
        self.event(Event::Change { change: Box::new(change), reply: ReplyId(0) })
    }

    pub(super) fn reload(&mut self, text: &str) -> &mut Self {
        self.event(Event::Reconfigure { config: config(text), known: Box::default(), reply: ReplyId(0) })
    }

    pub(super) fn reload_knowing(&mut self, text: &str, known: Known) -> &mut Self {
        self.event(Event::Reconfigure { config: config(text), known: Box::new(known), reply: ReplyId(0) })
    }

    /// What the last event led to, as text.
    #[track_caller]
    pub(super) fn expect(&mut self, expect: &str) -> &mut Self {
        self.compare(expect, |_| true)
    }

    /// What the last event led to, without rows.
    #[track_caller]
    pub(super) fn expect_actions(&mut self, expect: &str) -> &mut Self {
        self.compare(expect, |line| !line.starts_with('+'))
    }

    #[track_caller]
    fn compare(&mut self, expect: &str, kept: impl Fn(&str) -> bool) -> &mut Self {
        let all = text(&self.batch);
        let got: Vec<&str> = all.lines().filter(|line| kept(line)).collect();
        let expect: Vec<&str> = expect.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(got, expect, "\n--- got:\n{}\n", got.join("\n"));
        self
    }

    #[track_caller]
    pub(super) fn why(&mut self, request: i64, expect: &str) -> &mut Self {
        assert_eq!(self.core.why(BuildRequestId(request)).text, expect);
        self
    }
}

/// A batch as text: rows with a `+`, then actions. Properties of builds are left out, they have a test of their own.
pub(super) fn text(batch: &Batch) -> String {
    let mut lines = Vec::new();
    for write in &batch.writes {
        match write {
            Write::BuildProperty { .. } => {}
            Write::CompleteRequest { request, results, .. } => {
                lines.push(format!("+ request {request}: {results}"))
            }
            Write::CompleteBuildset { buildset, results, .. } => {
                lines.push(format!("+ buildset {buildset}: {results}"));
            }
            Write::BuildFinished { build, results, .. } => lines.push(format!("+ build {build}: {results}")),
            Write::WorkerState { worker, paused, graceful, .. } => {
                lines.push(format!("+ worker {worker}: paused {paused}, graceful {graceful}"));
            }
            Write::SchedulerChangesDone { scheduler, changes } => {
                lines.push(format!("+ scheduler {scheduler} has done {changes:?}"));
            }
            Write::ConfiguredWorker { worker, builders } => {
                let builders: Vec<_> = builders.iter().map(|builder| builder.0).collect();
                lines.push(format!("+ worker {worker} builds {builders:?}"));
            }
            other => lines.push(format!("+ {other}")),
        }
    }
    lines.extend(batch.actions.iter().map(action));
    lines.join("\n")
}

fn action(action: &Action) -> String {
    let list = |builders: &[super::BuilderDir]| {
        let names = builders.iter().map(|builder| {
            if builder.name == builder.dir {
                builder.name.clone()
            } else {
                format!("{}@{}", builder.name, builder.dir)
            }
        });
        names.collect::<Vec<_>>().join(" ")
    };
    match action {
        Action::Admit { session, builders } => format!("admit {session}: {}", list(builders)),
        Action::Refuse { session, why } => format!("refuse {session}: {why}"),
        Action::Probe { session } => format!("probe {session}"),
        Action::SetBuilders { session, builders } => format!("builders for {session}: {}", list(builders)),
        Action::Disconnect { session, why } => format!("disconnect {session}: {why}"),
        Action::ShutdownWorker { session } => format!("shut down {session}"),
        Action::StartBuild(order) => format!(
            "start {}: {} #{} on {} for {:?}",
            order.build,
            order.builder.name,
            order.number,
            order.worker.name,
            order.requests.iter().map(|request| request.0).collect::<Vec<_>>()
        ),
        Action::InterruptBuild { build, reason, results } => {
            format!("interrupt {build} ({results}): {reason}")
        }
        Action::Locks { build, step, wait: None } => format!("step {step} of build {build} has its locks"),
        Action::Locks { build, step, wait: Some(wait) } => format!("step {step} of build {build}: {wait}"),
        Action::Provider(order) => provider(order),
        Action::Credential { instance, pool, verifier } => {
            let what = if verifier.is_some() { "a secret" } else { "nothing" };
            format!("{pool}@{instance} proves {what}")
        }
        Action::Reply { answer: Answer::Refused(refusal), .. } => format!("refused: {refusal}"),
        Action::Reply { answer: Answer::Reconfigured { changes }, .. } => {
            format!("changed: {}", changes.join("; ")).trim_end().to_owned()
        }
        Action::Reply { answer, .. } => format!("{answer:?}"),
        Action::Drained => "drained".to_owned(),
    }
}

/// An order to a provider, without what is made up at random.
fn provider(order: &Order) -> String {
    match order {
        Order::Launch(request) => {
            let members: Vec<String> =
                request.members.iter().map(|member| member.instance.to_string()).collect();
            format!("launch {} of {}: {}", members.len(), request.pool, members.join(" "))
        }
        Order::List { pool } => format!("list {pool}"),
        Order::Terminate { provider_id, .. } => format!("terminate {provider_id}"),
        other => format!("{other:?}"),
    }
}

/// The order of the last `StartBuild`.
pub(super) fn last_order(batch: &Batch) -> &super::BuildOrder {
    let orders = batch.actions.iter().filter_map(|action| match action {
        Action::StartBuild(order) => Some(&**order),
        _ => None,
    });
    orders.collect::<VecDeque<_>>().pop_back().expect("a build was started")
}
