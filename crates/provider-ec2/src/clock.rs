//! The time that EC2 goes by, too: what it says of machines is compared with nothing else here.

use model::Time;

#[expect(
    clippy::disallowed_methods,
    reason = "prices and machines have their times from EC2's clock, not from the master's"
)]
pub(crate) fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
