//! The hands of the pools: each order to a provider as a task of its own, bounded in number and time.
//!
//! Whatever becomes of a task (an answer, no answer in time, a panic), one event tells the pools. Ends of machines have a
//! lane of their own: a provider that is slow to start machines is not slow to end them.

use std::{
    collections::BTreeMap, error::Error, fmt, future::Future, panic::AssertUnwindSafe, sync::Arc,
    time::Duration,
};

use futures_util::FutureExt as _;
use pools::{Event, Order, Provider, ProviderError, provider::ErrorKind};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, error, info, warn};

use super::unmade::Unmade;
use crate::Clock;

/// Events that wait for the core. Tasks wait when there are more.
const ANSWERS: usize = 256;

/// How soon a provider is asked for warnings again that could not say: at first, and at last.
const WARNINGS_AGAIN: Duration = Duration::from_secs(1);
const WARNINGS_LATER: Duration = Duration::from_secs(60);

/// Makes providers. Called when the master starts and when a pool changes; may look at files, and takes no time.
pub trait Providers: fmt::Debug + Send + Sync + 'static {
    /// The provider of a pool.
    ///
    /// # Errors
    /// What is configured cannot work, and what to do about it.
    fn provider(&self, pool: &config::Pool) -> Result<Arc<dyn Provider>, Box<dyn Error + Send + Sync>>;
}

/// For a master without pools.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProviders;

impl Providers for NoProviders {
    fn provider(&self, _pool: &config::Pool) -> Result<Arc<dyn Provider>, Box<dyn Error + Send + Sync>> {
        Err("this master has no providers".into())
    }
}

/// The provider of a pool cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("pool {pool} cannot have machines")]
pub struct ProviderUnusable {
    /// The pool.
    pub pool: String,
    /// Why, and what to do about it.
    #[source]
    pub cause: Box<dyn Error + Send + Sync>,
}

/// The provider of a pool, as it is configured.
#[derive(Clone, Debug)]
pub(super) struct Supplier {
    pub(super) config: Arc<config::Pool>,
    pub(super) provider: Arc<dyn Provider>,
}

/// Providers by pool.
pub(super) type Suppliers = BTreeMap<String, Supplier>;

/// Makes the providers of all pools for a master that starts. A pool without one has no machines until it can be made.
pub(super) fn make_what_can_be(factory: &Arc<dyn Providers>, config: &config::Config) -> Suppliers {
    let suppliers = config.pools.iter().map(|pool| {
        let provider = factory.provider(pool).unwrap_or_else(|cause| {
            let name = &pool.spec.name;
            error!(pool = name, error = &*cause as &dyn Error, "the pool cannot have machines for now");
            Arc::new(Unmade::new(Arc::clone(factory), Arc::clone(pool)))
        });
        (pool.spec.name.clone(), Supplier { config: Arc::clone(pool), provider })
    });
    suppliers.collect()
}

/// Makes the providers of all pools; those that have not changed stay as they are.
pub(super) fn make(
    factory: &dyn Providers,
    config: &config::Config,
    before: &Suppliers,
) -> Result<Suppliers, ProviderUnusable> {
    let suppliers = config.pools.iter().map(|pool| {
        let name = pool.spec.name.clone();
        if let Some(same) = before.get(&name).filter(|before| before.config == *pool) {
            return Ok((name, same.clone()));
        }
        let provider = factory.provider(pool);
        let provider = provider.map_err(|cause| ProviderUnusable { pool: name.clone(), cause })?;
        Ok((name, Supplier { config: Arc::clone(pool), provider }))
    });
    suppliers.collect()
}

/// Bounds on what is asked of providers.
#[derive(Clone, Copy, Debug)]
pub struct ProviderLimits {
    /// Calls of a pool at once that do not end machines, and as many that do.
    pub calls: usize,
    /// How long a call may take.
    pub call: Duration,
    /// How long an order waits for its turn. Both times together are less than the two minutes after which the pools give
    /// an order again, so that no order is ever queued twice.
    pub turn: Duration,
    /// How long a master that ends waits for machines to be ended.
    pub farewell: Duration,
    /// How often a provider is asked what it offers.
    pub offers: Duration,
    /// How soon it is asked again when it did not say.
    pub offers_again: Duration,
}

