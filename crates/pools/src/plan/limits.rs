//! What may be started: each limit in its turn, with its reason.

use std::time::Duration;

use model::{
    Time,
    pool::{Budget, Money},
};

use crate::{
    ReasonCode,
    plan::{Common, Denied, Room, Spend, View, buy::Market, desk::Desk, words},
};

/// What stands against another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// One of [`View::rooms`].
    Room(usize),
    /// The pool's maximum.
    PoolMax,
    /// The maximum of all pools.
    GlobalMax,
    /// The pool's budget, or that of all pools.
    Budget { of_all: bool, span: Span },
    /// Machines do not come up, or what is configured is refused.
    Breaker,
    /// Nothing can be bought.
    Market(ReasonCode),
}

/// What a budget is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Hour,
    Day,
    Month,
}

/// A pool's own limits, and what was granted so far.
#[derive(Debug)]
pub(super) struct Limits {
    now: Time,
    granted: u32,
    /// The sum of the hourly prices of what was granted.
    rate: Money,
    breaker: Option<Room>,
    /// Whether some class may spend what others may not.
    reserve: bool,
}

impl Limits {
    pub(super) fn new(now: Time, view: &View<'_>) -> Self {
        let unproven = u32::try_from(view.supply.coming.len()).unwrap_or(u32::MAX);
        Self {
            now,
            granted: 0,
            rate: Money(0),
            breaker: view.learned.breaker.room(now, unproven),
            reserve: view.spec.classes.iter().any(|class| class.reserve),
        }
    }

    /// What stands against one more machine, the first limit that does.
    pub(super) fn blocked(
        &self,
        view: &View<'_>,
        class: Option<usize>,
        price: Result<Money, ReasonCode>,
    ) -> Option<Block> {
        let is_own = |room: &Room| !matches!(room.code, ReasonCode::Quota | ReasonCode::ApiTokens);
        let full = |own: bool| {
            let mut rooms = view.rooms.iter().enumerate();
            rooms
                .find(|(_, room)| is_own(room) == own && room.more <= self.granted)
                .map(|(at, _)| Block::Room(at))
        };
        let class = class.and_then(|class| view.spec.classes.get(class));
        let max = view.spec.max.saturating_add(class.map_or(0, |class| class.overflow));
        if let Some(block) = full(true) {
            return Some(block);
        }
        if view.supply.live.saturating_add(self.granted) >= max {
            return Some(Block::PoolMax);
        }
        if let Ok(price) = price {
            let all = !self.reserve || class.is_some_and(|class| class.reserve);
            if let Some(span) = exceeded(self.now, &view.spec.budget, &view.spend, self.rate, price, all) {
                return Some(Block::Budget { of_all: false, span });
            }
        }
        if let Some(block) = full(false) {
            return Some(block);
        }
        if self.breaker.as_ref().is_some_and(|room| room.more <= self.granted) {
            return Some(Block::Breaker);
        }
        // Stopped machines are there already.
        if self.granted < view.supply.stopped { None } else { price.err().map(Block::Market) }
    }

    pub(super) fn granted(&mut self, price: Money) {
        self.granted = self.granted.saturating_add(1);
        self.rate = Money(self.rate.0.saturating_add(price.0));
    }

    /// A denial in words.
    pub(super) fn denied(&self, view: &View<'_>, market: &Market<'_>, block: Block, count: u32) -> Denied {
        let mut next = None;
        let machines = words::plural(count, "more machine");
        let (code, why) = match block {
            Block::Room(at) => match view.rooms.get(at) {
                Some(room) => (room.code, room.text.clone()),
                None => (ReasonCode::NotOwner, "nothing may be started".to_owned()),
            },
            Block::PoolMax => {
                (ReasonCode::PoolMax, format!("pool {} has its maximum of {}", view.spec.name, view.spec.max))
            }
            Block::GlobalMax => (ReasonCode::GlobalMax, "all pools together have their maximum".to_owned()),
            Block::Budget { of_all, span } => {
                let whose =
                    if of_all { "of all pools".to_owned() } else { format!("of pool {}", view.spec.name) };
                let span = match span {
                    Span::Hour => "an hour",
                    Span::Day => "a day",
                    Span::Month => "a month",
                };
                (ReasonCode::Budget, format!("the budget {whose} for {span} does not reach"))
            }
            Block::Breaker => match &self.breaker {
                Some(room) => {
                    next = view.learned.breaker.next_probe();
                    (room.code, room.text.clone())
                }
                None => (ReasonCode::Breaker, "machines do not come up".to_owned()),
            },
            Block::Market(ReasonCode::MaxPrice) => {
                (ReasonCode::MaxPrice, "everything for sale costs more than it may".to_owned())
            }
            Block::Market(code) => {
                next = market.next_try();
                let what = match (code, market.quota()) {
                    (ReasonCode::Quota, Some(quota)) => format!("quota {quota} is used up"),
                    (ReasonCode::Quota, None) => "a quota is used up".to_owned(),
                    _ => "no capacity".to_owned(),
                };
                (
                    code,
                    next.map_or_else(|| what.clone(), |at| format!("{what}, next try {}", words::clock(at))),
                )
            }
        };
        Denied { code, count, text: format!("{machines} would be started, but {why}"), next }
    }
}

