//! What becomes of a request for machines: one call, of the kind that fits.

use std::collections::HashMap;

use aws_sdk_ec2::Client;
use model::{ec2::Enrollment, pool::Money};
use pools::{
    Market, ProviderError,
    provider::{ErrorKind, LaunchRequest, Launched, Machine},
};
use secrecy::SecretString;

use crate::{
    after,
    bucket::{self, Class},
    error::{self, ON_DEMAND_QUOTA, SPOT_QUOTA},
    fleet::{self, Competitor},
    image, launch, list,
    offer::Offer,
    provider::Inner,
    quota, user_data,
};

impl Inner {
    /// Starts the machines of a request, or finds those that an earlier call started.
    pub(crate) async fn launch(&self, request: &LaunchRequest) -> Result<Launched, ProviderError> {
        let settings = &self.settings;
        let mut offers = self.offers();
        if offers.is_empty() {
            offers = self.find_offers().await?;
        }
        let offer = offers.iter().find(|offer| offer.name == request.offering).ok_or_else(|| {
            let text = format!("there is no offering `{}` here (any more)", request.offering);
            ProviderError::config("UnknownOffering", text)
        })?;
        if (&request.pool, &request.deployment) != (&settings.pool, &settings.deployment) {
            let text = format!("the machines of pool `{}` are asked of `{}`", request.pool, settings.pool);
            return Err(ProviderError::config("WrongPool", text));
        }
        if let Some(cap) = request.price_cap
            && (cap < Money(0) || (offer.market == Market::OnDemand && cap < offer.price))
        {
            let text = format!("{} costs {} an hour, more than it may", offer.name, offer.price);
            return Err(ProviderError::capacity("PriceTooHigh", text));
        }
        let region = self.region_of(offer);
        let client = self.client(region).await;
        let competitors = fleet::competitors(settings, &offers, offer, request);
        let mut launched = match user_data::of(settings, self.text.as_deref(), request) {
            Ok(data) if competitors.len() > 1 => {
                self.run_fleet(&client, region, &competitors, &data, request).await?
            }
            Ok(data) => self.run(&client, region, offer, &data, request).await?,
            // An earlier call may have started it.
            Err(refusal) => self.of_call(region, request, refusal).await?,
        };
        for (name, error) in &mut launched.refused {
            if let Some(offer) = offers.iter().find(|offer| offer.name == *name) {
                name_quota(error, offer);
            }
        }
        if let Some(error) = &mut launched.short {
            name_quota(error, offer);
        }
        if settings.template.enrollment == Enrollment::Tags {
            launched.machines = after::name_by_tags(&client, region, request, launched.machines).await?;
        }
        self.known.started(region, &launched.machines);
        Ok(launched)
    }

    /// What machines boot. `wanted` is what the pool wants, which after a bad image is the one before.
    pub(crate) async fn image(&self, offer: &Offer, wanted: &str) -> Result<Option<String>, ProviderError> {
        let placements = &self.settings.template.placements;
        let placement = &placements[offer.placement];
        let Some(image) = &placement.image else { return Ok(None) };
        if let Some(id) = image::wanted(wanted, offer.placement, placements.len()) {
            return Ok(Some(id.to_owned()));
        }
        let clients = self.clients(&placement.region).await;
        self.images.id(&clients, &placement.region, image).await.map(Some)
    }

    /// Buys what is asked for.
    async fn run(
        &self,
        client: &Client,
        region: &str,
        offer: &Offer,
        data: &SecretString,
        request: &LaunchRequest,
    ) -> Result<Launched, ProviderError> {
        let image = self.image(offer, &request.image).await?;
        bucket::turn(region, Class::Run).await?;
        let is_spot = offer.market == Market::Spot;
        let answer = launch::call(client, &self.settings, offer, image, data, request).send().await;
        match answer {
            Ok(answer) => {
                let of = |instance| list::machine(region, answer.owner_id(), instance);
                Ok(had(request, answer.instances().iter().filter_map(of).collect()))
            }
            Err(error) => {
                let mut refusal = error::told("RunInstances", &error, is_spot);
                name_quota(&mut refusal, offer);
                self.of_call_with_other_content(region, request, refusal).await
            }
        }
    }

