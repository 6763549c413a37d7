//! Refused logins in the log: a worker with a wrong password comes back every second, for days.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tracing::{debug, warn};

/// How often the same name is logged.
const AGAIN: Duration = Duration::from_secs(60);

/// How many names are told apart. Above that the oldest are forgotten, and logged anew.
const NAMES: usize = 256;

/// How many characters of a name are logged, and told apart.
const NAME: usize = 100;

/// How many refused logins at pools the master is told of, and how long it takes until it is told of one more: it has
/// other things to do.
const TOLD: u32 = 50;
const TOLD_EACH: Duration = Duration::from_secs(1);

/// When names were last logged.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    names: Mutex<HashMap<String, Refused>>,
    /// How many more the master is told of, and since when.
    told: Mutex<Option<(u32, Instant)>>,
}

#[derive(Debug)]
struct Refused {
    logged: Instant,
    unlogged: u64,
}

impl Refusals {
    /// Logs a refused login: the first of a name, and then one line a minute that says how many there were.
    pub(super) fn log(&self, peer: &str, name: &str) {
        // The name is a stranger's.
        let name: String = name.chars().take(NAME).flat_map(char::escape_debug).collect();
        match self.count(&name) {
            Some(repeated) => {
                warn!(peer, worker.name = name, repeated, "login refused: unknown name or wrong password");
            }
            None => debug!(peer, worker.name = name, "login refused again"),
        }
    }

    /// Whether the master is told of one more.
    pub(super) fn is_told(&self) -> bool {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, since) = told.get_or_insert((TOLD, now));
        let more = u32::try_from(now.duration_since(*since).as_secs() / TOLD_EACH.as_secs()).unwrap_or(TOLD);
        if more > 0 {
            *left = left.saturating_add(more).min(TOLD);
            *since = now;
        }
        if *left == 0 {
            return false;
        }
        *left -= 1;
        true
    }

    /// How many were not logged before this one; `None` when this one is not either.
    fn count(&self, name: &str) -> Option<u64> {
        let now = Instant::now();
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(refused) = names.get_mut(name) {
            if now.duration_since(refused.logged) < AGAIN {
                refused.unlogged += 1;
                return None;
            }
            refused.logged = now;
            return Some(std::mem::take(&mut refused.unlogged));
        }
        if names.len() >= NAMES {
            let oldest = names.iter().min_by_key(|(_, refused)| refused.logged).map(|(name, _)| name.clone());
            oldest.and_then(|oldest| names.remove(&oldest));
        }
        names.insert(name.to_owned(), Refused { logged: now, unlogged: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_name_is_logged_once_a_minute() {
        let refusals = Refusals::default();
        assert_eq!(refusals.count("w1"), Some(0));
        assert_eq!(refusals.count("w1"), None);
        assert_eq!(refusals.count("w2"), Some(0));
        tokio::time::advance(AGAIN).await;
        assert_eq!(refusals.count("w1"), Some(1));
        assert_eq!(refusals.count("w1"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_master_is_not_flooded() {
        let refusals = Refusals::default();
        let told = (0..1000).filter(|_| refusals.is_told()).count();
        assert_eq!(told, 50);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!((0..1000).filter(|_| refusals.is_told()).count(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn names_do_not_pile_up() {
        let refusals = Refusals::default();
        for name in 0..10 * NAMES {
            refusals.log("somewhere", &name.to_string());
        }
        assert_eq!(refusals.names.lock().expect("not poisoned").len(), NAMES);
    }
}
