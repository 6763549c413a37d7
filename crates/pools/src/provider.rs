//! Where machines come from.

use std::{collections::BTreeMap, fmt, future::Future, pin::Pin, time::Duration};

use model::{InstanceId, Time, pool::Money};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::{Market, Token, Warning};

/// An answer that takes a while.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ProviderError>> + Send + 'a>>;

/// Starts and ends machines of one pool. Sets no policy; keeps no truth that the machines themselves do not.
///
/// Every call may be made again after a crash or a time-out. `pools::conformance` checks that an implementation holds to
/// what is said here.
pub trait Provider: fmt::Debug + Send + Sync + 'static {
    /// What can be bought now, and for how much.
    fn capabilities(&self) -> Answer<'_, Capabilities>;

    /// Starts machines. Idempotent by the request's token: a second call with it gives the machines of the first and
    /// starts no others. Fewer than asked for is no error; none at all is, unless the answer says why for each offering.
    fn launch(&self, request: LaunchRequest) -> Answer<'_, Launched>;

    /// All machines of the pool: every page, or an error. Those that ended lately may be among them.
    fn list(&self) -> Answer<'_, Vec<Machine>>;

    /// Ends a machine. One that is gone is fine.
    fn terminate(&self, provider_id: String) -> Answer<'_, ()>;

    /// Stops a machine so that it can be started again.
    fn stop(&self, provider_id: String) -> Answer<'_, ()>;

    /// Starts a stopped machine again.
    fn resume(&self, provider_id: String) -> Answer<'_, ()>;

    /// What a machine said while it booted: the end of it, bounded.
    fn console(&self, provider_id: String) -> Answer<'_, String>;

    /// Withdraws a call that has not led to machines yet. One that is unknown is fine.
    fn cancel(&self, token: Token) -> Answer<'_, ()>;

    /// What the provider warns of next, by its names of machines; takes as long as there is nothing. What was answered is
    /// not answered again. For ever, when a provider never warns.
    fn warnings(&self) -> Answer<'_, Vec<(String, Warning)>> {
        Box::pin(std::future::pending())
    }
}

/// What a provider can do for a pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Capabilities {
    /// What can be bought.
    pub offerings: Vec<Offering>,
    /// The most machines in one call.
    pub batch: u32,
    /// Whether machines can be stopped and started again.
    pub stops: bool,
    /// How fast calls may follow each other.
    pub api: ApiBudget,
    /// How many more machines the provider's quota allows, if it says.
    pub quota: Option<Quota>,
    /// The image that the provider found what is configured to mean now, for pools whose image has no name. Another one than
    /// before is tried by a few machines first.
    pub image: Option<String>,
    /// How soon after a listing another one is worth its price, while machines come and go.
    pub look: Look,
}

/// How often machines are looked for while something is expected of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// After one was told to go, and as long as one that was is still there.
    pub going: Duration,
    /// While one is on its way.
    pub coming: Duration,
}

impl Default for Look {
    /// For a provider with few calls a second for everybody.
    fn default() -> Self {
        Self { going: Duration::from_secs(10), coming: Duration::from_secs(60) }
    }
}

/// How fast calls may follow each other: token buckets, as EC2 has them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiBudget {
    /// Calls to launch at once.
    pub calls: u32,
    /// Calls per second after that.
    pub calls_per_second: f64,
    /// Machines at once.
    pub instances: u32,
    /// Machines per second after that.
    pub instances_per_second: f64,
}

impl Default for ApiBudget {
    /// EC2's for `RunInstances`.
    fn default() -> Self {
        Self { calls: 5, calls_per_second: 2.0, instances: 1000, instances_per_second: 2.0 }
    }
}

/// A provider's own limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Its name, as one asks for more of it: `L-1216C47A`.
    pub name: String,
    /// How many more machines it allows.
    pub headroom: u32,
}

/// Something that can be bought: a place, a type and a market.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offering {
    /// Names it: `us-east-1a/m7i.large/spot`.
    pub name: String,
    /// The type of machine, for the build's property.
    pub instance_type: String,
    /// Types that share a quota.
    pub family: String,
    /// How it is paid for.
    pub market: Market,
    /// What an hour costs now.
    pub price: Money,
    /// The most that is paid for an hour on the spot market.
    pub bid: Option<Money>,
    /// How much faster builds are than on the slowest type; 1 when nobody says.
    pub performance: f64,
    /// How likely an hour of it ends by the market.
    pub loss_per_hour: f64,
}

impl Offering {
    /// All that a provider without a market has: machines of one kind, at one price.
    pub fn only(name: &str, price: Money) -> Self {
        Self {
            name: name.to_owned(),
            instance_type: name.to_owned(),
            family: name.to_owned(),
            market: Market::OnDemand,
            price,
            bid: None,
            performance: 1.0,
            loss_per_hour: 0.0,
        }
    }
}

