//! Machines of a pool as instances of EC2.
//!
//! What is known of a machine is in its tags, which are set in the call that starts it: `ganger:deployment` and
//! `ganger:pool` say whose it is, `ganger:token` which call it came from, `ganger:template` and `ganger:offering` what was
//! bought. A call is idempotent by its token ([`ClientToken`]); a listing has all pages of all regions or is an error;
//! machines are ended one by one.
//!
//! [`ClientToken`]: https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html

mod after;
mod bucket;
mod buy;
mod clients;
mod clock;
pub mod error;
mod fleet;
mod image;
mod known;
mod launch;
mod list;
mod market;
mod offer;
pub mod preflight;
mod provider;
mod queue;
mod quota;
mod sale;
mod settings;
mod template;
mod types;
mod user_data;
mod warnings;

pub use crate::{
    preflight::preflight,
    provider::Ec2,
    settings::{Settings, SettingsError},
};
