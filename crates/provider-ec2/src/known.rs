//! What this process has seen of machines: where they are, and which ones EC2 does not show yet.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pools::provider::{Machine, MachineStatus};
use tokio::{sync::SetOnce, time::Instant};

/// For so long a machine that was started is believed to be there, though a listing does not show it: EC2 is eventually
/// consistent.
const UNSEEN: Duration = Duration::from_secs(300);

/// Machines by their ids.
#[derive(Debug, Default)]
pub(crate) struct Known {
    entries: Mutex<HashMap<String, Entry>>,
    listed: SetOnce<()>,
}

#[derive(Debug)]
struct Entry {
    region: String,
    /// What the call that started it answered, and when, until a listing shows it.
    unseen: Option<(Machine, Instant)>,
}

impl Known {
    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These were started just now.
    pub(crate) fn started(&self, region: &str, machines: &[Machine]) {
        let mut entries = self.entries();
        for machine in machines {
            let unseen = Some((machine.clone(), Instant::now()));
            entries.insert(machine.provider_id.clone(), Entry { region: region.to_owned(), unseen });
        }
    }

    /// Where a machine is.
    pub(crate) fn region(&self, id: &str) -> Option<String> {
        self.entries().get(id).map(|entry| entry.region.clone())
    }

    /// Whether a machine of ours may be there though EC2 does not show it.
    pub(crate) fn is_unseen(&self, id: &str) -> bool {
        self.entries().get(id).is_some_and(|entry| entry.unseen.as_ref().is_some_and(is_fresh))
    }

    /// A machine was told to end.
    pub(crate) fn ended(&self, id: &str) {
        if let Some(entry) = self.entries().get_mut(id) {
            entry.unseen = None;
        }
    }

    /// A complete listing, by region; what it does not show yet is added.
    pub(crate) fn listed(&self, listing: BTreeMap<String, Vec<Machine>>) -> Vec<Machine> {
        let mut entries = self.entries();
        let mut machines = Vec::new();
        let mut before = std::mem::take(&mut *entries);
        for (region, listed) in listing {
            for machine in listed {
                before.remove(&machine.provider_id);
                let entry = Entry { region: region.clone(), unseen: None };
                entries.insert(machine.provider_id.clone(), entry);
                machines.push(machine);
            }
        }
        for (id, entry) in before {
            if let Some(unseen) = entry.unseen.filter(is_fresh) {
                machines.push(unseen.0.clone());
                entries.insert(id, Entry { region: entry.region, unseen: Some(unseen) });
            }
        }
        // Once is enough.
        let _before = self.listed.set(());
        machines
    }

    /// Waits until there was a complete listing.
    pub(crate) async fn was_listed(&self) {
        self.listed.wait().await;
    }

    /// Machines that run, by region.
    pub(crate) fn regions(&self) -> BTreeMap<String, Vec<String>> {
        let mut regions = BTreeMap::<_, Vec<_>>::new();
        for (id, entry) in &*self.entries() {
            regions.entry(entry.region.clone()).or_default().push(id.clone());
        }
        regions
    }
}

fn is_fresh((machine, at): &(Machine, Instant)) -> bool {
    machine.status != MachineStatus::Terminated && at.elapsed() < UNSEEN
}
