//! The provider.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use aws_sdk_ec2::{Client, types::Filter};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use model::ec2::Enrollment;
use pools::{
    Capabilities, Provider, ProviderError, Token, Warning,
    provider::{Answer, ErrorKind, LaunchRequest, Launched, Machine, MachineStatus},
};
use tokio::time::Duration;

use crate::{
    Settings, SettingsError, after,
    bucket::{self, Class},
    clients::{Clients, Region},
    clock, error,
    image::Images,
    known::Known,
    list,
    market::{Prices, Quote, Quotes},
    offer::{At, Offer},
    queue::PassedOn,
    quota::Headroom,
    template::Templates,
    types::Types,
    warnings::{Failing, Watch},
};

/// The end of a console that is kept.
const CONSOLE: usize = 64 * 1024;

/// A secret in tags was used by then, or is of no use any more.
const USED: Duration = Duration::from_secs(900);

/// The machines of one pool, as instances of EC2.
#[derive(Clone, Debug)]
pub struct Ec2(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) settings: Settings,
    /// The text that becomes user data.
    pub(crate) text: Option<String>,
    /// What there was to buy when it was last looked for.
    pub(crate) offers: Mutex<Arc<Vec<Offer>>>,
    pub(crate) types: Types,
    pub(crate) clients: Clients,
    pub(crate) images: Images,
    pub(crate) templates: Templates,
    pub(crate) prices: Prices,
    pub(crate) headroom: Headroom,
    pub(crate) known: Known,
    pub(crate) watch: Watch,
    pub(crate) passed_on: PassedOn,
    pub(crate) failing: Failing,
    /// Zones of subnets.
    zones: Mutex<HashMap<String, String>>,
}

impl Ec2 {
    /// Looks whether machines can be made like this, as far as that shows here. Asks nobody. Blocks for a moment.
    ///
    /// # Errors
    /// They cannot, and what is to be changed in the configuration.
    pub fn open(settings: Settings) -> Result<Self, SettingsError> {
        if let Some(problem) = settings.problems().into_iter().next() {
            return Err(problem);
        }
        let text = settings.text()?;
        let offers = Offer::all(&settings.template, |_| settings.template.types.clone());
        Ok(Self(Arc::new(Inner {
            settings,
            text,
            offers: Mutex::new(Arc::new(offers)),
            types: Types::default(),
            clients: Clients::default(),
            images: Images::default(),
            templates: Templates::default(),
            prices: Prices::default(),
            headroom: Headroom::default(),
            known: Known::default(),
            watch: Watch::default(),
            passed_on: PassedOn::default(),
            failing: Failing::default(),
            zones: Mutex::default(),
        })))
    }
}

impl Inner {
    pub(crate) async fn clients(&self, region: &str) -> Region {
        self.clients.of(&self.settings.template, region).await
    }

    pub(crate) async fn client(&self, region: &str) -> Client {
        self.clients(region).await.ec2
    }

    /// Regions of the template, each once.
    pub(crate) fn regions(&self) -> Vec<String> {
        let mut regions = Vec::new();
        for placement in &self.settings.template.placements {
            if !regions.contains(&placement.region) {
                regions.push(placement.region.clone());
            }
        }
        regions
    }

    pub(crate) fn region_of(&self, offer: &Offer) -> &str {
        &self.settings.template.placements[offer.placement].region
    }

    /// What types cost on the spot market, by region, and which regions do not say.
    pub(crate) async fn quotes(&self) -> (BTreeMap<String, Quotes>, Vec<(String, ProviderError)>) {
        let (mut quotes, mut silent) = (BTreeMap::new(), Vec::new());
        let Some(spot) = &self.settings.template.spot else { return (quotes, silent) };
        let offers = self.offers();
        for region in self.regions() {
            let types = self.type_names(&offers, &region);
            let client = self.client(&region).await;
            match self.prices.of(&client, &region, &types, &spot.product).await {
                Ok(found) => drop(quotes.insert(region, found)),
                Err(error) => silent.push((region, error)),
            }
        }
        (quotes, silent)
    }

