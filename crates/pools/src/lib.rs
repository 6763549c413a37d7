//! Pools of machines that are hired and laid off by demand.
//!
//! Pure: no clock, no randomness of its own, no tasks, no cloud. The owner hands in what happened and the time, and gets
//! back rows to write first, and orders to carry out once they are durable.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod decision;
pub mod demand;
pub mod event;
pub mod learn;
pub mod ledger;
pub mod metadata;
pub mod order;
pub mod plan;
pub mod pools;
pub mod preflight;
pub mod provider;
pub mod sim;

pub use crate::{
    decision::{Decision, ReasonCode, Subject},
    demand::{Demand, Elsewhere, Need, Permit, Waiting},
    event::{Event, Identity, Operator, Warning},
    ledger::{Drain, Ended, Enrolled, Instance, Market, Origin, Slot, State, Token, Verifier},
    order::{Batch, Order},
    pools::{
        Admission, Applicant, EnrollError, EnrollRefusal, Login, LoginRefusal, Mint, Papers, PoolState,
        PoolStatus, Pools, Proof, Setup,
    },
    preflight::{Finding, Verdict},
    provider::{Capabilities, Offering, Provider, ProviderError},
};
