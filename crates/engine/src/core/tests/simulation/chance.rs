//! What happens next, by chance.

use std::{sync::Arc, time::Duration};

use config::{LockAccess, LockMode};
use model::{BuildId, BuildRequestId, Change, Json, Results, StepId};

use super::{
    super::super::Trigger,
    super::{Event, Force, Known, ReplyId, SessionId, config},
    Sim, Stage,
};

/// Xorshift: enough to be unpredictable, and the same everywhere.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    pub(super) fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() { None } else { all.get(self.roll(all.len())) }
    }
}

impl Sim {
    pub(super) fn step(&mut self) {
        let reply = ReplyId(0);
        let sessions: Vec<u64> = self.sessions.keys().copied().collect();
        match self.dice.roll(34) {
            0..3 => {
                let worker = self.dice.roll(self.world.workers);
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
            30..34 => self.lock_something(),
            13..16 => {
                let scheduler = "force".to_owned();
                let builder = format!("b{}", self.dice.roll(self.world.builders));
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
                let index = self.dice.roll(self.world.workers);
                let worker = format!("w{index}");
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
                self.current = self.dice.roll(self.world.configs.len());
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

    /// A step of some build asks for locks, or is done with them.
    pub(super) fn lock_something(&mut self) {
        let jobs: Vec<BuildId> = self.jobs.keys().copied().collect();
        let Some(&build) = self.dice.pick(&jobs) else { return };
        if let Some(step) = self.ledger.step_of(build) {
            self.ledger.returned(build);
            return self.event(Event::ReturnLocks { build, step });
        }
        let of_build = self.jobs[&build].locks.clone();
        // In one order, as whoever wants no deadlock between steps and builds takes them: builds before steps.
        let wanted: Vec<LockAccess> = ["db", "net", "cpu"]
            .into_iter()
            .filter(|name| self.dice.roll(2) == 0 && !of_build.iter().any(|access| access.lock == *name))
            .map(|name| LockAccess {
                lock: name.to_owned(),
                mode: if name == "db" { LockMode::Counting(1) } else { LockMode::Exclusive },
            })
            .filter(|access| self.ledger.config.locks.contains_key(&access.lock))
            .collect();
        if wanted.is_empty() {
            return;
        }
        self.last_step += 1;
        let step = StepId(self.last_step);
        let worker = self.jobs[&build].worker.clone();
        self.ledger.ask(build, step, &worker, wanted.clone());
        self.event(Event::TakeLocks { build, step, locks: wanted });
    }

    pub(super) fn reload(&mut self) {
        let config = config(&self.world.configs[self.current]);
        self.ledger.config = Arc::clone(&config);
        self.event(Event::Reconfigure { config, known: Box::<Known>::default(), reply: ReplyId(0) });
    }

    pub(super) fn login(&mut self, worker: usize) {
        self.last_session += 1;
        self.sessions.insert(self.last_session, (worker, Stage::Waiting));
        let session = SessionId(self.last_session);
        self.event(Event::LoggedIn { session, worker: format!("w{worker}") });
    }

    pub(super) fn advance(&mut self, session: u64) {
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

    pub(super) fn lose(&mut self, session: u64) {
        self.sessions.remove(&session);
        self.probed.remove(&session);
        self.event(Event::Lost { session: SessionId(session), why: "test".to_owned() });
    }

    pub(super) fn finish(&mut self, build: BuildId, results: Results) {
        if let Some(job) = self.jobs.remove(&build) {
            self.ledger.ended(build);
            let results = job.told.unwrap_or(results);
            self.event(Event::BuildFinished { build, results, state_string: String::new() });
        }
    }
}