impl Default for ProviderLimits {
    fn default() -> Self {
        Self {
            calls: 8,
            call: Duration::from_secs(60),
            turn: Duration::from_secs(50),
            farewell: Duration::from_secs(5),
            offers: Duration::from_secs(300),
            offers_again: Duration::from_secs(15),
        }
    }
}

/// Carries out orders.
pub(super) struct Hands {
    lanes: BTreeMap<String, Lane>,
    clock: Arc<dyn Clock>,
    limits: ProviderLimits,
    answers: mpsc::Sender<Event>,
    heard: mpsc::Receiver<Event>,
    /// Cancelled when the master ends: what is under way is cut off, and found again by the next one.
    end: CancellationToken,
    /// Calls that end machines, which the master waits for when it ends.
    ending: TaskTracker,
    /// Whether machines may be started.
    starts: bool,
}

/// One pool's provider.
struct Lane {
    supplier: Supplier,
    calls: Arc<Semaphore>,
    ends: Arc<Semaphore>,
    /// Cancelled when its provider is another one, or nobody wants to know any more what it offers.
    offers: CancellationToken,
}

impl Hands {
    pub(super) fn new(suppliers: Suppliers, clock: Arc<dyn Clock>, limits: ProviderLimits) -> Self {
        let (answers, heard) = mpsc::channel(ANSWERS);
        let (lanes, end, ending) = (BTreeMap::new(), CancellationToken::new(), TaskTracker::new());
        let mut hands = Self { lanes, clock, limits, answers, heard, end, ending, starts: true };
        hands.provide(suppliers);
        hands
    }

    /// These are the providers now. One of a pool that is gone stays, for as long as the pool has machines to end.
    pub(super) fn provide(&mut self, suppliers: Suppliers) {
        for (name, lane) in &self.lanes {
            if !suppliers.contains_key(name) {
                lane.offers.cancel();
            }
        }
        for (name, supplier) in suppliers {
            let same = |lane: &Lane| Arc::ptr_eq(&lane.supplier.provider, &supplier.provider);
            if self.lanes.get(&name).is_some_and(|lane| same(lane) && !lane.offers.is_cancelled()) {
                continue;
            }
            let offers = self.end.child_token();
            let provider = Arc::clone(&supplier.provider);
            let asking = ask_for_offers(name.clone(), provider, self.answers.clone(), self.limits);
            tokio::spawn(offers.clone().run_until_cancelled_owned(asking));
            let hearing = hear_warnings(name.clone(), Arc::clone(&supplier.provider), self.answers.clone());
            tokio::spawn(offers.clone().run_until_cancelled_owned(hearing));
            let (calls, ends) =
                (Arc::new(Semaphore::new(self.limits.calls)), Arc::new(Semaphore::new(self.limits.calls)));
            if let Some(before) = self.lanes.insert(name, Lane { supplier, calls, ends, offers }) {
                before.offers.cancel();
            }
        }
    }

    /// Starts no more machines.
    pub(super) fn start_none(&mut self) {
        self.starts = false;
    }

    /// Lets machines be ended that were told to go, for a while, and cuts off whatever else is under way.
    pub(super) async fn end(&mut self) {
        // Nobody hears the answers any more.
        self.heard.close();
        self.ending.close();
        if timeout(self.limits.farewell, self.ending.wait()).await.is_err() {
            warn!(calls = self.ending.len(), "machines are left to be ended by the next start");
        }
        self.cut_off();
    }

    /// Cuts off whatever is under way.
    pub(super) fn cut_off(&self) {
        self.end.cancel();
    }

