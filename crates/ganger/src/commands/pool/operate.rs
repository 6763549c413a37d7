//! What somebody decides: `ganger pool drain`, `hold`, `release`, `pause`, `resume`, `scale`, `trust`.

use clap::Args;

use super::{show, until};
use crate::{
    cli::Remote,
    control::{
        Request,
        pool::{self, Instance, InstanceName, Pool, PoolName, PoolPause, PoolScale},
    },
    exit::{Exit, Failure},
    output::{self, strong, warning},
};

/// Let an instance go when its builds are done.
#[derive(Args, Debug)]
pub(super) struct Drain {
    #[command(flatten)]
    which: WhichInstance,
    #[command(flatten)]
    remote: Remote,
}

/// Keep an instance to look at it; it gets no more builds.
#[derive(Args, Debug)]
pub(super) struct Hold {
    #[command(flatten)]
    which: WhichInstance,

    /// For how long: 90s, 30m, 2h, 1d, 1h30m. At most the pool's `max-hold`.
    #[arg(long = "for", value_name = "TIME", default_value = "2h", value_parser = parse_seconds)]
    seconds: u64,

    /// Why; it is shown with the instance.
    #[arg(long, default_value = "held from the command line")]
    reason: String,

    #[command(flatten)]
    remote: Remote,
}

/// Keep an instance no more: it goes.
#[derive(Args, Debug)]
pub(super) struct Release {
    #[command(flatten)]
    which: WhichInstance,
    #[command(flatten)]
    remote: Remote,
}

/// Start no more instances of a pool; those that are there go on.
#[derive(Args, Debug)]
pub(super) struct Pause {
    /// The pool.
    pool: String,

    /// Why; it is shown with the pool and with requests that wait for it.
    #[arg(long, default_value = "paused from the command line")]
    reason: String,

    #[command(flatten)]
    remote: Remote,
}

/// Start instances of a pool again.
#[derive(Args, Debug)]
pub(super) struct Resume {
    /// The pool.
    pool: String,
    #[command(flatten)]
    remote: Remote,
}

/// Have at least so many instances, until told otherwise.
#[derive(Args, Debug)]
pub(super) struct Scale {
    /// The pool.
    pool: String,

    /// How many; `auto` is what is configured.
    #[arg(value_name = "N|auto", value_parser = parse_min)]
    min: Min,

    #[command(flatten)]
    remote: Remote,
}

/// Start instances though the provider has not said yet which machines there are.
///
/// At its start a master launches nothing before the provider has listed all machines, so that none that an earlier life
/// started is started again. When that listing fails for long, and somebody knows that there are none, this says so. If
/// there are some all the same, they come on top: more than the pool's `max` can run and cost, until a listing succeeds.
#[derive(Args, Debug)]
pub(super) struct Trust {
    /// The pool.
    pool: String,
    #[command(flatten)]
    remote: Remote,
}

/// An instance, on the command line.
#[derive(Args, Debug)]
struct WhichInstance {
    /// Its number, its slot (`linux-3`), its login (`linux@12`), or the provider's name of it.
    #[arg(value_name = "INSTANCE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    instance: String,
}

impl WhichInstance {
    fn name(self) -> InstanceName {
        InstanceName { instance: self.instance }
    }
}

/// How many there are to be at least; `None` is what is configured.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Min(Option<u32>);

impl Drain {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        about_instance(&self.remote, Request::PoolDrain(self.which.name()), None).await
    }
}

impl Hold {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let (instance, seconds, reason) = (self.which.instance, self.seconds, self.reason);
        let request = Request::PoolHold(pool::Hold { instance, seconds, reason });
        about_instance(&self.remote, request, Some(seconds)).await
    }
}

impl Release {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        about_instance(&self.remote, Request::PoolRelease(self.which.name()), None).await
    }
}

impl Pause {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let (pool, reason) = (self.pool, self.reason);
        about_pool(&self.remote, Request::PoolPause(PoolPause { pool, reason }), "is paused").await
    }
}

impl Resume {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        about_pool(&self.remote, Request::PoolResume(PoolName { pool: self.pool }), "goes on").await
    }
}

impl Scale {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let Min(min) = self.min;
        let done = match min {
            Some(min) => format!("has at least {min} instances from now on"),
            None => "has what is configured and demand needs".to_owned(),
        };
        about_pool(&self.remote, Request::PoolScale(PoolScale { pool: self.pool, min }), &done).await
    }
}

impl Trust {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let done = "starts instances, whatever its provider has";
        about_pool(&self.remote, Request::PoolTrust(PoolName { pool: self.pool }), done).await
    }
}

/// Asks, and tells how the instance is now. `hold` is for how long it was to be held.
async fn about_instance(remote: &Remote, request: Request, hold: Option<u64>) -> Result<Exit, Failure> {
    let mut client = remote.connect().await?;
    let instance: Instance = client.call(&request).await?;
    if remote.json {
        output::json(&instance)?;
        return Ok(Exit::Ok);
    }
    // The times of the answer are the master's; what is shown is measured from the last of them.
    let now = [Some(instance.since), instance.ended_at].into_iter().flatten().max().unwrap_or(0);
    output::text(show::instance_line(&instance, now))?;
    if let Some(at) = instance.held_until {
        output::text(format_args!("  it is kept, and goes {}", until(at, now)))?;
        // Both times are rounded to seconds.
        let granted = u64::try_from(at - instance.since).unwrap_or(0);
        if hold.is_some_and(|wanted| wanted > granted.saturating_add(1)) {
            output::text(format_args!("  {}", warning("no longer than the pool's `max-hold`")))?;
        }
    }
    Ok(Exit::Ok)
}

async fn about_pool(remote: &Remote, request: Request, done: &str) -> Result<Exit, Failure> {
    let pool: Pool = remote.connect().await?.call(&request).await?;
    if remote.json {
        output::json(&pool)?;
    } else {
        output::text(format_args!("pool {} {done}", strong(&pool.name)))?;
    }
    Ok(Exit::Ok)
}

/// `90s`, `30m`, `2h`, `1d`, `1h30m`; a number alone is seconds.
fn parse_seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no time: 90s, 30m, 2h, 1d or 1h30m");
    let (mut total, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, unit) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let mut unit_and_rest = unit.chars();
        let seconds = match unit_and_rest.next() {
            None | Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86400,
            Some(_) => return Err(wrong()),
        };
        total = number.checked_mul(seconds).and_then(|more| total.checked_add(more)).ok_or_else(wrong)?;
        rest = unit_and_rest.as_str();
    }
    if total == 0 { Err(wrong()) } else { Ok(total) }
}

fn parse_min(text: &str) -> Result<Min, String> {
    if text == "auto" {
        return Ok(Min(None));
    }
    text.parse().map(|min| Min(Some(min))).map_err(|_| "a number of instances, or `auto`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let check = |text: &str, expect| assert_eq!(parse_seconds(text).ok(), expect, "{text}");
        check("90", Some(90));
        check("90s", Some(90));
        check("2h", Some(7200));
        check("1h30m", Some(5400));
        check("1d", Some(86400));
        for wrong in ["", "0", "h", "2x", "-1h", "1.5h", "99999999999999999999d", "18446744073709551615d"] {
            check(wrong, None);
        }
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse_min("auto"), Ok(Min(None)));
        assert_eq!(parse_min("0"), Ok(Min(Some(0))));
        assert!(parse_min("-1").is_err() && parse_min("many").is_err());
    }
}