/// What a call is for. Sent again unchanged with the same token.
#[derive(Clone, Debug)]
pub struct LaunchRequest {
    /// Names the call.
    pub token: Token,
    /// The pool.
    pub pool: String,
    /// Names this installation; machines of another one are never touched.
    pub deployment: String,
    /// The rows that want machines. Their number is how many are wanted.
    pub members: Vec<Member>,
    /// What to buy.
    pub offering: String,
    /// The most that an hour may cost.
    pub price_cap: Option<Money>,
    /// What may be bought instead, on the same market, by a provider that buys of several in one call; the best first. Others
    /// buy what `offering` names.
    pub others: Vec<Alternative>,
    /// A digest of what machines are made from, as a tag.
    pub template: String,
    /// The image to boot; empty when none was found yet.
    pub image: String,
    /// Proves at enrollment that a machine came from this call: [`crate::metadata::Enroll::ticket`]. The same each time the
    /// call is made, also after a restart.
    pub ticket: Option<SecretString>,
}

impl LaunchRequest {
    /// Refuses what is not for a provider of this pool and deployment that has only this offering.
    ///
    /// # Errors
    ///
    /// As a provider answers such a call.
    pub fn check(&self, pool: &str, deployment: &str, only: &Offering) -> Result<(), ProviderError> {
        let Offering { name, price, .. } = only;
        if self.offering != *name {
            let text = format!("there is no offering `{}` here, only `{name}`", self.offering);
            return Err(ProviderError::config("UnknownOffering", text));
        }
        if (&*self.pool, &*self.deployment) != (pool, deployment) {
            let text = format!("the machines of pool `{}` are asked of pool `{pool}`", self.pool);
            return Err(ProviderError::config("WrongPool", text));
        }
        if self.price_cap.is_some_and(|cap| cap < *price) {
            let text = format!("a machine costs {price} an hour, more than it may");
            return Err(ProviderError::capacity("PriceTooHigh", text));
        }
        Ok(())
    }
}

/// Something else that a call may buy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// The name of the offering.
    pub offering: String,
    /// The most that an hour of it may cost.
    pub price_cap: Option<Money>,
}

/// A machine that is wanted.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its row.
    pub instance: InstanceId,
    /// What its worker logs in as: `POOL@ID`.
    pub login: String,
    /// What its worker proves to know. Gone from memory after the call; a call that is sent again after a restart of the
    /// master has none, and its machines are not of use.
    pub secret: Option<SecretString>,
}

/// What became of a call to launch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Launched {
    /// The machines.
    pub machines: Vec<Machine>,
    /// Whether the call is still open: more may come (an open spot request). Those show in a listing.
    pub open: bool,
    /// Why there are fewer than asked for, if there are.
    pub short: Option<ProviderError>,
    /// What stands against single offerings of the call, by their names.
    pub refused: Vec<(String, ProviderError)>,
}

impl Launched {
    /// The answer to a call whose machines were started one by one: an error where none was.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn one_by_one(
        started: impl IntoIterator<Item = Result<Machine, ProviderError>>,
    ) -> Result<Self, ProviderError> {
        let mut launched = Self::default();
        for machine in started {
            match machine {
                Ok(machine) => launched.machines.push(machine),
                Err(error) => launched.short = Some(error),
            }
        }
        match launched.short.take() {
            Some(error) if launched.machines.is_empty() => Err(error),
            short => Ok(Self { short, ..launched }),
        }
    }
}

/// A machine as its provider sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// The provider's name of it.
    pub provider_id: String,
    /// The call that it came from: its tag.
    pub token: Option<Token>,
    /// The row that it was started for, when the provider keeps them apart.
    pub member: Option<InstanceId>,
    /// What it is.
    pub offering: Option<String>,
    /// A digest of what it was made from: its tag.
    pub template: Option<String>,
    /// Whether it runs.
    pub status: MachineStatus,
    /// When the provider started it, by the provider's clock.
    pub launched_at: Option<Time>,
    /// What an hour of it costs, when the provider says.
    pub price: Option<Money>,
    /// More for people: address, zone. Where `account`, `region`, `image` and `type` are said, a machine that enrolls must
    /// prove to have just these.
    pub details: BTreeMap<String, String>,
}

/// Whether a machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineStatus {
    /// It is being started.
    Pending,
    /// It runs.
    Running,
    /// It is being stopped.
    Stopping,
    /// It is stopped.
    Stopped,
    /// It is being ended.
    ShuttingDown,
    /// It is gone.
    Terminated,
}

/// What went wrong, by what is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} ({code})")]
pub struct ProviderError {
    /// What is to be done about it.
    pub kind: ErrorKind,
    /// The provider's own code: `InsufficientInstanceCapacity`.
    pub code: String,
    /// In words.
    pub text: String,
}

impl ProviderError {
    /// What is configured or asked for cannot work.
    pub fn config(code: &str, text: String) -> Self {
        Self { kind: ErrorKind::Config, code: code.to_owned(), text }
    }

    /// There is nothing to be had.
    pub fn capacity(code: &str, text: String) -> Self {
        Self { kind: ErrorKind::Capacity, code: code.to_owned(), text }
    }
}

/// What is to be done about an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// This offering has nothing now: buy another one.
    Capacity,
    /// A quota is used up (its name, when known): buy of another family, and tell people.
    Quota(Option<String>),
    /// Too many calls: later. Nothing was done.
    Throttled(Option<Duration>),
    /// What became of the call is not known: ask again with the same token, or list.
    Transport,
    /// What is configured cannot work: tell people, and try seldom.
    Config,
    /// The provider cannot do this at all.
    Unsupported,
}
