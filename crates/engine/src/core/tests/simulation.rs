//! A farm where everything goes wrong, by a seed. After each step the rules hold; in the end all is built.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use model::{BuildId, BuildRequestId, Change, Json, Results, Time};

use super::{
    super::BuildOrder, super::Trigger, Action, Batch, Coins, Core, Counters, Event, Force, Hiring, Known,
    ReplyId, START, SessionId, config, farm, tables::Tables,
};

const WORKERS: [&str; 4] = ["w0", "w1", "w2", "w3"];

/// Configurations to change between. The first has every builder.
fn configs() -> Vec<String> {
    let schedulers = |timer: &str| {
        format!(
            "[[scheduler]]\nname = \"any\"\ntype = \"AnyBranchScheduler\"\nbuilderNames = [\"b0\", \"b1\"]\n{timer}
             [[scheduler]]\nname = \"triggered\"\ntype = \"Triggerable\"\nbuilderNames = [\"b0\", \"b3\"]
             [[scheduler]]\nname = \"after\"\ntype = \"Dependent\"\nupstream = \"one\"\nbuilderNames = [\"b1\"]
             [[scheduler]]\nname = \"one\"\ntype = \"SingleBranchScheduler\"\nbranch = \"x0\"\nbuilderNames = [\"b0\"]\n"
        )
    };
    let limits = [("w0", 1), ("w1", 2), ("w2", 0), ("w3", 1)];
    let full: &[(&str, &[&str])] = &[
        ("b0", &["w0", "w1"]),
        ("b1", &["w0", "w1"]),
        ("b2", &["w1", "w2", "w3"]),
        ("b3", &["w2"]),
        ("b4", &["w0", "w1", "w2", "w3"]),
    ];
    let moved: &[(&str, &[&str])] =
        &[("b4", &["w1"]), ("b0", &["w3"]), ("b1", &["w0", "w1"]), ("b3", &["w2"])];
    vec![
        farm(&limits, full, &schedulers("treeStableTimer = 5")),
        farm(&[("w0", 2), ("w1", 1), ("w2", 1), ("w3", 1)], moved, &schedulers("treeStableTimer = 20")),
        farm(&limits, full, &schedulers("")),
        farm(&limits[1..], &[("b0", &["w1"]), ("b1", &["w1"]), ("b3", &["w2"])], ""),
    ]
}

/// Xorshift: enough to be unpredictable, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() { None } else { all.get(self.roll(all.len())) }
    }
}

fn first_request(action: &Action) -> Option<BuildRequestId> {
    match action {
        Action::StartBuild(order) => order.requests.first().copied(),
        _ => None,
    }
}

/// A worker's end of a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Waiting,
    Admitted,
    Attached,
    Ready,
}

/// A build on a worker.
#[derive(Debug)]
struct Job {
    builder: String,
    worker: String,
    told: Option<Results>,
}

struct Sim {
    core: Core,
    now: Time,
    ids: Counters,
    tables: Tables,
    dice: Dice,
    configs: Vec<String>,
    current: usize,
    sessions: BTreeMap<u64, (usize, Stage)>,
    probed: BTreeSet<u64>,
    last_session: u64,
    last_reply: u64,
    jobs: BTreeMap<BuildId, Job>,
    paused: BTreeSet<usize>,
}

impl Sim {
    fn new(seed: u64) -> Self {
        let (configs, ids) = (configs(), Counters::default());
        let config = config(&configs[0]);
        let hiring = Hiring::new(&config, Box::new(Coins::default()));
        let (core, batch) =
            Core::new(config, Default::default(), BTreeMap::new(), hiring, Box::new(ids.clone()), START);
        let mut sim = Self {
            core,
            now: START,
            ids,
            tables: Tables::default(),
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            configs,
            current: 0,
            sessions: BTreeMap::new(),
            probed: BTreeSet::new(),
            last_session: 0,
            last_reply: 0,
            jobs: BTreeMap::new(),
            paused: BTreeSet::new(),
        };
        sim.take(batch);
        sim
    }

    fn event(&mut self, event: Event) {
        let batch = self.core.handle(self.now, event);
        self.take(batch);
    }