    /// Types of what there is to buy in a region, each once.
    pub(crate) fn type_names(&self, offers: &[Offer], region: &str) -> Vec<String> {
        let here = offers.iter().filter(|offer| self.region_of(offer) == region);
        here.map(|offer| offer.instance_type.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// What an offer costs on the spot market: the dearest zone counts where it can be any.
    pub(crate) async fn quote(
        &self,
        offer: &Offer,
        quotes: &BTreeMap<String, Quotes>,
    ) -> Result<Option<Quote>, ProviderError> {
        let region = self.region_of(offer);
        let Some(quotes) = quotes.get(region) else { return Ok(None) };
        let zone = match &offer.at {
            At::Anywhere => None,
            At::Zone(zone) => Some(zone.clone()),
            At::Subnet(subnet) => Some(self.zone(region, subnet).await?),
        };
        let fits = quotes.iter().filter(|((at, name), _)| {
            *name == offer.instance_type && zone.as_ref().is_none_or(|zone| zone == at)
        });
        Ok(fits.map(|(_, quote)| *quote).max_by_key(|quote| quote.now))
    }

    async fn zone(&self, region: &str, subnet: &str) -> Result<String, ProviderError> {
        let zones = || self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(zone) = zones().get(subnet) {
            return Ok(zone.clone());
        }
        bucket::turn(region, Class::Describe).await?;
        let found = self.client(region).await.describe_subnets().subnet_ids(subnet).send().await;
        let found = found.map_err(|error| error::told("DescribeSubnets", &error, false))?;
        let zone = found.subnets().first().and_then(|found| found.availability_zone()).ok_or_else(|| {
            ProviderError::config(
                "InvalidSubnetID.NotFound",
                format!("there is no subnet {subnet} in {region}"),
            )
        })?;
        zones().insert(subnet.to_owned(), zone.to_owned());
        Ok(zone.to_owned())
    }

    /// The machines in a region that these filters let through.
    pub(crate) async fn machines(
        &self,
        region: &str,
        filters: Vec<Filter>,
    ) -> Result<Vec<Machine>, ProviderError> {
        let mut machines = list::machines(&self.client(region).await, region, filters).await?;
        let offers = self.offers();
        // A fleet's machines have no tag that says what was bought.
        for machine in machines.iter_mut().filter(|machine| machine.offering.is_none()) {
            let bought = offers.iter().find(|offer| offer.is_of(region, machine, &self.settings.template));
            machine.offering = bought.map(|offer| offer.name.clone());
        }
        Ok(machines)
    }

    async fn list(&self) -> Result<Vec<Machine>, ProviderError> {
        let mut listing = BTreeMap::new();
        for region in self.regions() {
            let client = self.client(&region).await;
            let machines = self.machines(&region, list::ours(&self.settings)).await?;
            self.look_after(&client, &region, &machines).await;
            listing.insert(region, machines);
        }
        Ok(self.known.listed(listing))
    }

    /// Does for machines what could not be done when they were started. What fails is tried again at the next listing.
    async fn look_after(&self, client: &Client, region: &str, machines: &[Machine]) {
        if let Err(error) = after::equip(client, region, &self.settings, machines).await {
            tracing::warn!(pool = self.settings.pool, region, code = error.code, "{}", error.text);
        }
        if self.settings.template.expiry_tag
            && let Err(error) = after::extend(client, region, machines).await
        {
            tracing::warn!(pool = self.settings.pool, region, code = error.code, "{}", error.text);
        }
        if self.settings.template.fleet.is_some()
            && let Err(error) = self.templates.sweep(client, region, &self.settings).await
        {
            tracing::warn!(pool = self.settings.pool, region, code = error.code, "{}", error.text);
        }
        if self.settings.template.enrollment != Enrollment::Tags {
            return;
        }
        let now = clock::now();
        let is_old = |machine: &&Machine| machine.launched_at.is_some_and(|at| now.since(at) > USED);
        let going = |machine: &&Machine| {
            matches!(machine.status, MachineStatus::Terminated | MachineStatus::ShuttingDown)
        };
        let to_forget = self.watch.to_forget(region, machines);
        for machine in to_forget.into_iter().filter(is_old).filter(|machine| !going(machine)) {
            match after::forget_secret(client, region, &machine.provider_id).await {
                Ok(()) => self.watch.forgot(region, &machine.provider_id),
                Err(error) => {
                    tracing::warn!(pool = self.settings.pool, region, code = error.code, "{}", error.text);
                }
            }
        }
    }

    /// A machine of ours by its id, and where it is; `None` when EC2 does not have it, or somebody else does.
    async fn find(&self, id: &str) -> Result<Option<(String, Machine)>, ProviderError> {
        if !is_id(id) {
            return Ok(None);
        }
        let regions = self.known.region(id).map_or_else(|| self.regions(), |region| vec![region]);
        for region in regions {
            let mut filters = list::ours(&self.settings);
            filters.push(Filter::builder().name("instance-id").values(id).build());
            let found = self.machines(&region, filters).await?;
            if let Some(machine) = found.into_iter().find(|machine| machine.provider_id == id) {
                return Ok(Some((region, machine)));
            }
        }
        Ok(None)
    }

    async fn terminate(&self, id: &str) -> Result<(), ProviderError> {
        let region = match self.find(id).await? {
            Some((_, machine)) if machine.status == MachineStatus::Terminated => return Ok(()),
            Some((region, _)) => region,
            None if self.known.is_unseen(id) => match self.known.region(id) {
                Some(region) => region,
                None => return Ok(()),
            },
            None => return Ok(()),
        };
        bucket::turn(&region, Class::Terminate).await?;
        match self.client(&region).await.terminate_instances().instance_ids(id).send().await {
            Ok(_) => {
                self.known.ended(id);
                Ok(())
            }
            Err(error) => {
                let refusal = error::told("TerminateInstances", &error, false);
                match &*refusal.code {
                    // It was started a moment ago, and EC2 does not know it everywhere yet.
                    "InvalidInstanceID.NotFound" if self.known.is_unseen(id) => {
                        Err(ProviderError { kind: ErrorKind::Throttled(None), ..refusal })
                    }
                    "InvalidInstanceID.NotFound" | "InvalidInstanceID.Malformed" => Ok(()),
                    _ => Err(refusal),
                }
            }
        }
    }

    async fn stop(&self, id: &str) -> Result<(), ProviderError> {
        let (region, _) = self.stoppable(id).await?;
        bucket::turn(&region, Class::Change).await?;
        let hibernate = self.settings.template.hibernate.then_some(true);
        let call = self.client(&region).await.stop_instances().instance_ids(id).set_hibernate(hibernate);
        call.send().await.map(drop).map_err(|error| error::told("StopInstances", &error, false))
    }

    async fn resume(&self, id: &str) -> Result<(), ProviderError> {
        let (region, machine) = self.stoppable(id).await?;
        match machine.status {
            MachineStatus::Running | MachineStatus::Pending => return Ok(()),
            MachineStatus::Terminated | MachineStatus::ShuttingDown => return Err(gone(id)),
            MachineStatus::Stopped => {}
            MachineStatus::Stopping => {
                return Err(ProviderError {
                    kind: ErrorKind::Throttled(None),
                    code: "IncorrectInstanceState".to_owned(),
                    text: format!("{id} is still stopping"),
                });
            }
        }
        bucket::turn(&region, Class::Change).await?;
        let call = self.client(&region).await.start_instances().instance_ids(id);
        call.send().await.map(drop).map_err(|error| error::told("StartInstances", &error, false))
    }

    async fn stoppable(&self, id: &str) -> Result<(String, Machine), ProviderError> {
        if self.settings.template.spot.is_some() {
            return Err(ProviderError {
                kind: ErrorKind::Unsupported,
                code: "UnsupportedOperation".to_owned(),
                text: "machines that may be of the spot market are not stopped".to_owned(),
            });
        }
        self.find(id).await?.ok_or_else(|| gone(id))
    }

    async fn console(&self, id: &str) -> Result<String, ProviderError> {
        let (region, _) = self.find(id).await?.ok_or_else(|| gone(id))?;
        bucket::turn(&region, Class::Describe).await?;
        let answer = self.client(&region).await.get_console_output().instance_id(id).send().await;
        let answer = answer.map_err(|error| error::told("GetConsoleOutput", &error, false))?;
        let packed: String = answer.output().unwrap_or_default().split_whitespace().collect();
        let bytes = BASE64_STANDARD.decode(packed).unwrap_or_default();
        let end = bytes.len().saturating_sub(CONSOLE);
        Ok(String::from_utf8_lossy(&bytes[end..]).into_owned())
    }
}

/// Whether this can be an instance at all; anything else is not asked for.
fn is_id(id: &str) -> bool {
    id.strip_prefix("i-").is_some_and(|rest| {
        (8..=32).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn gone(id: &str) -> ProviderError {
    ProviderError::config("InvalidInstanceID.NotFound", format!("EC2 has no instance {id:?} of this pool"))
}

impl Provider for Ec2 {
    fn capabilities(&self) -> Answer<'_, Capabilities> {
        Box::pin(self.0.capabilities())
    }

    fn launch(&self, request: LaunchRequest) -> Answer<'_, Launched> {
        Box::pin(async move { self.0.launch(&request).await })
    }

    fn list(&self) -> Answer<'_, Vec<Machine>> {
        Box::pin(self.0.list())
    }

    fn terminate(&self, provider_id: String) -> Answer<'_, ()> {
        Box::pin(async move { self.0.terminate(&provider_id).await })
    }

    fn stop(&self, provider_id: String) -> Answer<'_, ()> {
        Box::pin(async move { self.0.stop(&provider_id).await })
    }

    fn resume(&self, provider_id: String) -> Answer<'_, ()> {
        Box::pin(async move { self.0.resume(&provider_id).await })
    }

    fn console(&self, provider_id: String) -> Answer<'_, String> {
        Box::pin(async move { self.0.console(&provider_id).await })
    }

    fn cancel(&self, _token: Token) -> Answer<'_, ()> {
        // A call of RunInstances has led to machines when it is answered, or leads to none.
        Box::pin(async { Ok(()) })
    }

    fn warnings(&self) -> Answer<'_, Vec<(String, Warning)>> {
        Box::pin(async { Ok(self.0.warnings().await) })
    }
}
