//! Orders, carried out: by the dispatcher at once, by the cloud with an answer that comes later.

use std::time::Duration;

use model::InstanceId;

use super::{Simulation, What};
use crate::{
    Event, Order, ProviderError,
    provider::{ErrorKind, LaunchRequest},
    sim::{
        cloud::{Cloud, CloudMachine},
        policy::Policy,
        random::Random,
    },
};

impl<P: Policy> Simulation<P> {
    pub(super) fn carry_out(&mut self, order: Order) {
        match order {
            Order::Close { instance, .. } => self.farm.set_open(instance, false),
            Order::Open { instance } => self.farm.set_open(instance, true),
            Order::Interrupt { instance, .. } => self.interrupt(instance),
            Order::Disconnect { instance, why } => self.disconnect(instance, &why),
            Order::Shutdown { instance } => {
                if let Some(machine) = self.connected.get(&instance).copied() {
                    self.lose_machine(machine, "it was asked to leave");
                }
            }
            Order::Credential { .. } => {}
            order => {
                if self.passes_boundary() {
                    self.call(order);
                    // Killed after the call, before its answer.
                    self.passes_boundary();
                }
            }
        }
    }

    fn call(&mut self, order: Order) {
        match order {
            Order::Launch(request) => self.launch(&request),
            Order::List { pool } => {
                let Some(index) = self.pool(&pool) else { return };
                let result = self.cloud.list(self.now, index);
                let asked_at = self.clock();
                self.answer(index, Event::Listed { pool, asked_at, result });
            }
            Order::Terminate { instance, pool, provider_id } => {
                let Some(index) = self.pool(&pool) else { return };
                let result = self.terminate(&provider_id);
                self.answer(index, Event::Terminated { instance, result });
            }
            Order::Reap { provider_id, .. } => {
                // A reap that fails is seen at the next listing.
                let _again_later = self.terminate(&provider_id);
            }
            Order::Cancel { .. } => self.cloud.calls += 1,
            Order::Stop { instance, pool, provider_id } => {
                let Some(index) = self.pool(&pool) else { return };
                self.guard_busy(instance, "stopped");
                if let Some(machine) = CloudMachine::index(&provider_id)
                    && self.cloud.stop(self.now, machine)
                {
                    self.disconnect(instance, "it is stopped");
                }
                self.answer(index, Event::Stopped { instance, result: Ok(()) });
            }
            Order::Resume { instance, pool, provider_id } => {
                let Some(index) = self.pool(&pool) else { return };
                if let Some(machine) = CloudMachine::index(&provider_id)
                    && let Some(at) = self.cloud.resume(self.now, machine)
                {
                    let boot = self.cloud.machines[machine].boots;
                    self.plan(at, What::Knock(machine, boot, at));
                }
                self.answer(index, Event::Resumed { instance, result: Ok(()) });
            }
            Order::Console { instance, pool, .. } => {
                let Some(index) = self.pool(&pool) else { return };
                self.cloud.calls += 1;
                self.answer(index, Event::Console { instance, result: Ok("fake console".to_owned()) });
            }
            Order::Close { .. }
            | Order::Open { .. }
            | Order::Interrupt { .. }
            | Order::Disconnect { .. }
            | Order::Shutdown { .. }
            | Order::Credential { .. } => {}
        }
    }

    fn launch(&mut self, request: &LaunchRequest) {
        let Some(pool) = self.pool(&request.pool) else { return };
        let (result, new) = self.cloud.launch(self.now, pool, request);
        for machine in new {
            let entry = &self.cloud.machines[machine];
            let (member, connects_at, dies) = (entry.member, entry.connects_at, entry.dies);
            if self.machine_of.insert(member, machine).is_some() {
                self.violate(format!("two machines for instance {member}"));
            }
            if let Some(at) = connects_at {
                self.plan(at, if dies { What::Die(machine) } else { What::Knock(machine, 1, at) });
            }
            let offering = entry_offering(&self.cloud, machine);
            if offering.1 > 0.0 {
                let mut random = Random::stream(self.setting.seed, 5 + machine as u64);
                let hours = random.exponential(1.0 / offering.1);
                let at = self.now + Duration::from_secs_f64((hours * 3600.0).min(1e8));
                self.plan(at, What::Take(machine));
            }
        }
        self.guard_max(pool);
        self.answer(pool, Event::Launched { token: request.token.clone(), result });
    }

    /// What a pool may never do, whatever happens.
    fn guard_max(&mut self, pool: usize) {
        let spec = &self.setting.pools[pool];
        let most = spec.max + spec.classes.iter().map(|class| class.overflow).sum::<u32>();
        let live = self.cloud.live[pool];
        if live > most {
            self.violate(format!(
                "{live} machines are live in {}, and {most} may be",
                self.setting.pools[pool].name
            ));
        }
    }

    fn terminate(&mut self, provider_id: &str) -> Result<(), ProviderError> {
        let Some(machine) = CloudMachine::index(provider_id) else {
            let kind = ErrorKind::Config;
            return Err(ProviderError {
                kind,
                code: "InvalidInstanceID".to_owned(),
                text: provider_id.to_owned(),
            });
        };
        if let Some(entry) = self.cloud.machines.get_mut(machine) {
            entry.ordered_end = true;
            let instance = entry.member;
            self.guard_busy(instance, "terminated");
        }
        if self.cloud.terminate(self.now, machine)? {
            let instance = self.cloud.machines[machine].member;
            self.disconnect(instance, "it is terminated");
        }
        Ok(())
    }

    fn guard_busy(&mut self, instance: InstanceId, what: &str) {
        let running = self.farm.running_on(instance).len();
        if running > 0 {
            self.killed_busy += running as u64;
            self.violate(format!("instance {instance} is {what} with {running} builds"));
        } else if self.farm.is_open(instance) == Some(true) {
            self.violate(format!("instance {instance} is {what} though it may be given builds"));
        }
    }

    fn interrupt(&mut self, instance: InstanceId) {
        let Some(machine) = self.machine_of.get(&instance).copied() else { return };
        let noticed = self.cloud.machines[machine].notice.is_some();
        let offering = self.cloud.machines[machine].offering.clone();
        let lost = self.farm.interrupt(instance, Some(&offering));
        self.unload(instance, lost.len());
        self.lost += lost.len() as u64;
        if !noticed {
            self.killed_busy += lost.len() as u64;
        }
        for build in lost {
            self.end_build(instance, build);
        }
    }
}

fn entry_offering(cloud: &Cloud, machine: usize) -> (usize, f64) {
    let entry = &cloud.machines[machine];
    let offerings = &cloud.specs[entry.pool].offerings;
    let found = offerings.iter().position(|offering| *offering.name == *entry.offering);
    found.map_or((0, 0.0), |index| (index, offerings[index].loss_per_hour))
}
