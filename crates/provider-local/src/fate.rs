//! What becomes of a machine that is told to go wrong.

use std::time::Duration;

use model::InstanceId;

use crate::Trouble;

/// What becomes of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    /// How long it waits before its worker starts.
    pub(crate) boot: Duration,
    pub(crate) end: End,
}

/// How it goes wrong, if it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Not at all.
    Well,
    /// Its worker ends as it starts.
    Fails,
    /// Its worker never connects.
    Hangs,
    /// It dies so long after its worker started.
    Vanishes(Duration),
}

impl Fate {
    /// The fate of a machine: the same each time it is asked for.
    pub(crate) fn of(trouble: &Trouble, instance: InstanceId) -> Self {
        let mut state = trouble.seed ^ instance.0.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let boot = trouble.boot + trouble.boot_spread.mul_f64(share(&mut state));
        let mut drawn = share(&mut state);
        let mut falls_into = |part: f64| {
            drawn -= part;
            drawn < 0.0
        };
        let end = if falls_into(trouble.fail) {
            End::Fails
        } else if falls_into(trouble.hang) {
            End::Hangs
        } else if falls_into(trouble.vanish) {
            End::Vanishes(trouble.vanish_after)
        } else {
            End::Well
        };
        Self { boot, end }
    }
}

/// The next number from 0 to 1 (SplitMix64).
#[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
fn share(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_trouble_all_is_well() {
        let fate = Fate::of(&Trouble::default(), InstanceId(1));
        assert_eq!(fate, Fate { boot: Duration::ZERO, end: End::Well });
    }

    #[test]
    fn fates_are_drawn_in_their_shares_and_drawn_the_same_again() {
        let trouble = Trouble {
            seed: 7,
            boot: Duration::from_secs(2),
            boot_spread: Duration::from_secs(3),
            fail: 0.1,
            hang: 0.2,
            vanish: 0.3,
            vanish_after: Duration::from_secs(9),
        };
        let fates: Vec<Fate> = (1..=1000).map(|id| Fate::of(&trouble, InstanceId(id))).collect();
        let count = |end| fates.iter().filter(|fate| fate.end == end).count();
        assert!((60..140).contains(&count(End::Fails)), "{}", count(End::Fails));
        assert!((150..250).contains(&count(End::Hangs)), "{}", count(End::Hangs));
        let vanishing = count(End::Vanishes(Duration::from_secs(9)));
        assert!((240..360).contains(&vanishing), "{vanishing}");
        for fate in &fates {
            assert!((Duration::from_secs(2)..=Duration::from_secs(5)).contains(&fate.boot));
        }
        assert_eq!(fates[41], Fate::of(&trouble, InstanceId(42)));
        let other = Trouble { seed: 8, ..trouble };
        assert!((1..=1000).any(|id| Fate::of(&other, InstanceId(id)) != fates[id as usize - 1]));
    }
}
