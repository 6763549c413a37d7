//! The burst: requests in sets, one of each builder, and what becomes of them.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use model::Results;
use tokio::{sync::mpsc, task::JoinSet};

use super::BUILDERS;
use crate::{
    control::{Client, Force, Forced, Notification, Progress, Request, pool::Decision},
    exit::Failure,
};

/// How urgent requests are, the most urgent first: name, priority, and how many sets of a hundred.
pub(super) const CLASSES: [(&str, i64, usize); 3] =
    [("urgent", 100, 16), ("normal", 0, 44), ("low", -100, 40)];

/// When so many of a hundred builds are done, the urgent requests come.
const URGENT_AFTER: usize = 10;

/// What is heard from the tasks.
pub(super) enum Heard {
    /// Something happened to the builds of a set.
    Progress(usize, Progress),
    /// A set is over, or could not be asked for.
    Over(Result<(), Failure>),
    /// A pool decided something.
    Decided(Box<Decision>),
}

/// All requests.
pub(super) struct Burst {
    sets: Vec<Set>,
    socket: PathBuf,
    sender: mpsc::Sender<Heard>,
    tasks: JoinSet<()>,
    /// How many sets are over.
    over: usize,
    urgent: bool,
}

/// Requests of one priority, one for each of some builders.
struct Set {
    class: usize,
    builders: usize,
    asked_at: Option<Instant>,
    requests: BTreeMap<String, State>,
}

/// What has become of a request.
#[derive(Default)]
struct State {
    waited: Option<Duration>,
    results: Option<i64>,
    /// Its build was lost with a machine.
    again: bool,
}

/// How many requests of a class are where.
#[derive(Clone, Copy, Default)]
pub(super) struct Count {
    pub(super) waiting: usize,
    pub(super) running: usize,
    pub(super) done: usize,
}

impl Burst {
    pub(super) fn new(requests: u32, socket: PathBuf, sender: mpsc::Sender<Heard>) -> Self {
        let requests = usize::try_from(requests).unwrap_or(usize::MAX);
        let count = requests.div_ceil(BUILDERS.len());
        let mut sets: Vec<Set> = (0..count)
            .map(|number| Set {
                class: class(number, count),
                builders: BUILDERS.len().min(requests - number * BUILDERS.len()),
                asked_at: None,
                requests: BTreeMap::new(),
            })
            .collect();
        // The least urgent are asked for first, so that it shows that others overtake them.
        sets.sort_by_key(|set| std::cmp::Reverse(set.class));
        Self { sets, socket, sender, tasks: JoinSet::new(), over: 0, urgent: false }
    }

    /// Asks for all that is not urgent.
    pub(super) fn begin(&mut self) {
        for number in 0..self.sets.len() {
            if self.sets[number].class != 0 {
                self.ask(number);
            }
        }
        if self.tasks.is_empty() {
            self.ask_urgently();
        }
    }

    fn ask_urgently(&mut self) {
        if !std::mem::replace(&mut self.urgent, true) {
            for number in 0..self.sets.len() {
                if self.sets[number].class == 0 {
                    self.ask(number);
                }
            }
        }
    }

    fn ask(&mut self, number: usize) {
        let set = &mut self.sets[number];
        set.asked_at = Some(Instant::now());
        let (name, priority, _) = CLASSES[set.class];
        let force = Force {
            builders: BUILDERS.iter().take(set.builders).map(|(name, _)| (*name).to_owned()).collect(),
            reason: Some(format!("a burst of requests: {name}")),
            // Requests for one and the same revision could be built as one.
            revision: Some(format!("revision-{number}")),
            priority: Some(priority),
            wait: true,
            ..Force::default()
        };
        self.tasks.spawn(wait_for(number, force, self.socket.clone(), self.sender.clone()));
    }

    pub(super) fn heard(&mut self, message: Heard) -> Result<(), Failure> {
        match message {
            Heard::Progress(number, progress) => {
                if let Some(set) = self.sets.get_mut(number) {
                    set.progress(progress);
                }
                if self.done() * 100 >= self.total() * URGENT_AFTER {
                    self.ask_urgently();
                }
                Ok(())
            }
            Heard::Over(result) => {
                self.over += 1;
                result
            }
            Heard::Decided(_) => Ok(()),
        }
    }

    pub(super) fn total(&self) -> usize {
        self.sets.iter().map(|set| set.builders).sum()
    }