    /// Waits for the next answer; for ever when there is none.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Event {
        match self.heard.recv().await {
            Some(event) => event,
            // Not while `answers` is held here.
            None => std::future::pending().await,
        }
    }

    /// Does what is ordered.
    pub(super) fn carry_out(&self, order: Order) {
        match order {
            Order::Launch(request) => {
                let (pool, token) = (request.pool.clone(), request.token.clone());
                if !self.starts {
                    // An earlier call with this token may have come through.
                    let text = "the master is ending, and starts no machines".to_owned();
                    return self.answer(Event::Launched { token, result: Err(unknown("ending", text)) });
                }
                let wanted = request.members.len();
                self.call(
                    &pool,
                    Kind::Call("launch"),
                    move |provider| async move { provider.launch(*request).await },
                    move |_, result| {
                        if let Ok(launched) = &result
                            && launched.machines.len() > wanted
                        {
                            warn!(
                                wanted,
                                got = launched.machines.len(),
                                "a provider started more than was asked for"
                            );
                        }
                        Some(Event::Launched { token, result })
                    },
                );
            }
            Order::List { pool } => {
                let name = pool.clone();
                self.call(
                    &name,
                    Kind::Call("list"),
                    |provider| async move { provider.list().await },
                    |asked_at, result| Some(Event::Listed { pool, asked_at, result }),
                );
            }
            Order::Terminate { instance, pool, provider_id } => self.call(
                &pool,
                Kind::End("terminate"),
                |provider| async move { provider.terminate(provider_id).await },
                move |_, result| Some(Event::Terminated { instance, result }),
            ),
            Order::Reap { pool, provider_id } => self.call(
                &pool,
                Kind::End("terminate"),
                |provider| async move { provider.terminate(provider_id).await },
                |_, _| None,
            ),
            Order::Cancel { pool, token } => self.call(
                &pool,
                Kind::End("cancel"),
                |provider| async move { provider.cancel(token).await },
                |_, _| None,
            ),
            Order::Stop { instance, pool, provider_id } => self.call(
                &pool,
                Kind::End("stop"),
                |provider| async move { provider.stop(provider_id).await },
                move |_, result| Some(Event::Stopped { instance, result }),
            ),
            Order::Resume { instance, pool, provider_id } => self.call(
                &pool,
                Kind::Call("resume"),
                |provider| async move { provider.resume(provider_id).await },
                move |_, result| Some(Event::Resumed { instance, result }),
            ),
            Order::Console { instance, pool, provider_id } => self.call(
                &pool,
                Kind::Call("console"),
                |provider| async move { provider.console(provider_id).await },
                move |_, result| Some(Event::Console { instance, result }),
            ),
            // The core's own.
            Order::Close { .. }
            | Order::Open { .. }
            | Order::Interrupt { .. }
            | Order::Disconnect { .. }
            | Order::Shutdown { .. }
            | Order::Credential { .. } => {}
        }
    }

    /// Makes a call in a task of its own; `told` makes its answer an event.
    fn call<T, C>(
        &self,
        pool: &str,
        kind: Kind,
        call: impl FnOnce(Arc<dyn Provider>) -> C + Send + 'static,
        told: impl FnOnce(model::Time, Result<T, ProviderError>) -> Option<Event> + Send + 'static,
    ) where
        T: Send + 'static,
        C: Future<Output = Result<T, ProviderError>> + Send + 'static,
    {
        let pool = pool.to_owned();
        let Some(lane) = self.lanes.get(&pool) else {
            let text = format!("pool {pool} is not in the configuration, so nobody can be asked");
            let error = ProviderError { kind: ErrorKind::Config, code: "no-provider".to_owned(), text };
            if let Some(event) = told(self.clock.now(), Err(error)) {
                self.answer(event);
            }
            return;
        };
        let places = match kind {
            Kind::Call(_) => Arc::clone(&lane.calls),
            Kind::End(_) => Arc::clone(&lane.ends),
        };
        let (provider, clock) = (Arc::clone(&lane.supplier.provider), Arc::clone(&self.clock));
        let (answers, within, turn) = (self.answers.clone(), self.limits.call, self.limits.turn);
        let task = async move {
            let what = kind.name();
            let place = timeout(turn, places.acquire_owned()).await;
            let asked_at = clock.now();
            let result = match place {
                Ok(Ok(_place)) => bounded(what, within, call(provider)).await,
                // Closed by nobody.
                Ok(Err(_)) => return,
                // An earlier call for the same may have come through: it is not known to have failed.
                Err(_) => Err(unknown(
                    "busy",
                    format!("{what} had no turn within {turn:?}: the calls before it hang"),
                )),
            };
            if let Err(error) = &result {
                info!(pool, call = what, code = error.code, "a provider did not do it: {}", error.text);
            }
            if let Some(event) = told(asked_at, result) {
                // The owner is gone when nobody listens.
                answers.send(event).await.ok();
            }
        };
        let task = self.end.clone().run_until_cancelled_owned(task);
        match kind {
            Kind::Call(_) => tokio::spawn(task),
            Kind::End(_) => self.ending.spawn(task),
        };
    }

    fn answer(&self, event: Event) {
        let answers = self.answers.clone();
        tokio::spawn(async move { answers.send(event).await.ok() });
    }
}

