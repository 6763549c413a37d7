//! Addresses that ask for what they do not get: they are heard less often.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How many refusals an address has at once, and how long it takes until it has one more.
const REFUSALS: u32 = 20;
const EACH: Duration = Duration::from_secs(3);

/// How many addresses are told apart. Above that the one that was refused longest ago is forgotten.
const ADDRESSES: usize = 1024;

/// Who was refused, how often, since when.
#[derive(Debug, Default)]
pub(crate) struct Peers(Mutex<HashMap<IpAddr, (u32, Instant)>>);

impl Peers {
    /// Whether an address is heard.
    pub(crate) fn may_ask(&self, peer: IpAddr) -> bool {
        let peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        peers.get(&peer).is_none_or(|entry| left(*entry) < REFUSALS)
    }

    /// It was refused something.
    pub(crate) fn refused(&self, peer: IpAddr) {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= ADDRESSES && !peers.contains_key(&peer) {
            let oldest = peers.iter().min_by_key(|(_, (_, at))| *at).map(|(peer, _)| *peer);
            oldest.and_then(|oldest| peers.remove(&oldest));
        }
        let count = peers.get(&peer).map_or(0, |entry| left(*entry));
        peers.insert(peer, (count.saturating_add(1).min(REFUSALS), Instant::now()));
    }
}

/// How many refusals still count.
fn left((count, at): (u32, Instant)) -> u32 {
    let over = at.elapsed().as_secs() / EACH.as_secs();
    count.saturating_sub(u32::try_from(over).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_refused_often_is_not_heard_for_a_while() {
        let (peers, one, other) = (Peers::default(), IpAddr::from([1, 1, 1, 1]), IpAddr::from([1, 1, 1, 2]));
        (0..REFUSALS).for_each(|_| peers.refused(one));
        assert!(!peers.may_ask(one) && peers.may_ask(other));
        tokio::time::advance(EACH).await;
        assert!(peers.may_ask(one));
        for number in 0..5000_u32 {
            peers.refused(IpAddr::from(number.to_be_bytes()));
        }
        assert_eq!(peers.0.lock().expect("not poisoned").len(), ADDRESSES);
    }
}
