//! Rules of other systems, as they were read in their sources. They are models of how many machines each would start
//! and when each would end one, not of the products around them: all get the same cloud, and none its own outages.

mod buildbot;
mod buildkite;
mod edge;
mod evergreen;
mod members;
mod net_demand;
mod taskcluster;
mod watch_pending;
mod woodpecker;

use std::{fmt, time::Duration};

use model::{InstanceId, Time};

use self::members::Members;
use super::{
    farm::{Farm, Preference},
    policy::Policy,
    run::Setting,
};
use crate::{Batch, Event};

/// Whose rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Choice {
    /// Buildbot's latent workers.
    Buildbot,
    /// Mozilla's `aws_watch_pending`.
    WatchPending,
    /// Taskcluster's estimator.
    Taskcluster,
    /// Jenkins' strategy without delay.
    NetDemand,
    /// The same with a shorter time without work.
    NetDemandShort,
    /// Woodpecker's autoscaler.
    Woodpecker,
    /// Buildkite's agent scaler with its cool-down.
    Buildkite,
    /// One machine for each event, as webhook-driven runners do.
    Edge,
    /// Evergreen's allocator with its default of 30 min.
    Evergreen,
    /// The same with 5 min.
    EvergreenShort,
}

impl Choice {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Buildbot,
        Self::WatchPending,
        Self::Taskcluster,
        Self::NetDemand,
        Self::Woodpecker,
        Self::Buildkite,
        Self::Edge,
        Self::Evergreen,
        Self::EvergreenShort,
        Self::NetDemandShort,
    ];

    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Buildbot => "buildbot",
            Self::WatchPending => "watch-pending",
            Self::Taskcluster => "taskcluster",
            Self::NetDemand => "net-demand",
            Self::NetDemandShort => "net-demand-300",
            Self::Woodpecker => "woodpecker",
            Self::Buildkite => "buildkite",
            Self::Edge => "edge",
            Self::Evergreen => "evergreen",
            Self::EvergreenShort => "evergreen-5",
        }
    }

    /// What it is, in a few words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Buildbot => "Buildbot latent workers: one random worker for each claimed request",
            Self::WatchPending => "Mozilla aws_watch_pending, every 5 min",
            Self::Taskcluster => "Taskcluster's estimator, as it reads",
            Self::NetDemand => "net demand (Jenkins NoDelay), idle 600 s",
            Self::NetDemandShort => "net demand, idle 300 s",
            Self::Woodpecker => "Woodpecker's autoscaler",
            Self::Buildkite => "Buildkite with its cool-down of 300 s",
            Self::Edge => "one machine for each event (webhook-driven runners)",
            Self::Evergreen => "Evergreen's allocator, T = 30 min",
            Self::EvergreenShort => "Evergreen's allocator, T = 5 min",
        }
    }

    /// Which of several idle workers the dispatcher takes. Nothing is known of most of them, and random choice agrees best
    /// with what was measured of these rules before; it matters little (fewer launches against more time without work).
    pub fn preference(self) -> Preference {
        if self == Self::NetDemandShort { Preference::LastUsed } else { Preference::Any }
    }

    /// The policy for the first pool of a setting.
    pub fn policy(self, setting: &Setting) -> Box<dyn Policy> {
        let members = Members::new(setting);
        match self {
            Self::Buildbot => Box::new(buildbot::Buildbot::new(members, setting.seed)),
            Self::WatchPending => Ruled::boxed(members, self, watch_pending::WatchPending::default()),
            Self::Taskcluster => Ruled::boxed(members, self, taskcluster::Taskcluster),
            Self::NetDemand => {
                Ruled::boxed(members, self, net_demand::NetDemand { idle: Duration::from_secs(600) })
            }
            Self::NetDemandShort => {
                Ruled::boxed(members, self, net_demand::NetDemand { idle: Duration::from_secs(300) })
            }
            Self::Woodpecker => Ruled::boxed(members, self, woodpecker::Woodpecker),
            Self::Buildkite => Ruled::boxed(members, self, buildkite::Buildkite::default()),
            Self::Edge => Ruled::boxed(members, self, edge::Edge::default()),
            Self::Evergreen => {
                Ruled::boxed(members, self, evergreen::Evergreen { threshold: Duration::from_secs(1800) })
            }
            Self::EvergreenShort => {
                Ruled::boxed(members, self, evergreen::Evergreen { threshold: Duration::from_secs(300) })
            }
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How many machines to start, decided again and again.
trait Rule: fmt::Debug {
    /// How often it is asked.
    fn period(&self) -> Duration;

    /// How many machines to start now.
    fn wanted(&mut self, view: &View<'_>) -> u32;

    /// How many machines one call may ask for.
    fn batch(&self) -> u32 {
        u32::MAX
    }

    /// Whether it makes calls that the cloud will turn away.
    fn is_blind(&self) -> bool {
        false
    }

    /// So many machines of those that it wanted were started.
    fn started(&mut self, _machines: usize) {}

    /// When a machine without work leaves, unless it gets some.
    fn leaves_at(&self, _asked_at: Time, idle_since: Time) -> Time {
        idle_since + Duration::from_secs(600)
    }
}

/// What a rule can see.
#[derive(Debug)]
struct View<'a> {
    now: Time,
    farm: &'a Farm,
    members: &'a Members,
    /// Requests that wait.
    pending: u32,
    /// Machines that were asked for and are not connected.
    booting: u32,
    /// Machines without work.
    idle: u32,
    /// Machines with work.
    busy: u32,
}

impl View<'_> {
    fn live(&self) -> u32 {
        self.booting + self.idle + self.busy
    }
}

/// A policy that is a rule for starting machines, and a time after which those without work leave.
#[derive(Debug)]
struct Ruled<R> {
    members: Members,
    choice: Choice,
    rule: R,
    next_pass: Time,
}

impl<R: Rule + 'static> Ruled<R> {
    fn boxed(members: Members, choice: Choice, rule: R) -> Box<dyn Policy> {
        Box::new(Self { members, choice, rule, next_pass: Time::default() })
    }
}

