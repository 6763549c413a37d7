//! Places in a pool: the lowest free number first.

use std::collections::BTreeSet;

/// Which numbers are taken.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// Free ones that were taken before.
    free: BTreeSet<u32>,
    /// The highest one that was ever taken.
    top: u32,
}

impl Slots {
    /// Takes the lowest one that is free.
    pub(super) fn take(&mut self) -> u32 {
        self.free.pop_first().unwrap_or_else(|| {
            self.top = self.top.saturating_add(1);
            self.top
        })
    }

    /// Takes this one. Tells whether it was free.
    pub(super) fn claim(&mut self, number: u32) -> bool {
        // More than any pool has: a row that says so was not written by us.
        if number == 0 || number > 1_000_000 {
            return false;
        }
        if number > self.top {
            self.free.extend(self.top + 1..number);
            self.top = number;
            return true;
        }
        self.free.remove(&number)
    }

    /// Gives one back.
    pub(super) fn release(&mut self, number: u32) {
        if number > 0 && number <= self.top {
            self.free.insert(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_number_is_taken() {
        let mut slots = Slots::default();
        assert!(slots.claim(3) && !slots.claim(3) && !slots.claim(0));
        assert_eq!([slots.take(), slots.take(), slots.take()], [1, 2, 4]);
        slots.release(2);
        assert_eq!(slots.take(), 2);
    }
}
