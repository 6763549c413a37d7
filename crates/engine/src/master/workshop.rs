//! Builds on the workers that are connected.

use std::sync::Arc;

use config::Config;
use model::Results;
use storage::Store;
use tokio::sync::watch;

use super::{Runner, ports::Boxed};
use crate::{
    BuildOrder, Clock, NoticeSender, Outcome,
    build::{Line, Means},
    worker::Sessions,
};

/// Runs builds on the workers that are connected.
#[derive(Clone, Debug)]
pub struct Workshop {
    /// Where the workers are.
    pub sessions: Sessions,
    /// Where rows go.
    pub store: Store,
    /// Who hears of steps and logs.
    pub notices: NoticeSender,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What is in force: a build takes the master's settings as they are when it starts.
    pub config: watch::Receiver<Arc<Config>>,
}

impl Runner for Workshop {
    fn run(&self, order: Box<BuildOrder>, line: Line) -> Boxed<Outcome> {
        let Self { sessions, store, notices, clock, config } = self.clone();
        let (master_url, base_dir, log_compression) = {
            let config = config.borrow();
            (config.master.url.clone(), config.base_dir.clone(), config.master.log_compression)
        };
        Box::pin(async move {
            let Some(link) = sessions.link(order.session) else {
                let state_string = "worker not available".to_owned();
                return Outcome { results: Results::Retry, state_string };
            };
            let worker = Arc::new(link);
            crate::build::run(
                order,
                Means { worker, store, notices, clock, master_url, base_dir, log_compression },
                line,
            )
            .await
        })
    }
}