    /// Buys whatever EC2 chooses of what competes.
    async fn run_fleet(
        &self,
        client: &Client,
        region: &str,
        competitors: &[Competitor<'_>],
        data: &SecretString,
        request: &LaunchRequest,
    ) -> Result<Launched, ProviderError> {
        let (settings, (first, _)) = (&self.settings, competitors[0]);
        let Some(choice) = &settings.template.fleet else {
            return self.run(client, region, first, data, request).await;
        };
        let image = self.image(first, &request.image).await?;
        let (templates, placement) = (&self.templates, first.placement);
        let name = templates.ensure(client, region, settings, placement, &request.template).await?;
        bucket::turn(region, Class::Run).await?;
        let by = (&*name, image.as_deref());
        match fleet::call(client, settings, choice, by, competitors, data, request).send().await {
            Ok(answer) => {
                let (quotes, _) = self.quotes().await;
                let mut prices = HashMap::new();
                for (offer, _) in competitors {
                    let quote = match offer.market {
                        Market::Spot => self.quote(offer, &quotes).await.ok().flatten(),
                        Market::OnDemand => None,
                    };
                    prices.insert(&*offer.name, quote.map_or(offer.price, |quote| quote.now));
                }
                let price = |offer: &Offer| prices.get(&*offer.name).copied().unwrap_or(offer.price);
                Ok(fleet::launched(region, image.as_deref(), competitors, request, &answer, price))
            }
            Err(error) => {
                let refusal = error::told("CreateFleet", &error, first.market == Market::Spot);
                if refusal.code.starts_with("InvalidLaunchTemplateName.NotFound") {
                    // Somebody deleted it: it is made again, and nothing was started.
                    self.templates.forget(region, &name);
                    return Err(ProviderError { kind: ErrorKind::Throttled(None), ..refusal });
                }
                self.of_call_with_other_content(region, request, refusal).await
            }
        }
    }

    /// Something of a call is not as it was when it was first made (an image that is newer, a secret that is gone): what counts
    /// is what the first one started. Other refusals stay what they are.
    async fn of_call_with_other_content(
        &self,
        region: &str,
        request: &LaunchRequest,
        refusal: ProviderError,
    ) -> Result<Launched, ProviderError> {
        if refusal.code != "IdempotentParameterMismatch" {
            return Err(refusal);
        }
        self.of_call(region, request, refusal).await
    }

    /// Machines of an earlier call with this token; the refusal when there is none.
    async fn of_call(
        &self,
        region: &str,
        request: &LaunchRequest,
        refusal: ProviderError,
    ) -> Result<Launched, ProviderError> {
        let mut filters = list::ours(&self.settings);
        filters.push(list::of_call(&request.token));
        match self.machines(region, filters).await? {
            found if found.is_empty() => Err(refusal),
            found => Ok(had(request, found)),
        }
    }
}

/// Says of which family a quota of processors is: EC2 does not.
fn name_quota(error: &mut ProviderError, offer: &Offer) {
    if let ErrorKind::Quota(Some(name)) = &mut error.kind
        && [ON_DEMAND_QUOTA, SPOT_QUOTA].contains(&&**name)
        && let Some(code) = quota::code(&offer.instance_type, offer.market)
    {
        code.clone_into(name);
    }
}

/// These machines are what came of a call.
fn had(request: &LaunchRequest, machines: Vec<Machine>) -> Launched {
    let missing = request.members.len().saturating_sub(machines.len());
    let short = (missing > 0).then(|| {
        let text = format!("EC2 has {missing} machines fewer than were asked for");
        ProviderError::capacity("InsufficientInstanceCapacity", text)
    });
    Launched { machines, short, ..Launched::default() }
}
