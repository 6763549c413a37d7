//! The same builds under a stock Buildbot and under Ganger, each with a stock worker. What a worker hears and what stands
//! in the database afterwards must be the same, but for what `differences.toml` lists with a reason.
//!
//! `GANGER_DIFFERENTIAL=git,shell` runs only the cases whose names begin so.

mod cases;
mod compare;
mod masters;
mod observed;
mod repository;

use std::time::Duration;

use anyhow::ensure;

use self::{cases::Cases, compare::Known, masters::Master, repository::Repository};

/// Long enough for all cases on a busy machine.
const LIMIT: Duration = Duration::from_secs(400);

#[test]
fn builds_are_the_same_under_both() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let repository = Repository::new(scratch.path())?;
    let cases = Cases::read(&repository)?;
    let known = Known::read()?;
    let mut buildbot = Master::buildbot(scratch.path(), &cases)?;
    let mut ganger = Master::ganger(scratch.path(), &cases)?;
    buildbot.wait_complete(cases.count(), LIMIT)?;
    ganger.wait_complete(cases.count(), LIMIT)?;
    let (theirs, ours) = (buildbot.observed(scratch.path())?, ganger.observed(scratch.path())?);
    ensure!(
        theirs.len() == cases.names().count(),
        "Buildbot built {} of {} cases",
        theirs.len(),
        cases.names().count()
    );
    let report = known.compare(&theirs, &ours, &cases);
    assert!(report.is_empty(), "\n{report}");
    Ok(())
}