    fn take(&mut self, batch: Batch) {
        let restarting = batch.actions.is_empty() && self.jobs.is_empty();
        let before: BTreeSet<BuildRequestId> = self.tables.requests.keys().copied().collect();
        for write in &batch.writes {
            self.tables.apply(write);
        }
        let mut started: VecDeque<BuildRequestId> = batch.actions.iter().filter_map(first_request).collect();
        for action in batch.actions {
            if let Action::StartBuild(order) = &action {
                started.pop_front();
                self.check_turn(order, &before, &started);
            }
            match action {
                Action::Admit { session, .. } => self.set(session, Stage::Admitted),
                Action::Refuse { session, .. } => {
                    self.sessions.remove(&session.0);
                }
                Action::Probe { session } => {
                    self.probed.insert(session.0);
                }
                Action::Disconnect { session, .. } | Action::ShutdownWorker { session } => {
                    // The end is reported later, if at all before a restart.
                    self.probed.remove(&session.0);
                }
                Action::StartBuild(order) => {
                    let (worker, builder) = (order.worker.name.clone(), order.builder.name.clone());
                    assert!(order.builder.workers.contains(&worker));
                    assert_eq!(
                        self.sessions.get(&order.session.0).map(|(_, stage)| *stage),
                        Some(Stage::Ready)
                    );
                    let on_it: Vec<&Job> = self.jobs.values().filter(|job| job.worker == worker).collect();
                    assert!(on_it.iter().all(|job| job.builder != builder), "{builder} twice on {worker}");
                    let max = order.worker.max_builds.map_or(usize::MAX, |max| max.get() as usize);
                    assert!(on_it.len() < max, "too many builds on {worker}");
                    assert!(self.jobs.insert(order.build, Job { builder, worker, told: None }).is_none());
                }
                Action::InterruptBuild { build, results, .. } => {
                    if let Some(job) = self.jobs.get_mut(&build) {
                        job.told = Some(results);
                    }
                }
                Action::SetBuilders { .. }
                | Action::Reply { .. }
                | Action::Provider(_)
                | Action::Credential { .. }
                | Action::Locks { .. }
                | Action::Drained => {}
            }
        }
        if !restarting {
            self.check();
        }
    }

    /// Whether no request that waited was more urgent than the one that is built now. Of the requests that waited
    /// `before`, those wait that are still open, and those that are started later in the same batch.
    fn check_turn(
        &self,
        order: &BuildOrder,
        before: &BTreeSet<BuildRequestId>,
        later: &VecDeque<BuildRequestId>,
    ) {
        let urgency = |id: &BuildRequestId| {
            let row = &self.tables.requests[id].row;
            (-row.priority, row.submitted_at.epoch_seconds(), *id)
        };
        let status = self.core.builders();
        let waits = |id: &&BuildRequestId| {
            let request = &self.tables.requests[id];
            later.contains(id) || (request.results.is_none() && !request.claimed)
        };
        for id in before.iter().filter(waits).filter(|id| urgency(id) < urgency(&order.requests[0])) {
            let builder = status.iter().find(|builder| builder.id == self.tables.requests[id].row.builder);
            let Some(builder) = builder else { continue };
            let runs = |job: &Job| job.builder == builder.name && job.worker == order.worker.name;
            let could = builder.workers.contains(&order.worker.name) && !self.jobs.values().any(runs);
            assert!(!could, "request {id} of {} was more urgent than {:?}", builder.name, order.requests);
        }
    }

    fn set(&mut self, session: SessionId, stage: Stage) {
        if let Some(state) = self.sessions.get_mut(&session.0) {
            state.1 = stage;
        }
    }

    /// Nothing that could be built is left over, and nothing that waits is less urgent than what could take its place.
    fn check(&self) {
        let status = self.core.status();
        let running: BTreeSet<(&str, &str)> =
            status.running.iter().map(|build| (build.builder.as_str(), build.worker.as_str())).collect();
        assert_eq!(running.len(), self.jobs.len());
        for builder in status.builders.iter().filter(|builder| builder.pending > 0) {
            for worker in status.workers.iter().filter(|worker| builder.workers.contains(&worker.name)) {
                let room = worker.max_builds.is_none_or(|max| worker.running.len() < max as usize);
                let open = worker.link == super::super::LinkStatus::Connected
                    && worker.configured
                    && worker.paused.is_none()
                    && !worker.graceful
                    && worker.quarantined_until.is_none();
                let same = running.contains(&(builder.name.as_str(), worker.name.as_str()));
                assert!(
                    !(room && open && !same),
                    "{} waits although {} could build it",
                    builder.name,
                    worker.name
                );
            }
        }
        let waiting: BTreeSet<BuildRequestId> =
            status.pending.iter().map(|pending| pending.request).collect();
        let open = self.tables.requests.iter().filter(|(_, request)| request.results.is_none());
        for (id, request) in open {
            let built = status.running.iter().any(|build| build.requests.contains(id));
            assert!(waiting.contains(id) != built, "request {id} is lost or doubled");
            assert_eq!(request.claimed, built);
        }
        for pending in &status.pending {
            assert!(!pending.why.text.is_empty());
        }
    }

