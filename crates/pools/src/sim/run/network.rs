//! What happens to machines and to the connections of their workers.

use std::{sync::Arc, time::Duration};

use model::{InstanceId, Results, Time};

use super::{Master, Simulation, What};
use crate::{
    Event, Identity, Warning,
    provider::MachineStatus,
    sim::{farm::build_id, policy::Policy, random::Random},
};

/// A worker that has had no master for so long, and builds nothing, switches its machine off.
const DEAD_MAN: Duration = Duration::from_secs(1800);
/// How often it tries to find one.
const KNOCK: Duration = Duration::from_secs(30);

impl<P: Policy> Simulation<P> {
    /// A worker wants in.
    pub(super) fn knock(&mut self, machine: usize, boot: u32, since: Time) {
        let entry = &self.cloud.machines[machine];
        let (instance, pool) = (entry.member, entry.pool);
        if !entry.is_live()
            || entry.stopped.1.is_some()
            || entry.boots != boot
            || self.connected.contains_key(&instance)
        {
            return;
        }
        if self.now.since(since) > DEAD_MAN {
            self.lose_machine(machine, "it has had no master for too long");
            return;
        }
        self.cloud.machines[machine].status = MachineStatus::Running;
        if self.master != Master::Runs || self.cloud.faults.split {
            self.plan(self.now + KNOCK, What::Knock(machine, boot, since));
            return;
        }
        let name = self.setting.pools[pool].name.clone();
        let (admitted, batch) = self.policy.log_in(self.clock(), &name, instance, boot);
        if admitted {
            self.connected.insert(instance, machine);
        } else {
            self.refused += 1;
            self.plan(self.now + KNOCK, What::Knock(machine, boot, since));
        }
        self.apply(batch);
        if !admitted || self.master != Master::Runs {
            return;
        }
        let identity = Identity { boot: Some(format!("boot-{machine}-{boot}")), ..Identity::default() };
        self.tell(Event::Identified { instance, identity });
        if self.connected.contains_key(&instance) && self.master == Master::Runs {
            let max_builds = self.setting.pools[pool].max_builds.map(std::num::NonZeroU32::get);
            let name: Arc<str> = name.as_str().into();
            self.farm.attach(self.now, instance, name, max_builds, true);
            self.tell(Event::Ready { instance });
        }
    }

    /// The connection of an instance's worker is gone; it comes back when its machine is still there.
    pub fn disconnect(&mut self, instance: InstanceId, why: &str) {
        let Some(machine) = self.connected.remove(&instance) else { return };
        let offering = self.cloud.machines[machine].offering.clone();
        let lost = self.farm.detach(instance, Some(&offering));
        self.unload(instance, lost.len());
        self.lost += lost.len() as u64;
        if self.cloud.machines[machine].is_live() && self.cloud.machines[machine].stopped.1.is_none() {
            let boot = self.cloud.machines[machine].boots;
            self.plan(self.now + KNOCK, What::Knock(machine, boot, self.now));
        }
        for build in lost {
            self.end_build(instance, build);
        }
        self.tell(Event::Disconnected { instance, why: why.to_owned() });
    }

    pub(super) fn end_build(&mut self, instance: InstanceId, build: usize) {
        let results = Results::Retry;
        self.tell(Event::BuildEnded { instance, build: build_id(build), results, machinery_failed: false });
    }

    pub(super) fn unload(&mut self, instance: InstanceId, builds: usize) {
        let Some(machine) = self.machine_of.get(&instance) else { return };
        let machine = &mut self.cloud.machines[*machine];
        if builds > 0 && machine.running.0 <= builds {
            machine.busy += self.now.since(machine.running.1);
        }
        machine.running.0 = machine.running.0.saturating_sub(builds);
    }

    /// A machine is gone, and nobody here asked for it.
    pub fn lose_machine(&mut self, machine: usize, why: &str) {
        if self.cloud.end(self.now, machine) {
            let instance = self.cloud.machines[machine].member;
            self.disconnect(instance, why);
        }
    }

    /// The market warns that it takes a machine, and does so at that time.
    pub fn give_notice(&mut self, machine: usize, ahead: Duration) {
        let at = self.now + ahead;
        self.cloud.machines[machine].notice = Some(at);
        self.plan(at, What::Take(machine));
        let instance = self.cloud.machines[machine].member;
        let told = Time::from_micros(at.micros().saturating_add(self.clock));
        self.tell(Event::Warned { instance, warning: Warning::Interruption(told) });
    }

    /// Cuts off a share of the machines that run, without a word: a storm on the spot market.
    pub fn storm(&mut self, share: f64, seed: u64) -> usize {
        let mut random = Random::stream(seed, 4);
        let running: Vec<usize> =
            (0..self.cloud.machines.len()).filter(|index| self.cloud.machines[*index].is_live()).collect();
        let mut taken = 0;
        for machine in running {
            if random.chance(share) {
                taken += 1;
                self.lose_machine(machine, "the market took it");
            }
        }
        taken
    }

    /// Machines and workers that are connected.
    pub fn connected(&self) -> impl Iterator<Item = (InstanceId, usize)> {
        let mut all: Vec<(InstanceId, usize)> =
            self.connected.iter().map(|(id, machine)| (*id, *machine)).collect();
        all.sort_unstable();
        all.into_iter()
    }

    /// The network between master and workers is cut, and both sides see it.
    pub fn cut(&mut self) {
        self.cloud.faults.split = true;
        for (instance, _) in self.connected().collect::<Vec<_>>() {
            self.disconnect(instance, "the network is cut");
        }
    }
}
