//! The spot market: what machines cost there, and what is bid for them.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use aws_sdk_ec2::{
    Client,
    primitives::DateTime,
    types::{InstanceType, SpotPrice},
};
use model::{
    ec2::{Bid, Spot},
    pool::Money,
};
use pools::ProviderError;
use tokio::time::{Duration, Instant};

use crate::{
    bucket::{self, Class},
    clock, error,
};

/// For so long prices of the market are taken for those of now.
const FRESH: Duration = Duration::from_secs(300);

/// How far back the market is looked at.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// Where the market is so near to the bid, machines are lost soon.
const CLOSE: f64 = 0.8;

/// What a type has cost in a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quote {
    /// Now.
    pub(crate) now: Money,
    /// What it stayed below for 95 % of the week.
    pub(crate) p95: Money,
}

/// Prices by zone and type, by region.
pub(crate) type Quotes = HashMap<(String, String), Quote>;

/// Prices of the spot market, as they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Prices(Mutex<HashMap<String, (Quotes, Instant)>>);

impl Prices {
    /// What types cost in a region now.
    pub(crate) async fn of(
        &self,
        client: &Client,
        region: &str,
        types: &[String],
        product: &str,
    ) -> Result<Quotes, ProviderError> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(region).cloned();
        if let Some((quotes, at)) = known
            && at.elapsed() < FRESH
        {
            return Ok(quotes);
        }
        bucket::turn(region, Class::Describe).await?;
        let now = clock::now().epoch_seconds();
        let week = i64::try_from(WEEK.as_secs()).unwrap_or(i64::MAX);
        let mut pages = client
            .describe_spot_price_history()
            .set_instance_types(Some(types.iter().map(|name| InstanceType::from(&**name)).collect()))
            .product_descriptions(product)
            .start_time(DateTime::from_secs(now - week))
            .end_time(DateTime::from_secs(now))
            .into_paginator()
            .items()
            .send();
        let mut history = HashMap::<_, Vec<_>>::new();
        while let Some(price) = pages.next().await {
            let price = price.map_err(|error| error::told("DescribeSpotPriceHistory", &error, true))?;
            if let Some((key, point)) = point(&price) {
                history.entry(key).or_default().push(point);
            }
        }
        let quotes: Quotes =
            history.into_iter().filter_map(|(key, points)| Some((key, quote(points, now)?))).collect();
        let known = (quotes.clone(), Instant::now());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(region.to_owned(), known);
        Ok(quotes)
    }
}

type Point = (i64, Money);

fn point(price: &SpotPrice) -> Option<((String, String), Point)> {
    let zone = price.availability_zone()?.to_owned();
    let name = price.instance_type()?.as_str().to_owned();
    let amount =
        price.spot_price()?.parse::<f64>().ok().filter(|price| price.is_finite() && *price >= 0.0)?;
    Some(((zone, name), (price.timestamp()?.secs(), Money::from_units(amount))))
}

/// From when on it cost what, until now.
fn quote(mut points: Vec<Point>, now: i64) -> Option<Quote> {
    points.sort_unstable();
    let last = points.last()?.1;
    let ends = points.iter().skip(1).map(|(at, _)| *at).chain([now]);
    let mut spans: Vec<_> =
        points.iter().zip(ends).map(|((at, price), end)| (*price, (end - at).max(0))).collect();
    spans.sort_unstable();
    let total: i64 = spans.iter().map(|(_, span)| span).sum();
    let mut below = 0;
    let p95 = spans.iter().find(|(_, span)| {
        below += span;
        below * 100 >= total * 95
    });
    Some(Quote { now: last, p95: p95.map_or(last, |(price, _)| *price) })
}

/// What is bid for a type that costs so much on demand. `None` when it cannot be said, as the market says no price.
pub(crate) fn bid(spot: &Spot, on_demand: Money, market: Option<Quote>) -> Option<Money> {
    let times = |factor: f64, price: Money| Money::from_units(price.units() * factor);
    let wanted = match spot.bid {
        Bid::OnDemand => on_demand,
        Bid::Absolute(bid) => bid,
        Bid::TimesMarket(factor) => times(factor, market?.now),
        Bid::TimesP95(factor) => times(factor, market?.p95),
        Bid::TimesOnDemand(factor) => times(factor, on_demand),
    };
    let cap = if spot.above_on_demand { wanted } else { wanted.min(on_demand) };
    Some(spot.ceiling.map_or(cap, |ceiling| cap.min(ceiling)))
}

/// Whether a market is too near to a bid to be bought on.
pub(crate) fn is_close(bid: Money, market: Money) -> bool {
    market.units() > bid.units() * CLOSE
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Money = Money(100_000);

    fn spot(bid: Bid) -> Spot {
        Spot { bid, ceiling: None, above_on_demand: false, product: "Linux/UNIX".into() }
    }

    fn market(now: i64, p95: i64) -> Option<Quote> {
        Some(Quote { now: Money(now), p95: Money(p95) })
    }

    #[test]
    fn bids_follow_what_is_configured_and_stay_below_the_price_on_demand() {
        assert_eq!(bid(&spot(Bid::OnDemand), HOUR, None), Some(HOUR));
        assert_eq!(bid(&spot(Bid::Absolute(Money(30_000))), HOUR, None), Some(Money(30_000)));
        assert_eq!(
            bid(&spot(Bid::Absolute(Money(300_000))), HOUR, None),
            Some(HOUR),
            "no more than on demand"
        );
        assert_eq!(bid(&spot(Bid::TimesMarket(1.2)), HOUR, market(40_000, 60_000)), Some(Money(48_000)));
        assert_eq!(bid(&spot(Bid::TimesP95(1.2)), HOUR, market(40_000, 60_000)), Some(Money(72_000)));
        assert_eq!(bid(&spot(Bid::TimesMarket(1.2)), HOUR, None), None);
        let dear = Spot { above_on_demand: true, ..spot(Bid::Absolute(Money(300_000))) };
        assert_eq!(bid(&dear, HOUR, None), Some(Money(300_000)));
        let capped = Spot { ceiling: Some(Money(200_000)), ..dear };
        assert_eq!(bid(&capped, HOUR, None), Some(Money(200_000)));
    }

    #[test]
    fn a_market_near_the_bid_is_left_alone() {
        assert!(!is_close(HOUR, Money(80_000)));
        assert!(is_close(HOUR, Money(80_001)));
    }

    #[test]
    fn quotes_weigh_prices_by_how_long_they_held() {
        let points = vec![(0, Money(10)), (960, Money(50)), (990, Money(20))];
        assert_eq!(quote(points, 1000), Some(Quote { now: Money(20), p95: Money(10) }));
        let points = vec![(0, Money(10)), (500, Money(50))];
        assert_eq!(quote(points, 1000), Some(Quote { now: Money(50), p95: Money(50) }));
        assert_eq!(quote(Vec::new(), 1000), None);
    }
}