    fn step(&mut self) {
        let reply = ReplyId(0);
        let sessions: Vec<u64> = self.sessions.keys().copied().collect();
        match self.dice.roll(30) {
            0..3 => {
                let worker = self.dice.roll(WORKERS.len());
                self.login(worker);
            }
            3..7 | 26 | 28..30 if self.dice.roll(8) != 0 => {
                if let Some(&session) = self.dice.pick(&sessions) {
                    self.advance(session);
                }
            }
            7 if self.dice.roll(2) == 0 => {
                if let Some(&session) = self.dice.pick(&sessions) {
                    self.lose(session);
                }
            }
            8 => {
                let probed: Vec<u64> = self.probed.iter().copied().collect();
                if let Some(&session) = self.dice.pick(&probed) {
                    self.probed.remove(&session);
                    let alive = self.dice.roll(2) == 0;
                    self.event(Event::ProbeAnswered { session: SessionId(session), alive });
                }
            }
            9..13 => {
                let jobs: Vec<BuildId> = self.jobs.keys().copied().collect();
                if let Some(&build) = self.dice.pick(&jobs) {
                    let any = *self.dice.pick(&Results::ALL).unwrap();
                    let results = if self.dice.roll(3) == 0 { any } else { Results::Success };
                    self.finish(build, results);
                }
            }
            13..16 => {
                let scheduler = "force".to_owned();
                let builder = format!("b{}", self.dice.roll(5));
                let priority = Some(self.dice.roll(3) as i64);
                let force = Force { scheduler, builder_names: vec![builder], priority, ..Force::default() };
                self.event(Event::Force { force: Box::new(force), reply });
            }
            16 => {
                let branch = Some(format!("x{}", self.dice.roll(3)));
                let change = Box::new(Change { branch, ..Change::default() });
                self.event(Event::Change { change, reply });
            }
            17 => {
                let jobs: Vec<BuildId> = self.jobs.keys().copied().collect();
                if let Some(&build) = self.dice.pick(&jobs) {
                    self.event(Event::StopBuild { build, reason: String::new(), reply });
                }
            }
            18 => {
                let ids: Vec<BuildRequestId> = self.tables.requests.keys().copied().collect();
                if let Some(&request) = self.dice.pick(&ids) {
                    self.event(Event::CancelRequest { request, reason: String::new(), reply });
                }
            }
            27 => {
                let jobs: Vec<BuildId> = self.jobs.keys().copied().collect();
                if let Some(&build) = self.dice.pick(&jobs) {
                    self.last_reply += 1;
                    let reply = ReplyId(self.last_reply);
                    let schedulers = vec!["triggered".to_owned()];
                    let waits = self.dice.roll(2) == 0;
                    let trigger = Box::new(Trigger { build, schedulers, waits, ..Trigger::default() });
                    self.event(Event::Trigger { trigger, reply });
                }
            }
            19 => {
                let index = self.dice.roll(WORKERS.len());
                let worker = WORKERS[index].to_owned();
                if self.paused.remove(&index) {
                    self.event(Event::UnpauseWorker { worker, reply });
                } else if self.dice.roll(3) == 0 {
                    self.paused.insert(index);
                    self.event(Event::PauseWorker { worker, reason: "test".to_owned(), reply });
                }
            }
            20 if self.dice.roll(4) == 0 => {
                if let Some(&session) = self.dice.pick(&sessions) {
                    self.event(Event::WorkerShutdownRequested { session: SessionId(session) });
                }
            }
            21 if self.dice.roll(2) == 0 => {
                self.current = self.dice.roll(self.configs.len());
                self.reload();
            }
            22..26 => {
                let seconds = self.dice.roll(20) as u64;
                self.pass(Duration::from_secs(seconds));
            }
            _ if self.dice.roll(20) == 0 => self.crash(),
            _ => {}
        }
    }