impl<R: Rule> Policy for Ruled<R> {
    fn name(&self) -> String {
        self.choice.name().to_owned()
    }

    fn begin(&mut self, now: Time, _farm: &mut Farm) -> Batch {
        self.next_pass = now;
        Batch::default()
    }

    fn handle(&mut self, now: Time, event: Event) -> Batch {
        let mut batch = Batch::default();
        if let Some((instance, asked_at)) = self.members.note(now, event, &mut batch) {
            self.members.leave_later(instance, self.rule.leaves_at(asked_at, now));
        }
        batch
    }

    fn log_in(&mut self, _now: Time, _pool: &str, instance: InstanceId, _boot: u32) -> (bool, Batch) {
        (self.members.admits(instance), Batch::default())
    }

    fn next(&self) -> Option<Time> {
        let other = self.members.next_deadline();
        Some(other.map_or(self.next_pass, |other| other.min(self.next_pass)))
    }

    fn wake(&mut self, now: Time, farm: &mut Farm) -> Batch {
        let mut batch = Batch::default();
        self.members.end_overdue(now, &mut batch);
        if now >= self.next_pass {
            self.next_pass = now + self.rule.period();
            let view = View {
                now,
                farm,
                members: &self.members,
                pending: u32::try_from(farm.waiting()).unwrap_or(u32::MAX),
                booting: self.members.booting(),
                idle: self.members.idle(),
                busy: self.members.busy(),
            };
            let wanted = self.rule.wanted(&view);
            let started = self.members.launch(now, wanted, self.rule.batch(), &mut batch).len();
            self.rule.started(started);
            if self.rule.is_blind() {
                self.members.launch_in_vain(wanted as usize - started, &mut batch);
            }
        }
        batch
    }

    fn knows(&self, instance: InstanceId) -> bool {
        self.members.admits(instance)
    }
}

impl Policy for Box<dyn Policy> {
    fn name(&self) -> String {
        (**self).name()
    }

    fn begin(&mut self, now: Time, farm: &mut Farm) -> Batch {
        (**self).begin(now, farm)
    }

    fn handle(&mut self, now: Time, event: Event) -> Batch {
        (**self).handle(now, event)
    }

    fn log_in(&mut self, now: Time, pool: &str, instance: InstanceId, boot: u32) -> (bool, Batch) {
        (**self).log_in(now, pool, instance, boot)
    }

    fn next(&self) -> Option<Time> {
        (**self).next()
    }

    fn wake(&mut self, now: Time, farm: &mut Farm) -> Batch {
        (**self).wake(now, farm)
    }

    fn commit(&mut self, batch: &mut Batch) {
        (**self).commit(batch);
    }

    fn restart(&mut self, now: Time) -> Batch {
        (**self).restart(now)
    }

    fn knows(&self, instance: InstanceId) -> bool {
        (**self).knows(instance)
    }

    fn check(&self, now: Time) -> Option<String> {
        (**self).check(now)
    }
}