    pub(super) fn done(&self) -> usize {
        (0..CLASSES.len()).map(|class| self.count(class).done).sum()
    }

    /// Whether all is built.
    pub(super) fn is_over(&self) -> bool {
        self.over == self.sets.len()
    }

    pub(super) fn all_succeeded(&self) -> bool {
        let results = self.sets.iter().flat_map(|set| set.requests.values().map(|state| state.results));
        let good = |results| results == Some(Results::Success.code());
        self.done() == self.total() && results.into_iter().all(good)
    }

    /// How many requests had their build done again.
    pub(super) fn again(&self) -> usize {
        self.sets.iter().flat_map(|set| set.requests.values()).filter(|state| state.again).count()
    }

    /// How many requests of a class are where; those that are still to be asked for are nowhere.
    pub(super) fn count(&self, class: usize) -> Count {
        let mut count = Count::default();
        for set in self.sets.iter().filter(|set| set.class == class && set.asked_at.is_some()) {
            let states = || set.requests.values();
            let done = states().filter(|state| state.results.is_some()).count();
            let begun = states().filter(|state| state.waited.is_some()).count();
            count.done += done;
            count.running += begun - done;
            count.waiting += set.builders - begun;
        }
        count
    }

    /// How long each request of a class has waited for its build, the shortest first.
    pub(super) fn waits(&self, class: usize) -> Vec<Duration> {
        let of_class = self.sets.iter().filter(|set| set.class == class);
        let mut waits: Vec<Duration> =
            of_class.flat_map(|set| set.requests.values()).filter_map(|state| state.waited).collect();
        waits.sort_unstable();
        waits
    }
}

impl Set {
    fn progress(&mut self, progress: Progress) {
        let waited = self.asked_at.map(|at| at.elapsed()).unwrap_or_default();
        match progress {
            Progress::BuildStarted(build) => {
                let state = self.requests.entry(build.builder).or_default();
                state.again |= state.waited.is_some();
                state.waited.get_or_insert(waited);
            }
            Progress::BuildFinished(build) => {
                // A build that was lost with its machine is done again.
                if build.results != Some(Results::Retry.code()) {
                    let state = self.requests.entry(build.builder).or_default();
                    state.waited.get_or_insert(waited);
                    state.results = build.results;
                }
            }
            Progress::Requested(_) | Progress::StepStarted { .. } | Progress::StepFinished { .. } => {}
        }
    }
}

/// The class of a set among so many: the classes have their shares, and at least one set each if there are enough.
fn class(number: usize, count: usize) -> usize {
    let mut end = 0;
    for (class, (_, _, share)) in CLASSES.iter().enumerate() {
        end += (count * share).div_ceil(100);
        if number < end {
            return class;
        }
    }
    CLASSES.len() - 1
}

/// Asks for a set, and tells what becomes of it.
async fn wait_for(number: usize, force: Force, socket: PathBuf, heard: mpsc::Sender<Heard>) {
    let (progress, mut passed_on) = mpsc::unbounded_channel();
    let ask = async move {
        let mut client = Client::connect(&socket).await?;
        let request = Request::Force(force);
        let built: Forced = client
            .stream(&request, |notification| {
                if let Notification::Progress(one) = notification {
                    progress.send(one).ok();
                }
                Ok(())
            })
            .await?;
        tracing::debug!(buildset = built.buildsetid, "a set is built");
        Ok(())
    };
    let pass_on = async {
        while let Some(one) = passed_on.recv().await {
            if heard.send(Heard::Progress(number, one)).await.is_err() {
                break;
            }
        }
    };
    let (result, ()) = tokio::join!(ask, pass_on);
    heard.send(Heard::Over(result)).await.ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_a_class_and_most_are_not_urgent() {
        let (sender, _heard) = mpsc::channel(1);
        for requests in [1, 7, 8, 9, 24, 200] {
            let burst = Burst::new(requests, PathBuf::new(), sender.clone());
            assert_eq!(burst.total(), requests as usize);
            let urgent: usize = burst.sets.iter().filter(|set| set.class == 0).map(|set| set.builders).sum();
            assert!(urgent >= 1, "{requests}");
            if requests == 200 {
                assert_eq!(urgent, 32);
                assert_eq!(burst.sets[0].class, 2, "the least urgent come first");
            }
        }
    }
}
