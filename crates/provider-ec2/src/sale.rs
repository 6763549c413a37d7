//! What there is for sale now, and for how much.

use std::collections::BTreeMap;

use model::ec2::{Enrollment, Image, Spot};
use pools::{
    Capabilities, Market, Offering, ProviderError,
    provider::{ApiBudget, Look},
};

use crate::{
    market::{self, Quotes},
    offer::Offer,
    provider::Inner,
};

/// The most machines in one call: half of what EC2's bucket for machines holds.
const BATCH: u32 = 500;

impl Inner {
    /// Says what can be bought. A region that does not say its prices sells nothing on the spot market meanwhile.
    pub(crate) async fn capabilities(&self) -> Result<Capabilities, ProviderError> {
        let template = &self.settings.template;
        let offers = self.find_offers().await?;
        let image = self.image_name().await?;
        let (quotes, silent) = self.quotes().await;
        for (region, error) in &silent {
            let (pool, code) = (&self.settings.pool, &error.code);
            tracing::warn!(pool, region, code, "not offered: its market says no prices: {}", error.text);
        }
        let mut offerings = Vec::new();
        for offer in &*offers {
            match (offer.market, &template.spot) {
                (Market::Spot, Some(spot)) => {
                    offerings.extend(self.on_the_market(offer, spot, &quotes).await)
                }
                _ => offerings.push(offer.offering(offer.price, None)),
            }
        }
        if let (true, Some((_, error))) =
            (offerings.is_empty() && quotes.is_empty(), silent.into_iter().next())
        {
            return Err(error);
        }
        let quota = self.limit_by_quota(&mut offerings).await;
        Ok(Capabilities {
            offerings,
            batch: match template.enrollment {
                Enrollment::Secret => 1,
                Enrollment::Identity | Enrollment::Tags => BATCH,
            },
            // Spot machines that are bought once cannot be stopped.
            stops: template.spot.is_none(),
            api: ApiBudget::default(),
            quota,
            image,
            look: Look::default(),
        })
    }

    /// The image that is meant now, where that has to be found.
    async fn image_name(&self) -> Result<Option<String>, ProviderError> {
        let template = &self.settings.template;
        let mut found = BTreeMap::new();
        for (index, placement) in template.placements.iter().enumerate() {
            if let Some(image @ (Image::Newest { .. } | Image::Parameter(_))) = &placement.image {
                let clients = self.clients(&placement.region).await;
                found.insert(index, self.images.id(&clients, &placement.region, image).await?);
            }
        }
        if found.is_empty() {
            return Ok(None);
        }
        Ok(template.image_name(|index| found.get(&index).cloned()))
    }

    /// An offer on the spot market, unless its market is silent or too dear.
    async fn on_the_market(
        &self,
        offer: &Offer,
        spot: &Spot,
        quotes: &BTreeMap<String, Quotes>,
    ) -> Option<Offering> {
        if !quotes.contains_key(self.region_of(offer)) {
            return None;
        }
        let quote = match self.quote(offer, quotes).await {
            Ok(quote) => quote,
            Err(error) => {
                tracing::warn!(offering = offer.name, code = error.code, "not offered: {}", error.text);
                return None;
            }
        };
        let Some(bid) = market::bid(spot, offer.price, quote) else {
            tracing::debug!(offer.name, "the market says no price for it, so nothing is bid");
            return None;
        };
        let now = quote.map_or(bid, |quote| quote.now);
        if market::is_close(bid, now) && quote.is_some() {
            let (pool, offering) = (&self.settings.pool, &offer.name);
            tracing::info!(pool, offering, market = %now, %bid, "not offered: its market is above 80 % of the bid");
            return None;
        }
        Some(offer.offering(now, Some(bid)))
    }
}
