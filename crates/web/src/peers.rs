//! Addresses that show nothing right: each has only so many connections, and is heard less often.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Connections of one address that have not yet shown anything right. Machines behind one address that all come at once ask
/// again.
const HALF_OPEN: usize = 64;

/// How many refusals an address has at once, and how long it takes until it has one more.
const REFUSALS: u32 = 20;
const EACH: Duration = Duration::from_secs(3);

/// How many addresses are told apart. Above that the one that was refused longest ago is forgotten.
const ADDRESSES: usize = 1024;

/// Who is here, and who was refused how often.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peers(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    half_open: HashMap<IpAddr, usize>,
    /// How often, since when.
    refused: HashMap<IpAddr, (u32, Instant)>,
}

/// A connection that has not yet shown anything right. Ends with the value.
#[derive(Debug)]
pub(crate) struct HalfOpen {
    peers: Peers,
    address: IpAddr,
}

impl Peers {
    /// A connection comes; `None` when its address has too many that have shown nothing.
    pub(crate) fn come(&self, peer: IpAddr) -> Option<HalfOpen> {
        let address = network(peer);
        let mut known = self.known();
        let count = known.half_open.entry(address).or_default();
        if *count >= HALF_OPEN {
            return None;
        }
        *count += 1;
        Some(HalfOpen { peers: self.clone(), address })
    }

    /// Whether an address was refused too often of late.
    pub(crate) fn is_suspect(&self, peer: IpAddr) -> bool {
        self.known().refused.get(&network(peer)).is_some_and(|entry| left(*entry) >= REFUSALS)
    }

    /// It was refused something.
    pub(crate) fn refused(&self, peer: IpAddr) {
        let address = network(peer);
        let refused = &mut self.known().refused;
        if refused.len() >= ADDRESSES && !refused.contains_key(&address) {
            let oldest = refused.iter().min_by_key(|(_, (_, at))| *at).map(|(address, _)| *address);
            oldest.and_then(|oldest| refused.remove(&oldest));
        }
        let count = refused.get(&address).map_or(0, |entry| left(*entry));
        refused.insert(address, (count.saturating_add(1).min(REFUSALS), Instant::now()));
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        let half_open = &mut self.peers.known().half_open;
        if let Some(count) = half_open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                half_open.remove(&self.address);
            }
        }
    }
}

/// What one owner has at least: an address, or a /64 of IPv6.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address @ IpAddr::V4(_) => address,
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

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(1, 1, 1, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(1, 1, 1, 2));

    #[tokio::test(start_paused = true)]
    async fn who_is_refused_often_is_suspect_for_a_while() {
        let peers = Peers::default();
        (0..REFUSALS).for_each(|_| peers.refused(ONE));
        assert!(peers.is_suspect(ONE) && !peers.is_suspect(OTHER));
        tokio::time::advance(EACH).await;
        assert!(!peers.is_suspect(ONE));
        for number in 0..5000_u32 {
            peers.refused(IpAddr::from(number.to_be_bytes()));
        }
        assert_eq!(peers.known().refused.len(), ADDRESSES);
    }

    #[test]
    fn an_address_has_only_so_many_connections_that_show_nothing() {
        let peers = Peers::default();
        let mut open: Vec<_> = (0..HALF_OPEN).map(|_| peers.come(ONE).expect("there is room")).collect();
        assert!(peers.come(ONE).is_none() && peers.come(OTHER).is_some());
        open.pop();
        assert!(peers.come(ONE).is_some());
        drop(open);
        assert!(peers.known().half_open.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:2:ffff::4"));
        assert_ne!(of("2001:db8:1:2::3"), of("2001:db8:1:3::3"));
        assert_eq!(of("::ffff:1.1.1.1"), ONE);
    }
}
