//! When places become free: the earliest first.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Where a place comes from. At the same time, the first of these is taken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// An idle machine.
    Free,
    /// A machine on its way.
    Coming,
    /// Some build that ends soon.
    Soon,
    /// A machine that is started now.
    New,
    /// A request that was placed before.
    Behind,
    /// A machine that is wanted and that a limit denies, and what would follow on it.
    Denied,
}

const KINDS: [Kind; 6] = [Kind::Free, Kind::Coming, Kind::Soon, Kind::New, Kind::Behind, Kind::Denied];

/// A time (seconds from now, kept in microseconds) and a kind in one number, so that comparing is cheap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

impl Place {
    pub(super) fn new(seconds: f64, kind: Kind) -> Self {
        // A cast from float to integer saturates; a thousand years are enough.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and is not negative"
        )]
        let micros = (seconds.clamp(0.0, 3e10) * 1e6) as u64;
        Self(micros << 3 | kind as u64)
    }

    #[expect(clippy::cast_precision_loss, reason = "microseconds")]
    pub(super) fn seconds(self) -> f64 {
        (self.0 >> 3) as f64 / 1e6
    }

    pub(super) fn kind(self) -> Kind {
        KINDS[(self.0 & 7).min(5) as usize]
    }
}

type Earliest = BinaryHeap<Reverse<Place>>;

/// The places of a pool.
///
/// A machine runs at most one build of a builder, and at most so many builds in all. Both are kept apart: each builder
/// has one place on each machine (its chain), and each machine has so many places for all builders. A request starts
/// when both have one. For machines that are all free at the same time this needs exactly
/// max(max d_b, ⌈Σ d_b / m⌉) machines for d_b requests of each builder b, and so many are enough: deal the requests out
/// in turn, builder after builder.
#[derive(Debug)]
pub(super) struct Ladder {
    /// Places of a machine; `None` is one for each builder.
    most: Option<u32>,
    /// With one place: a machine each. With several: all places of all machines. Unused without a limit.
    slots: Earliest,
    /// Machines that have been added, in the order of their time as far as that is known; unused with one place.
    machines: Vec<Place>,
    chains: Vec<Option<Chain>>,
}

#[derive(Debug, Default)]
struct Chain {
    /// The next machine that has not had a build of this builder.
    next: usize,
    /// When builds of it end.
    ends: Earliest,
}

impl Ladder {
    /// Of machines with so many places, for builders with indices below `builders`.
    pub(super) fn new(most: Option<u32>, builders: usize, free: u32, coming: &[f64]) -> Self {
        let mut machines: Vec<Place> = Vec::with_capacity(free as usize + coming.len() + 8);
        machines.extend((0..free).map(|_| Place::new(0.0, Kind::Free)));
        machines.extend(coming.iter().map(|seconds| Place::new(*seconds, Kind::Coming)));
        let chains = if most == Some(1) { Vec::new() } else { (0..builders).map(|_| None).collect() };
        let mut ladder = Self { most, slots: Earliest::new(), machines, chains };
        match most {
            Some(1) => {
                let machines = std::mem::take(&mut ladder.machines);
                ladder.slots = machines.into_iter().map(Reverse).collect::<Vec<_>>().into();
            }
            Some(most) => {
                ladder.machines.sort_unstable();
                let all = ladder.machines.iter();
                ladder.slots =
                    all.flat_map(|place| (0..most).map(|_| Reverse(*place))).collect::<Vec<_>>().into();
            }
            None => ladder.machines.sort_unstable(),
        }
        ladder
    }

    /// Places become free soon, for any builder.
    pub(super) fn soon(&mut self, count: u32, within: f64) {
        for i in 0..count {
            self.slots.push(Reverse(spread(i, count, within)));
        }
    }

    /// Whether nothing is known of a builder yet ([`Ladder::begin`]).
    pub(super) fn is_new(&self, builder: usize) -> bool {
        self.most != Some(1) && matches!(self.chains.get(builder), Some(None))
    }

    /// The first request of a builder is about to be placed: so many of its builds end soon. Unused with one place.
    pub(super) fn begin(&mut self, builder: usize, soon: u32, within: f64) {
        if let Some(chain) = self.chains.get_mut(builder) {
            let ends = (0..soon).map(|i| Reverse(spread(i, soon, within))).collect::<Vec<_>>().into();
            *chain = Some(Chain { next: 0, ends });
        }
    }

    /// When a request of a builder starts at the earliest.
    pub(super) fn earliest(&self, builder: usize) -> Option<Place> {
        let slot = || self.slots.peek().map(|place| place.0);
        if self.most == Some(1) {
            return slot();
        }
        let chain = match self.chains.get(builder) {
            Some(Some(chain)) => self.first(chain)?,
            _ => return None,
        };
        if self.most.is_some() { Some(chain.max(slot()?)) } else { Some(chain) }
    }

    /// Places a request of a builder where [`Ladder::earliest`] said, for so many seconds.
    pub(super) fn place(&mut self, builder: usize, seconds: f64) {
        let Some(start) = self.earliest(builder) else { return };
        let end = Reverse(Place::new(start.seconds() + seconds, behind(start.kind())));
        if self.most.is_some()
            && let Some(mut slot) = self.slots.peek_mut()
        {
            *slot = end;
        }
        if let Some(Some(chain)) = self.chains.get_mut(builder) {
            let fresh = self.machines.get(chain.next).copied();
            let own = chain.ends.peek().map(|place| place.0);
            if fresh.is_some_and(|fresh| own.is_none_or(|own| fresh <= own)) {
                chain.next += 1;
                chain.ends.push(end);
            } else if let Some(mut place) = chain.ends.peek_mut() {
                *place = end;
            }
        }
    }

    /// Another machine.
    pub(super) fn open(&mut self, seconds: f64, kind: Kind) {
        let place = Place::new(seconds, kind);
        for _ in 0..self.most.unwrap_or(0) {
            self.slots.push(Reverse(place));
        }
        if self.most != Some(1) {
            self.machines.push(place);
        }
    }

    /// How many machines of a kind have nothing to do.
    pub(super) fn unused(&self, kind: Kind) -> u32 {
        let count = |places: usize| u32::try_from(places).unwrap_or(u32::MAX);
        if self.most == Some(1) {
            return count(self.slots.iter().filter(|place| place.0.kind() == kind).count());
        }
        let touched = self.chains.iter().flatten().map(|chain| chain.next).max().unwrap_or(0);
        let untouched = self.machines.get(touched..).unwrap_or_default();
        let by_builder = count(untouched.iter().filter(|place| place.kind() == kind).count());
        match self.most {
            Some(most) => by_builder
                .min(count(self.slots.iter().filter(|place| place.0.kind() == kind).count()) / most.max(1)),
            None => by_builder,
        }
    }

    /// A builder's earliest place.
    fn first(&self, chain: &Chain) -> Option<Place> {
        let fresh = self.machines.get(chain.next).copied();
        let own = chain.ends.peek().map(|place| place.0);
        fresh.into_iter().chain(own).min()
    }
}

fn behind(kind: Kind) -> Kind {
    if kind == Kind::Denied { Kind::Denied } else { Kind::Behind }
}

fn spread(i: u32, count: u32, within: f64) -> Place {
    Place::new(within * (f64::from(i) + 0.5) / f64::from(count.max(1)), Kind::Soon)
}
