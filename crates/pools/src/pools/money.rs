//! What pools cost, and what is done when that is too much.

use model::{
    InstanceId, Time,
    pool::{Budget, Money},
};

use super::{Pools, books, books::plus};
use crate::{Demand, ReasonCode, State, plan::Spend};

impl Pools {
    /// What a pool costs and has cost.
    pub(super) fn spend(&self, now: Time, at: usize) -> Spend {
        let pool = &self.pools[at];
        let settled = pool.books.settled(now);
        let (mut day, mut month) = (settled.day, settled.month);
        for entry in pool.members.iter().filter_map(|id| self.entries.get(id)) {
            let billing = pool.spec.billing;
            day = plus(day, books::between(&entry.row, billing, now.start_of_day(), now));
            month = plus(month, books::between(&entry.row, billing, now.start_of_month(), now));
        }
        Spend { rate: pool.rate(), day, month }
    }

    /// The same, without what only a budget for a day or a month needs when there is none.
    pub(super) fn spend_for_budgets(&self, now: Time, at: usize) -> Spend {
        let binds = |budget: &Budget| budget.day.is_some() || budget.month.is_some();
        if binds(&self.pools[at].spec.budget) || binds(&self.limits.budget) {
            self.spend(now, at)
        } else {
            Spend { rate: self.pools[at].rate(), ..Spend::default() }
        }
    }

    /// What all pools cost together.
    pub(super) fn total(spends: &[Spend]) -> Spend {
        spends.iter().fold(Spend::default(), |sum, spend| Spend {
            rate: plus(sum.rate, spend.rate),
            day: plus(sum.day, spend.day),
            month: plus(sum.month, spend.month),
        })
    }

    /// How much the sum of hourly prices of a pool may grow; `None` when nothing says.
    pub(super) fn hour_room(&self, at: usize) -> Option<Money> {
        let own =
            self.pools[at].spec.budget.hour.map(|hour| Money(hour.0.saturating_sub(self.pools[at].rate().0)));
        let all = self.limits.budget.hour.map(|hour| {
            let rate = self.pools.iter().fold(Money::default(), |sum, pool| plus(sum, pool.rate()));
            Money(hour.0.saturating_sub(rate.0))
        });
        own.into_iter().chain(all).min()
    }

    /// More machines than there may be, or more money than may be spent: idle ones go at once, others when their builds
    /// are done.
    pub(super) fn shed(&mut self, now: Time, demand: &Demand, spends: &[(usize, Spend)]) {
        let all: Vec<Spend> = spends.iter().map(|(_, spend)| *spend).collect();
        let (limits, total) = (self.limits, Self::total(&all));
        let spent = |budget: &Budget, spend: &Spend| {
            budget.day.is_some_and(|most| spend.day >= most)
                || budget.month.is_some_and(|most| spend.month >= most)
        };
        for (at, spend) in spends {
            let pool = &self.pools[*at];
            if spent(&pool.spec.budget, spend) || spent(&limits.budget, &total) {
                self.shed_some(
                    now,
                    *at,
                    u32::MAX,
                    Money(i64::MAX),
                    ReasonCode::Budget,
                    "the budget is spent",
                );
                continue;
            }
            let most = pool.spec.max.saturating_add(self.overflow(*at, demand));
            let over = pool.live().saturating_sub(most);
            if over > 0 {
                let text =
                    format!("pool {} has more machines than its maximum of {}", pool.name(), pool.spec.max);
                self.shed_some(now, *at, over, Money::default(), ReasonCode::Surplus, &text);
            }
            let pool = &self.pools[*at];
            if let Some(hour) = pool.spec.budget.hour
                && pool.rate() > hour
            {
                let over = Money(pool.rate().0.saturating_sub(hour.0));
                self.shed_some(
                    now,
                    *at,
                    0,
                    over,
                    ReasonCode::Budget,
                    "it costs more in an hour than the budget allows",
                );
            }
        }
        let live: u32 = self.pools.iter().map(super::pool::Pool::live).sum();
        let mut over = limits.max.map_or(0, |max| live.saturating_sub(max));
        let mut over_rate = limits.budget.hour.map_or(0, |hour| total.rate.0.saturating_sub(hour.0));
        for (at, _) in spends.iter().rev() {
            if over == 0 && over_rate <= 0 {
                break;
            }
            let text = "all pools together have more than they may";
            let code = if over > 0 { ReasonCode::Surplus } else { ReasonCode::Budget };
            let (count, rate) = self.shed_some(now, *at, over, Money(over_rate.max(0)), code, text);
            over = over.saturating_sub(count);
            over_rate = over_rate.saturating_sub(rate.0);
        }
    }

    /// How many machines beyond its maximum a pool needs now: those that urgent work has or waits for, and no more, or
    /// other work would keep them for ever.
    fn overflow(&self, at: usize, demand: &Demand) -> u32 {
        let pool = &self.pools[at];
        let classes =
            || pool.spec.classes.iter().map(|class| class.overflow).filter(|overflow| *overflow > 0);
        if pool.live() <= pool.spec.max || classes().next().is_none() {
            return 0;
        }
        let of = |priority: i64| pool.spec.class(priority).overflow;
        let entries = pool.members.iter().filter_map(|id| self.entries.get(id));
        let builds =
            entries.map(|entry| entry.running.values().map(|run| of(run.priority)).max().unwrap_or(0));
        let waiting = self.waiting_for(at, demand).map(|waiting| of(waiting.priority));
        let needs: Vec<u32> = builds.chain(waiting).filter(|overflow| *overflow > 0).collect();
        // A class may go as far beyond as it says, for as much work as there is that may go so far.
        let needed = classes().map(|most| {
            let count = needs.iter().filter(|overflow| **overflow >= most).count();
            most.min(u32::try_from(count).unwrap_or(u32::MAX))
        });
        needed.max().unwrap_or(0)
    }

    /// Lets machines go until there are so many fewer, and they cost so much less: those that are on their way out
    /// already count. Gives what that comes to.
    fn shed_some(
        &mut self,
        now: Time,
        at: usize,
        count: u32,
        rate: Money,
        code: ReasonCode,
        text: &str,
    ) -> (u32, Money) {
        let pool = &self.pools[at];
        let (mut left, mut left_rate) = (count, rate);
        let (mut shed, mut shed_rate) = (0_u32, Money::default());
        let mut candidates: Vec<(u8, std::cmp::Reverse<Money>, Time, InstanceId)> = Vec::new();
        for entry in pool.members.iter().filter_map(|id| self.entries.get(id)) {
            let rank = match entry.state() {
                State::Draining | State::Stopping | State::Terminating => 0,
                State::Idle => 1,
                State::Busy | State::ReadyCheck => 2,
                _ => continue,
            };
            let price = if entry.is_guest() { Money::default() } else { entry.row.price };
            // Guests cost nothing.
            if code == ReasonCode::Budget && entry.is_guest() {
                continue;
            }
            candidates.push((rank, std::cmp::Reverse(price), entry.row.since, entry.id()));
        }
        candidates.sort_unstable();
        for (rank, std::cmp::Reverse(price), _, id) in candidates {
            if left == 0 && left_rate.0 <= 0 {
                break;
            }
            left = left.saturating_sub(1);
            left_rate = Money(left_rate.0.saturating_sub(price.0));
            shed += 1;
            shed_rate = plus(shed_rate, price);
            if rank > 0 {
                self.drain(now, id, code, text.to_owned(), None);
            }
        }
        (shed, shed_rate)
    }
}
