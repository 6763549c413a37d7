//! The time that EC2 goes by, too: what it says of machines is compared with nothing else here.

use std::time::SystemTime;

use model::Time;

#[expect(
    clippy::disallowed_methods,
    reason = "prices and machines have their times from EC2's clock, not from the master's"
)]
pub(crate) fn now() -> Time {
    SystemTime::now().into()
}
