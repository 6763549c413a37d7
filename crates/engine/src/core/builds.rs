//! Builds: how they start, how they are stopped, and what their end means.

use std::{sync::Arc, time::Duration};

use model::{BuildId, BuildNumber, BuildRequestId, BuilderId, InstanceId, Results, Time, WorkerId};
use pools::Event as PoolEvent;
use storage::Write;

use super::{
    Action, Answer, BuildOrder, Core, Refusal, ReplyId, SessionId, TriggeredBuild,
    builders::QueueKey,
    locks::{Claim, StepLocks},
    properties,
    requests::Buildset,
    workers::{Freed, Verdict},
};
use crate::Notice;

/// A build that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) number: BuildNumber,
    pub(super) builder: BuilderId,
    /// The builder that it is recorded under: the same, or a virtual one.
    pub(super) recorded: BuilderId,
    /// Its directory on the worker: stays until it is done, whatever the configuration says by then.
    pub(super) dir: String,
    pub(super) worker: WorkerId,
    pub(super) session: SessionId,
    /// The instance of a pool that it runs on.
    pub(super) instance: Option<InstanceId>,
    /// Whether the pools have not been told yet that it is over.
    pub(super) is_counted: bool,
    pub(super) requests: Vec<BuildRequestId>,
    pub(super) started_at: Time,
    /// What it was told to end as, if it was.
    pub(super) stopping: Option<Results>,
    /// It waits for what it has triggered: who hears of that.
    pub(super) waits: Option<ReplyId>,
    /// What it has of locks until it ends.
    pub(super) locks: Vec<Claim>,
    /// What its step has of locks, or waits for.
    pub(super) step: Option<StepLocks>,
    /// How long its steps have waited for locks.
    pub(super) locks_wait: Duration,
}

impl Core {
    /// Starts a build of a request of `builder` on `worker`. Both are free, and so are the locks; the request is there.
    pub(super) fn start(&mut self, now: Time, builder_id: BuilderId, worker_id: WorkerId, key: QueueKey) {
        let Some(builder) = self.builders.get(&builder_id) else { return };
        let Some(config) = builder.config.clone() else { return };
        let Some(worker) = self.workers.get(&worker_id) else { return };
        let (Some(worker_config), Some(session)) = (worker.config.clone(), worker.link.session()) else {
            return;
        };
        let instance = worker.place.as_ref().and_then(|place| place.instance);
        let request_id = key.2;
        let Some(request) = self.requests.get(&request_id) else { return };
        let (buildset_id, priority, waited) =
            (request.buildset, request.priority, now.since(request.submitted_at));
        let Some(buildset) = self.buildsets.get(&buildset_id) else { return };
        let Buildset { reason, sourcestamps, changes, properties, .. } = buildset;
        let (reason, sourcestamps) = (reason.clone(), sourcestamps.to_vec());
        let (changes, properties) = (changes.to_vec(), Arc::clone(properties));

        let build = self.ids.next_build();
        let owners = properties::owners(&changes, &sourcestamps, &properties);
        let mut properties = properties::of_build(&properties::Sources {
            builder: &config,
            builder_id,
            worker: &worker_config,
            request: &properties,
            changes: &changes,
            sourcestamps: &sourcestamps,
            owners: &owners,
        });
        let (recorded, number) = self.recorded_under(builder_id, &config, &properties);
        properties.set("buildnumber", number.0, "Build");
        if let Some(row) = instance.and_then(|instance| self.pools.instance(instance)) {
            let hirer = self.hirers.get(&*row.slot.pool);
            let kind = hirer.and_then(|hirer| hirer.types.get(&row.offering)).map_or("", String::as_str);
            properties::of_instance(&mut properties, row, kind, waited);
        }

        self.dequeue(builder_id, key);
        if let Some(request) = self.requests.get_mut(&request_id) {
            request.build = Some(build);
        }
        if let Some(builder) = self.builders.get_mut(&recorded) {
            builder.last_number = number;
        }
        if let Some(builder) = self.builders.get_mut(&builder_id) {
            builder.running.insert(build, worker_id);
        }
        self.turn += 1;
        if let Some(worker) = self.workers.get_mut(&worker_id) {
            worker.running.insert(builder_id, build);
            worker.last_turn = self.turn;
        }
        let locks = self.claims(&config.locks, worker_id);
        self.claim(build, &locks);
        self.refresh_worker(worker_id);
        self.builds.insert(
            build,
            Running {
                number,
                builder: builder_id,
                recorded,
                dir: config.workerbuilddir.clone(),
                worker: worker_id,
                session,
                instance,
                is_counted: instance.is_some(),
                requests: vec![request_id],
                started_at: now,
                stopping: None,
                waits: None,
                locks,
                step: None,
                locks_wait: Duration::ZERO,
            },
        );

        self.write(Write::Claim { request: request_id, at: now });
        self.write(Write::Build {
            id: build,
            number,
            builder: recorded,
            request: request_id,
            worker: Some(worker_id),
            started_at: now,
            state_string: "starting".to_owned(),
        });
        for (name, property) in &properties {
            self.write(Write::BuildProperty {
                build,
                name: name.clone(),
                value: property.value.clone(),
                source: property.source.clone(),
            });
        }
        self.notify(Notice::RequestClaimed { request: request_id });
        self.notify(Notice::BuildStarted {
            build,
            number,
            builder: recorded,
            request: request_id,
            worker: worker_id,
            started_at: now,
        });
        self.act(Action::StartBuild(Box::new(BuildOrder {
            build,
            number,
            builder: config,
            builder_id: recorded,
            worker: worker_config,
            worker_id,
            session,
            requests: vec![request_id],
            buildset: buildset_id,
            sourcestamps,
            changes,
            properties,
            reason,
            owners,
            started_at: now,
        })));
        if let Some(instance) = instance {
            let (builder, request) = (builder_id, request_id);
            self.tell(now, PoolEvent::BuildStarted { instance, build, builder, request, priority, waited });
        }
    }

