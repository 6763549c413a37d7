//! A provider that could not be made: a program that is not there (any more), a directory on a disk that is not mounted.
//!
//! When the master starts, one pool without a provider must not keep everybody else from building. What stands in for the
//! provider answers with the reason, and makes it as soon as that can be done.

use std::sync::{Arc, OnceLock};

use pools::{
    Capabilities, Provider, ProviderError, Token, Warning,
    provider::{Answer, ErrorKind, LaunchRequest, Launched, Machine},
};
use tracing::info;

use super::Providers;
use crate::causes;

/// Stands in for the provider of a pool.
#[derive(Debug)]
pub(super) struct Unmade {
    factory: Arc<dyn Providers>,
    pool: Arc<config::Pool>,
    made: OnceLock<Arc<dyn Provider>>,
}

impl Unmade {
    pub(super) fn new(factory: Arc<dyn Providers>, pool: Arc<config::Pool>) -> Self {
        Self { factory, pool, made: OnceLock::new() }
    }

    /// The provider, if it can be made now.
    fn provider(&self) -> Result<Arc<dyn Provider>, ProviderError> {
        if let Some(made) = self.made.get() {
            return Ok(Arc::clone(made));
        }
        match self.factory.provider(&self.pool) {
            Ok(provider) => {
                info!(pool = self.pool.spec.name, "the pool can have machines now");
                Ok(Arc::clone(self.made.get_or_init(|| provider)))
            }
            Err(cause) => Err(ProviderError {
                kind: ErrorKind::Config,
                code: "unusable".to_owned(),
                text: causes::in_a_line(&*cause),
            }),
        }
    }

    fn ask<'a, T: 'a>(
        &'a self,
        ask: impl for<'b> FnOnce(&'b dyn Provider) -> Answer<'b, T> + Send + 'a,
    ) -> Answer<'a, T> {
        Box::pin(async move {
            let provider = self.provider()?;
            ask(&*provider).await
        })
    }
}

impl Provider for Unmade {
    fn capabilities(&self) -> Answer<'_, Capabilities> {
        self.ask(|provider| provider.capabilities())
    }

    fn launch(&self, request: LaunchRequest) -> Answer<'_, Launched> {
        self.ask(|provider| provider.launch(request))
    }

    fn list(&self) -> Answer<'_, Vec<Machine>> {
        self.ask(|provider| provider.list())
    }

    fn terminate(&self, provider_id: String) -> Answer<'_, ()> {
        self.ask(|provider| provider.terminate(provider_id))
    }

    fn stop(&self, provider_id: String) -> Answer<'_, ()> {
        self.ask(|provider| provider.stop(provider_id))
    }

    fn resume(&self, provider_id: String) -> Answer<'_, ()> {
        self.ask(|provider| provider.resume(provider_id))
    }

    fn console(&self, provider_id: String) -> Answer<'_, String> {
        self.ask(|provider| provider.console(provider_id))
    }

    fn warnings(&self) -> Answer<'_, Vec<(String, Warning)>> {
        self.ask(|provider| provider.warnings())
    }

    fn cancel(&self, token: Token) -> Answer<'_, ()> {
        self.ask(|provider| provider.cancel(token))
    }
}
