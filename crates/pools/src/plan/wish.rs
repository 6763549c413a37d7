//! What a plan says.

use std::{sync::Arc, time::Duration};

use model::{BuildRequestId, Time, pool::Money};

use crate::{Market, ReasonCode};

/// What a pool does now, and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolPlan {
    /// The pool.
    pub pool: String,
    /// How many machines there should be: those that get builds or are on their way and are needed, and new ones,
    /// whether limits allow them or not.
    pub wanted: u32,
    /// The minimum in force: the largest of what is configured, scheduled and asked for by hand.
    pub min: u32,
    /// How many machines without work are kept ready.
    pub warm: u32,
    /// How long a machine without work is kept; `None` is for ever.
    pub idle_timeout: Option<Duration>,
    /// What to start, the most urgent first.
    pub launches: Vec<Launch>,
    /// What was wanted and is not started.
    pub denied: Vec<Denied>,
    /// Of that, what requests want and the common maximum of all pools does not allow.
    pub crowded: u32,
    /// How urgent the most urgent of these requests is: where its class begins.
    pub crowded_class: Option<i64>,
    /// How many of [`crate::plan::Supply::open`] are not needed any more.
    pub cancel: u32,
    /// What each waiting request of this pool can expect, in the order of demand.
    pub requests: Vec<Outlook>,
    /// In one word what it does: the code of the first launch, else of the first thing denied, else
    /// [`ReasonCode::Covered`] or [`ReasonCode::NoDemand`].
    pub code: Option<ReasonCode>,
}

/// Machines to start.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// How many. More than a provider takes in one call are more than one call.
    pub count: u32,
    /// Whether they are stopped machines that are started again; then `candidates` is empty.
    pub resume: bool,
    /// What to buy: the best first; the next one when the provider has none of that.
    pub candidates: Vec<Choice>,
    /// The image to boot.
    pub image: String,
    /// The class of the requests that they are for: an index into the pool's classes; `None` when for no request.
    pub class: Option<usize>,
    /// Why.
    pub code: ReasonCode,
    /// Why, in a sentence without a full stop.
    pub text: String,
    /// Some of the requests that they are for, at most as many as machines.
    pub causes: Vec<BuildRequestId>,
}

/// Something that can be bought.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The name of the offering.
    pub offering: String,
    /// How it is paid for.
    pub market: Market,
    /// What an hour costs now.
    pub price: Money,
    /// The most that an hour may cost, for the provider; `None` when the price is fixed.
    pub cap: Option<Money>,
    /// Whether it is bought only when nothing else is to be had: the request was lost there.
    pub last_resort: bool,
}

/// Machines that are wanted and not started.
#[derive(Clone, Debug, PartialEq)]
pub struct Denied {
    /// The limit.
    pub code: ReasonCode,
    /// How many.
    pub count: u32,
    /// Why, in a sentence without a full stop.
    pub text: String,
    /// When it is tried again, when that is known.
    pub next: Option<Time>,
}

/// What a waiting request can expect, in few bytes: there are thousands of them at each pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlook {
    /// Which.
    pub request: BuildRequestId,
    /// When it is expected to start; `None` when nobody can say.
    pub start: Option<Time>,
    /// Why then.
    pub why: Why,
}

/// Why a request starts when it does.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// It will be merged into another one.
    Collapsed(BuildRequestId),
    /// It waits for a lock.
    Lock(Arc<str>),
    /// It waits for a limit on how much runs at once.
    Limit(Arc<str>),
    /// A machine of the pool has a free place.
    Free,
    /// A worker outside the pools has a free place.
    Elsewhere,
    /// A machine that is on its way takes it.
    Coming,
    /// Places become free soon, sooner than a new machine would come.
    Soon,
    /// It follows another request on a machine.
    Behind,
    /// A machine is started for it now.
    New,
    /// A machine would be started for it, but for a limit: an index into [`PoolPlan::denied`].
    Denied(usize),
}

/// What a waiting request can expect, for people and programs.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    /// Which.
    pub request: BuildRequestId,
    /// The pool that takes it.
    pub pool: String,
    /// When it is expected to start; `None` when nobody can say.
    pub start: Option<Time>,
    /// The binding reason.
    pub code: ReasonCode,
    /// The binding reason, in a sentence without a full stop.
    pub text: String,
}

impl PoolPlan {
    /// A plan to do nothing.
    pub fn new(pool: &str) -> Self {
        Self { pool: pool.to_owned(), ..Self::default() }
    }

    /// How many machines are started.
    pub fn started(&self) -> u32 {
        self.launches.iter().map(|launch| launch.count).sum()
    }

    /// What a request can expect, if it waits for this pool.
    pub fn expectation(&self, request: BuildRequestId) -> Option<Expectation> {
        let outlook = self.requests.iter().find(|outlook| outlook.request == request)?;
        let (code, text) = self.reason(outlook);
        Some(Expectation { request, pool: self.pool.clone(), start: outlook.start, code, text })
    }

    /// What the plan does and why, in a sentence without a full stop.
    pub fn sentence(&self) -> String {
        let mut text = String::new();
        let launches = self.launches.iter().map(|launch| &launch.text);
        for part in launches.chain(self.denied.iter().map(|denied| &denied.text)) {
            text.push_str(if text.is_empty() { "" } else { "; " });
            text.push_str(part);
        }
        if text.is_empty() {
            text = match self.requests.len() {
                0 => "nothing waits".to_owned(),
                1 => "one request waits, and needs no other machine".to_owned(),
                n => format!("{n} requests wait, and need no other machine"),
            };
        }
        text
    }

    fn reason(&self, outlook: &Outlook) -> (ReasonCode, String) {
        let (code, text) = match &outlook.why {
            Why::Collapsed(into) => (ReasonCode::Collapsed, format!("it will be merged into request {into}")),
            Why::Lock(name) => (ReasonCode::Lock, format!("waits for {name}")),
            Why::Limit(name) => (ReasonCode::Limit, format!("waits for {name}")),
            Why::Free => (ReasonCode::Covered, "a machine has a free place for it".to_owned()),
            Why::Elsewhere => {
                (ReasonCode::Covered, "a worker outside the pools has a free place for it".to_owned())
            }
            Why::Coming => (ReasonCode::Covered, "a machine that is on its way takes it".to_owned()),
            Why::Soon => (
                ReasonCode::Covered,
                "places become free sooner than another machine could be there".to_owned(),
            ),
            Why::Behind => (
                ReasonCode::Covered,
                "it follows another request, sooner than another machine would pay".to_owned(),
            ),
            Why::New => (ReasonCode::Demand, "a machine is started for it".to_owned()),
            Why::Denied(at) => match self.denied.get(*at) {
                Some(denied) => (denied.code, denied.text.clone()),
                None => (ReasonCode::Covered, "waits for a place".to_owned()),
            },
        };
        (code, text)
    }
}
