//! Orders to a provider that answers nothing.

use ::pools::{
    Capabilities, Event as PoolEvent, Order, Provider, ProviderError, Token,
    provider::{Answer, LaunchRequest, Launched, Machine},
};

use super::{
    super::providers::{Hands, Supplier, Suppliers},
    *,
};
use crate::{
    core::tests::pools::{farm_with_pools, pool},
    master::ProviderLimits,
};

/// A provider that takes every call, and never answers.
#[derive(Debug, Default)]
struct Mute {
    calls: Arc<Mutex<u32>>,
}

impl Mute {
    fn silence<T: Send + 'static>(&self) -> Answer<'static, T> {
        *lock(&self.calls) += 1;
        Box::pin(std::future::pending::<Result<T, ProviderError>>())
    }
}

impl Provider for Mute {
    fn capabilities(&self) -> Answer<'_, Capabilities> {
        Box::pin(std::future::pending())
    }

    fn launch(&self, _request: LaunchRequest) -> Answer<'_, Launched> {
        self.silence()
    }

    fn list(&self) -> Answer<'_, Vec<Machine>> {
        self.silence()
    }

    fn terminate(&self, _provider_id: String) -> Answer<'_, ()> {
        self.silence()
    }

    fn stop(&self, _provider_id: String) -> Answer<'_, ()> {
        self.silence()
    }

    fn resume(&self, _provider_id: String) -> Answer<'_, ()> {
        self.silence()
    }

    fn console(&self, _provider_id: String) -> Answer<'_, String> {
        self.silence()
    }

    fn cancel(&self, _token: Token) -> Answer<'_, ()> {
        self.silence()
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_ends_before_the_pools_give_it_again() {
    let mute = Mute::default();
    let calls = Arc::clone(&mute.calls);
    let config = farm_with_pools(&[], &[pool("linux", 3)], &[("b1", &["linux"])]);
    let supplier = Supplier { config: Arc::clone(&config.pools[0]), provider: Arc::new(mute) };
    let suppliers = Suppliers::from([("linux".to_owned(), supplier)]);
    let clock = Arc::new(TestClock::starting_at(START));
    let limits = ProviderLimits { calls: 1, ..ProviderLimits::default() };
    let mut hands = Hands::new(suppliers, clock, limits);
    for id in 1..=5 {
        let (instance, pool, provider_id) = (InstanceId(id), "linux".to_owned(), format!("m-{id}"));
        hands.carry_out(Order::Terminate { instance, pool, provider_id });
    }
    let mut codes = Vec::new();
    // The pools repeat an order after two minutes.
    let all = tokio::time::timeout(Duration::from_secs(115), async {
        while codes.len() < 5 {
            if let PoolEvent::Terminated { result: Err(error), .. } = hands.next().await {
                codes.push(error.code);
            }
        }
    });
    all.await.expect("whatever was ordered has ended");
    codes.sort();
    assert_eq!(codes, ["busy", "busy", "busy", "busy", "timeout"]);
    assert_eq!(*lock(&calls), 1);
    hands.cut_off();
}