    /// Somebody stops a build.
    pub(super) fn stop_build(&mut self, now: Time, build: BuildId, reason: String, reply: ReplyId) {
        if !self.builds.contains_key(&build) {
            return self.refuse(reply, Refusal::NoSuchBuild(build));
        }
        self.interrupt(now, build, reason, Results::Cancelled);
        self.reply(reply, Answer::Done);
    }

    /// Has a running build ended as `results`; CANCELLED outdoes RETRY, nothing is told twice. What it has triggered and
    /// waits for is cancelled.
    pub(super) fn interrupt(&mut self, now: Time, build: BuildId, reason: String, results: Results) {
        let Some(running) = self.builds.get_mut(&build) else { return };
        if running.stopping.is_some_and(|before| before.worst(results) == before) {
            return;
        }
        running.stopping = Some(results);
        let waits = running.waits;
        self.act(Action::InterruptBuild { build, reason, results });
        if let Some(waiter) = waits {
            self.cancel_triggered(now, waiter);
        }
    }

    /// A build's executor is done with it.
    pub(super) fn build_finished(
        &mut self,
        now: Time,
        build: BuildId,
        results: Results,
        state_string: String,
    ) {
        let Some(mut running) = self.builds.remove(&build) else { return };
        let step = running.step.take();
        let locks_duration = running.locks_wait;
        let Running {
            number,
            builder,
            recorded,
            dir,
            worker,
            session,
            instance,
            requests,
            started_at,
            locks,
            ..
        } = running;
        let (stopping, is_counted, waits) = (running.stopping, running.is_counted, running.waits);
        // A build that somebody stopped is not done again because its worker went away meanwhile.
        let results = match (results, stopping) {
            (Results::Retry, Some(Results::Cancelled)) => Results::Cancelled,
            (results, _) => results,
        };
        self.write(Write::BuildFinished {
            build,
            results,
            at: now,
            state_string: state_string.clone(),
            locks_duration,
        });
        self.notify(Notice::BuildFinished { build, number, builder: recorded, results, state_string });
        if let Some(builder) = self.builders.get_mut(&builder) {
            builder.running.remove(&build);
        }
        let name = self.builders.get(&recorded).map(|builder| builder.name.to_string()).unwrap_or_default();
        if let Some(waiter) = waits {
            self.end_waiting(now, waiter);
        }
        for request in requests {
            if let Some(request) = self.requests.get_mut(&request).filter(|request| request.waiter.is_some())
            {
                let (builder, builder_id) = (name.clone(), recorded);
                request.ended.push(TriggeredBuild { builder, builder_id, number, results });
            }
            if results == Results::Retry {
                if let (Some(instance), Some(Results::Retry)) = (instance, stopping) {
                    self.note_loss(request, instance);
                }
                self.unclaim(request);
            } else {
                self.cancel_after_failure(now, request, results);
                self.complete_request(now, request, results);
            }
        }
        let verdict = match results {
            // A worker that the build was taken from has shown nothing.
            Results::Exception | Results::Retry if stopping.is_some() => Verdict::None,
            Results::Exception | Results::Retry => Verdict::Failed,
            _ => Verdict::Sane,
        };
        if let Some(instance) = instance.filter(|_| is_counted) {
            let machinery_failed = verdict == Verdict::Failed;
            self.tell(now, PoolEvent::BuildEnded { instance, build, results, machinery_failed });
        }
        self.build_took(now, builder, results, now.since(started_at));
        if let Some(step) = step {
            self.give_back(now, build, &step);
        }
        self.release(build, &locks);
        self.locks_freed(now, &locks);
        self.worker_freed(now, worker, Freed { builder, dir, session, verdict });
        self.offer_worker(now, worker);
        self.offer_builder(now, builder);
        self.note_drained();
    }

    /// Pools learn how long builds of their builders take, wherever those run.
    fn build_took(&mut self, now: Time, builder: BuilderId, results: Results, duration: Duration) {
        if self.builders.get(&builder).is_none_or(|builder| builder.pools.is_empty()) {
            return;
        }
        if matches!(results, Results::Success | Results::Warnings | Results::Failure) {
            self.tell(now, PoolEvent::BuildTook { builder, duration });
        }
        self.pools.kick(now);
    }

    /// Lets a request wait again, with its age.
    fn unclaim(&mut self, id: BuildRequestId) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        request.build = None;
        let (builder, key) = (request.builder, request.key(id));
        self.write(Write::Unclaim { request: id });
        self.notify(Notice::RequestUnclaimed { request: id });
        self.enqueue(builder, key);
    }
}