/// Which lane a call takes, and what it is called.
#[derive(Clone, Copy)]
enum Kind {
    Call(&'static str),
    End(&'static str),
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Call(name) | Self::End(name) => name,
        }
    }
}

/// An answer in any case.
async fn bounded<T>(
    what: &'static str,
    within: Duration,
    call: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, ProviderError> {
    match timeout(within, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => {
            error!(call = what, "a provider failed inside the master");
            Err(unknown("panic", format!("internal error of the provider in {what}")))
        }
        Err(_) => Err(unknown("timeout", format!("{what} was not answered within {within:?}"))),
    }
}

/// Whether it was done is not known.
fn unknown(code: &str, text: String) -> ProviderError {
    ProviderError { kind: ErrorKind::Transport, code: code.to_owned(), text }
}

/// Hears what a provider warns of, as long as there is one.
async fn hear_warnings(pool: String, provider: Arc<dyn Provider>, answers: mpsc::Sender<Event>) {
    let mut pause = WARNINGS_AGAIN;
    loop {
        let heard = AssertUnwindSafe(provider.warnings()).catch_unwind().await;
        let heard =
            heard.unwrap_or_else(|_| Err(unknown("panic", "internal error of the provider".to_owned())));
        match heard {
            Ok(warnings) => {
                pause = WARNINGS_AGAIN;
                for (provider_id, warning) in warnings {
                    let pool = pool.clone();
                    if answers.send(Event::Foretold { pool, provider_id, warning }).await.is_err() {
                        return;
                    }
                }
                // One that answers with nothing does not keep the master busy.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                debug!(pool, code = error.code, "the provider's warnings are not heard: {}", error.text);
                sleep(pause).await;
                pause = (pause * 2).min(WARNINGS_LATER);
            }
        }
    }
}

/// Asks again and again what a provider offers.
async fn ask_for_offers(
    pool: String,
    provider: Arc<dyn Provider>,
    answers: mpsc::Sender<Event>,
    limits: ProviderLimits,
) {
    let mut is_known = false;
    loop {
        let again = match bounded("capabilities", limits.call, provider.capabilities()).await {
            Ok(capabilities) => {
                is_known = true;
                let pool = pool.clone();
                if answers.send(Event::Offers { pool, capabilities }).await.is_err() {
                    return;
                }
                limits.offers
            }
            Err(error) if is_known => {
                debug!(
                    pool,
                    code = error.code,
                    "the provider does not say what it offers now: {}",
                    error.text
                );
                limits.offers_again
            }
            Err(error) => {
                warn!(pool, code = error.code, "the provider does not say what it offers: {}", error.text);
                limits.offers_again
            }
        };
        sleep(again).await;
    }
}