    fn reload(&mut self) {
        let config = config(&self.configs[self.current]);
        self.event(Event::Reconfigure { config, known: Box::<Known>::default(), reply: ReplyId(0) });
    }

    fn login(&mut self, worker: usize) {
        self.last_session += 1;
        self.sessions.insert(self.last_session, (worker, Stage::Waiting));
        let session = SessionId(self.last_session);
        self.event(Event::LoggedIn { session, worker: WORKERS[worker].to_owned() });
    }

    fn advance(&mut self, session: u64) {
        let id = SessionId(session);
        match self.sessions.get(&session).map(|(_, stage)| *stage) {
            Some(Stage::Admitted) => {
                self.set(id, Stage::Attached);
                self.event(Event::Attached { session: id, info: Json::Null, boot: None });
            }
            Some(Stage::Attached) => {
                self.set(id, Stage::Ready);
                self.event(Event::Ready { session: id });
            }
            _ => {}
        }
    }

    fn lose(&mut self, session: u64) {
        self.sessions.remove(&session);
        self.probed.remove(&session);
        self.event(Event::Lost { session: SessionId(session), why: "test".to_owned() });
    }

    fn finish(&mut self, build: BuildId, results: Results) {
        if let Some(job) = self.jobs.remove(&build) {
            let results = job.told.unwrap_or(results);
            self.event(Event::BuildFinished { build, results, state_string: String::new() });
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        let batch = self.core.handle_timeout(self.now);
        self.take(batch);
    }

    /// The master dies, and starts again from the tables.
    fn crash(&mut self) {
        let (restored, changes) = self.tables.restart();
        self.sessions.clear();
        self.probed.clear();
        self.jobs.clear();
        let config = config(&self.configs[self.current]);
        let hiring = Hiring::new(&config, Box::new(Coins::default()));
        let (core, batch) =
            Core::new(config, restored, changes, hiring, Box::new(self.ids.clone()), self.now);
        self.core = core;
        self.take(batch);
    }

    /// All goes well from here: everything comes to its end.
    fn settle(&mut self) {
        self.current = 0;
        self.reload();
        for worker in WORKERS {
            self.event(Event::UnpauseWorker { worker: worker.to_owned(), reply: ReplyId(0) });
        }
        // Workers that were leaving leave, and come back.
        for session in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.lose(session);
        }
        for worker in 0..WORKERS.len() {
            self.login(worker);
        }
        for session in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.advance(session);
            self.advance(session);
        }
        for _ in 0..10_000 {
            while let Some(build) = self.jobs.keys().next().copied() {
                self.finish(build, Results::Success);
            }
            let Some(due) = self.core.next_deadline() else { break };
            self.pass(due.since(self.now));
        }
        let open = self.tables.requests.iter().filter(|(_, request)| request.results.is_none());
        assert_eq!(open.map(|(id, _)| *id).collect::<Vec<_>>(), []);
        assert!(self.tables.buildsets.values().all(|buildset| buildset.results.is_some()));
        assert!(self.tables.builds.values().all(|build| build.results.is_some()));
        assert!(self.tables.pending.is_empty(), "{:?}", self.tables.pending);
        assert_eq!(self.core.next_deadline(), None);
    }
}

#[test]
fn whatever_happens_everything_is_built_once_and_in_order() {
    let mut builds = 0;
    // More with `GANGER_SEEDS=5000`.
    let seeds = std::env::var("GANGER_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(60);
    for seed in 1..=seeds {
        let run = std::panic::catch_unwind(|| {
            let mut sim = Sim::new(seed);
            for _ in 0..300 {
                sim.step();
            }
            sim.settle();
            sim.tables.builds.len()
        });
        match run {
            Ok(built) => builds += built,
            Err(failure) => {
                let seed = format!("seed {seed}");
                panic!("{seed}: {}", failure.downcast_ref::<String>().map_or("see above", String::as_str));
            }
        }
    }
    assert!(builds > 20 * seeds as usize, "the simulation did too little: {builds} builds");
}

#[test]
fn the_same_seed_gives_the_same_batches() {
    let run = || {
        let mut sim = Sim::new(7);
        for _ in 0..300 {
            sim.step();
        }
        sim.settle();
        format!("{:?}", sim.tables)
    };
    assert_eq!(run(), run());
}
