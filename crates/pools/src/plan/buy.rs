//! What to buy: the offering that costs least, its losses and what waiting is worth counted in.

use model::{Time, pool::Money};

use crate::{
    Market as Paid, Offering, ReasonCode,
    learn::BootTimes,
    plan::{Choice, View, desk::Name},
};

/// Above this share of its bid an offering on the market is about to be lost.
const NEAR_BID: f64 = 0.8;

/// What a machine is for, as far as that tells what to buy.
#[derive(Clone, Debug)]
pub(super) struct Need {
    /// The class of its request; `None` when it is for no request.
    pub(super) class: Option<usize>,
    /// Whether it may be bought on demand though the market sells as well.
    pub(super) on_demand: bool,
    /// Whether it must be: the market took it away twice.
    pub(super) insist: bool,
    /// Where its request was lost.
    pub(super) avoid: Option<Name>,
    /// How long its build takes (seconds).
    pub(super) duration: f64,
}

impl Need {
    /// Whether both are served by the same call. Durations may differ: the first one speaks for all.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.class == other.class
            && (self.on_demand, self.insist) == (other.on_demand, other.insist)
            && self.avoid == other.avoid
    }

    fn avoids(&self, offering: &Offering) -> bool {
        self.avoid.as_ref().is_some_and(|avoid| **avoid == *offering.name)
    }
}

/// What is for sale to a pool, at one moment.
#[derive(Debug)]
pub(super) struct Market<'a> {
    view: &'a View<'a>,
    /// What is open, and as cheap as it must be.
    open: Vec<&'a Offering>,
    /// Whether the pool buys on a market at all.
    has_spot: bool,
    /// When something that is closed is tried again first, and whether a quota closed it.
    next: Option<(Time, ReasonCode)>,
    /// Whether something was left out for its price.
    too_dear: bool,
}

impl<'a> Market<'a> {
    pub(super) fn new(now: Time, view: &'a View<'a>) -> Self {
        let mut market = Self { view, open: Vec::new(), has_spot: false, next: None, too_dear: false };
        for offering in view.offerings {
            market.has_spot |= offering.market == Paid::Spot;
            let dear = view.spec.max_price.is_some_and(|most| offering.price > most)
                || offering.bid.is_some_and(|bid| offering.price.units() > NEAR_BID * bid.units());
            match view.learned.offerings.closed_until(now, offering) {
                _ if dear => market.too_dear = true,
                None => market.open.push(offering),
                Some(closed) => {
                    market.next = Some(
                        market.next.map_or(closed, |next| if closed.0 < next.0 { closed } else { next }),
                    );
                }
            }
        }
        market
    }

    /// The image that most machines boot.
    pub(super) fn image(&self) -> &'a str {
        let canary = &self.view.learned.canary;
        let configured = self.view.image;
        if canary.trial() == Some(configured) || canary.rejected() == Some(configured) {
            canary.proven().unwrap_or(configured)
        } else {
            configured
        }
    }

    /// The offering that is bought when nothing is special: its name.
    pub(super) fn usual(&self) -> &'a str {
        let cheapest = self.open.iter().min_by_key(|offering| offering.price).copied();
        cheapest
            .or_else(|| self.view.offerings.first())
            .map(|offering| offering.name.as_str())
            .unwrap_or_default()
    }

    /// What an hour of that costs.
    pub(super) fn usual_price(&self) -> Money {
        self.open.iter().map(|offering| offering.price).min().unwrap_or_default()
    }

    /// What an hour costs at most of what would be bought first, or why nothing can be bought.
    pub(super) fn price(&self, need: &Need, boot: &BootTimes) -> Result<Money, ReasonCode> {
        match self.ranked(need, boot).first() {
            Some((_, offering)) => Ok(offering.price),
            None => Err(match self.next {
                Some((_, code)) => code,
                None if self.too_dear => ReasonCode::MaxPrice,
                None => ReasonCode::NoCapacity,
            }),
        }
    }

    /// What to buy, the best first.
    pub(super) fn candidates(&self, need: &Need, boot: &BootTimes) -> Vec<Choice> {
        self.ranked(need, boot).into_iter().map(|(_, offering)| self.choice(offering, need)).collect()
    }

    /// When something that is closed is tried again.
    pub(super) fn next_try(&self) -> Option<Time> {
        self.next.map(|(at, _)| at)
    }

    /// The quota that closed something, when its name is known.
    pub(super) fn quota(&self) -> Option<&str> {
        let offerings = &self.view.learned.offerings;
        self.view.offerings.iter().find_map(|offering| offerings.quota_of(&offering.family))
    }

    fn ranked(&self, need: &Need, boot: &BootTimes) -> Vec<(f64, &'a Offering)> {
        let class = need.class.and_then(|class| self.view.spec.classes.get(class));
        let waits = self.has_spot && class.is_some_and(|class| class.on_demand_after.is_some());
        // Where the market has nothing, only who may wait for it does.
        let nothing = !waits && !self.open.iter().any(|offering| offering.market == Paid::Spot);
        let fits = |offering: &&&Offering| match offering.market {
            Paid::Spot => !need.insist,
            Paid::OnDemand => need.on_demand || nothing,
        };
        let fitting = self.open.iter().filter(fits);
        let mut ranked: Vec<_> =
            fitting.map(|offering| (self.score(offering, need, boot), *offering)).collect();
        if ranked.len() > 1 {
            // Where it was lost comes last: better than nothing.
            let avoided = |offering: &Offering| need.avoids(offering);
            ranked.sort_by(|(a, one), (b, other)| {
                let by_score = a.total_cmp(b).then_with(|| one.name.cmp(&other.name));
                avoided(one).cmp(&avoided(other)).then(by_score)
            });
        }
        ranked
    }

    /// The price of what is built in an hour, with what is built twice because the market takes machines back, and the
    /// wait for that. Long builds so come to prefer machines that stay.
    fn score(&self, offering: &Offering, need: &Need, boot: &BootTimes) -> f64 {
        let performance = if offering.performance > 0.0 { offering.performance } else { 1.0 };
        let duration = need.duration.max(1.0) / performance;
        let losses = match offering.market {
            Paid::Spot => self.view.learned.offerings.losses_per_hour(offering),
            Paid::OnDemand => 0.0,
        };
        let lost = 1.0 - (-losses * duration / 3600.0).exp();
        let class = need
            .class
            .and_then(|class| self.view.spec.classes.get(class))
            .or_else(|| self.view.spec.classes.first());
        let lambda = class.map_or(1.0, |class| class.lambda.max(0.0));
        let waste = lost * (duration / 2.0 + boot.p50 + lambda * (duration / 2.0 + boot.p50)) / duration;
        offering.price.units() / performance * (1.0 + waste)
    }

    fn choice(&self, offering: &Offering, need: &Need) -> Choice {
        let cap = match offering.market {
            Paid::OnDemand => None,
            Paid::Spot => {
                // Without a bid, no more than the same machine costs for sure.
                let sure = self.view.offerings.iter().filter(|other| {
                    other.market == Paid::OnDemand && other.instance_type == offering.instance_type
                });
                let bid = offering.bid.or_else(|| sure.map(|other| other.price).min());
                bid.into_iter().chain(self.view.spec.max_price).min()
            }
        };
        Choice {
            offering: offering.name.clone(),
            market: offering.market,
            price: offering.price,
            cap,
            last_resort: need.avoids(offering),
        }
    }
}
