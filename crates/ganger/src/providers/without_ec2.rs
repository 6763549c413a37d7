//! Pools on EC2, in programs that were built without the feature `ec2`.

use std::{error::Error, sync::Arc};

use config::{Pool, StartProblem};
use model::ec2::Template;
use pools::{Finding, Provider};

use super::Suppliers;

/// This program was built without EC2.
#[derive(Debug, thiserror::Error)]
#[error("this ganger was built without EC2: build it with `cargo build --release -p ganger --features ec2`")]
struct Without;

pub(super) fn provider(
    _: &Suppliers,
    _: &Pool,
    _: &Arc<Template>,
) -> Result<Arc<dyn Provider>, Box<dyn Error + Send + Sync>> {
    Err(Box::new(Without))
}

pub(super) fn problems(_: &Suppliers, pool: &Pool, _: &Arc<Template>) -> Vec<StartProblem> {
    vec![StartProblem {
        key: None,
        message: format!("pool {} cannot have machines: {Without}", pool.spec.name),
    }]
}

/// Nobody asks: there are always [`problems`].
pub(super) async fn preflight(_: &Suppliers, _: &Pool, _: &Arc<Template>) -> Vec<Finding> {
    Vec::new()
}