/// Which part of a budget another machine would exceed. What is there is counted with another hour: so long it may
/// still run when nothing new is started.
fn exceeded(
    now: Time,
    budget: &Budget,
    spend: &Spend,
    granted: Money,
    price: Money,
    all: bool,
) -> Option<Span> {
    let limit = |money: Money| if all { money.0 } else { money.0 / 10 * 9 };
    let rate = spend.rate.0.saturating_add(granted.0).saturating_add(price.0);
    if budget.hour.is_some_and(|most| rate > limit(most)) {
        return Some(Span::Hour);
    }
    let rest_of_day = 86_400 - now.epoch_seconds().rem_euclid(86_400).unsigned_abs();
    let today = Money(rate).for_time(Duration::from_secs(rest_of_day.min(3600)));
    if budget.day.is_some_and(|most| spend.day.0.saturating_add(today.0) > limit(most)) {
        return Some(Span::Day);
    }
    if budget.month.is_some_and(|most| spend.month.0.saturating_add(rate) > limit(most)) {
        return Some(Span::Month);
    }
    None
}

/// Deals out what pools share: the most urgent classes first, and inside a class to the pool that has least for its
/// weight.
pub(super) fn share(desks: &mut [Desk<'_>], common: &Common) {
    let wanted: u32 = desks.iter().flat_map(|desk| &desk.wants).map(|want| want.count).sum();
    let unlimited = common.limits.budget == Budget::default();
    let room = common.limits.max.map_or(u32::MAX, |max| max.saturating_sub(common.live));
    if wanted == 0 || (unlimited && room >= wanted) {
        return;
    }
    // What is wanted: how urgent, which desk, which want, how many.
    let mut bands: Vec<((i8, i64), usize, usize, u32)> = Vec::new();
    let mut reserve = false;
    for (at, desk) in desks.iter().enumerate() {
        reserve |= desk.view.spec.classes.iter().any(|class| class.reserve);
        for (want_at, want) in desk.wants.iter().enumerate() {
            let class = want.need.class.and_then(|class| desk.view.spec.classes.get(class));
            let rank = match (want.code, class) {
                (_, Some(class)) => (3, class.from),
                (ReasonCode::Minimum | ReasonCode::Scaled, None) => (2, 0),
                (ReasonCode::Warm, None) => (1, 0),
                (_, None) => (0, 0),
            };
            bands.push((rank, at, want_at, want.count));
        }
    }
    bands.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| (a.1, a.2).cmp(&(b.1, b.2))));
    let mut has: Vec<f64> = desks.iter().map(|desk| f64::from(desk.view.supply.live)).collect();
    let (mut given, mut rate) = (0_u32, Money(0));
    while let Some(band) = bands.first().map(|band| band.0) {
        let end = bands.partition_point(|other| other.0 >= band);
        let mut contenders: Vec<_> = bands.drain(..end).filter(|(.., count)| *count > 0).collect();
        while !contenders.is_empty() {
            let share = |at: usize| (has[at] + 1.0) / f64::from(desks[at].view.spec.weight.get());
            let least = (0..contenders.len())
                .min_by(|a, b| share(contenders[*a].1).total_cmp(&share(contenders[*b].1)));
            let Some(chosen) = least else { break };
            let (_, at, want_at, _) = contenders[chosen];
            let want = &desks[at].wants[want_at];
            let price = want.price.unwrap_or_default();
            let class = want.need.class.and_then(|class| desks[at].view.spec.classes.get(class));
            let all = !reserve || class.is_some_and(|class| class.reserve);
            let block = if given >= room {
                Some(Block::GlobalMax)
            } else {
                exceeded(desks[at].now, &common.limits.budget, &common.spend, rate, price, all)
                    .map(|span| Block::Budget { of_all: true, span })
            };
            match block {
                None => {
                    given += 1;
                    rate = Money(rate.0.saturating_add(price.0));
                    has[at] += 1.0;
                    contenders[chosen].3 -= 1;
                    if contenders[chosen].3 == 0 {
                        contenders.remove(chosen);
                    }
                }
                Some(block) => {
                    for _ in 0..contenders[chosen].3 {
                        desks[at].revoke(want_at, block);
                    }
                    contenders.remove(chosen);
                }
            }
        }
    }
}
