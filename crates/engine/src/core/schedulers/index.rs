//! Which schedulers a change concerns, without asking all of them.

use std::collections::BTreeMap;

use config::SchedulerKind;
use model::{Change, SchedulerId};

/// Place in the configuration, then the scheduler: changes go to schedulers in the order of the configuration.
type Listener = (usize, SchedulerId);

/// Schedulers by what they listen to.
#[derive(Debug, Default)]
pub(in crate::core) struct ChangeIndex {
    /// Of a codebase, all branches.
    codebases: BTreeMap<String, Vec<Listener>>,
    /// Of a codebase, one branch.
    branches: BTreeMap<(String, Option<String>), Vec<Listener>>,
}

impl<'a> FromIterator<(SchedulerId, usize, &'a config::Scheduler)> for ChangeIndex {
    fn from_iter<I: IntoIterator<Item = (SchedulerId, usize, &'a config::Scheduler)>>(iter: I) -> Self {
        let mut index = Self::default();
        for (id, position, config) in iter {
            index.add((position, id), config);
        }
        index
    }
}

impl ChangeIndex {
    fn add(&mut self, listener: Listener, config: &config::Scheduler) {
        for codebase in &config.codebases {
            let mut branch = |branch: Option<String>| {
                self.branches.entry((codebase.name.clone(), branch)).or_default().push(listener);
            };
            match &config.kind {
                SchedulerKind::AnyBranch { branches: None, .. } => {
                    self.codebases.entry(codebase.name.clone()).or_default().push(listener);
                }
                SchedulerKind::AnyBranch { branches: Some(branches), .. } => {
                    branches.iter().cloned().map(Some).for_each(branch);
                }
                SchedulerKind::SingleBranch { branch: only, .. } => branch(only.clone()),
                SchedulerKind::Force(_) => {}
            }
        }
    }

    /// Schedulers that a change concerns, in the order of the configuration, each once.
    pub(in crate::core) fn of(&self, change: &Change) -> Vec<SchedulerId> {
        let all = self.codebases.get(&change.codebase).into_iter().flatten();
        let branch =
            self.branches.get(&(change.codebase.clone(), change.branch.clone())).into_iter().flatten();
        let mut listeners: Vec<Listener> = all.chain(branch).copied().collect();
        listeners.sort_unstable();
        listeners.dedup();
        listeners.into_iter().map(|(_, id)| id).collect()
    }
}
