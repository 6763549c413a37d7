//! The same builds under a stock Buildbot and under Ganger, each with a stock worker. What a worker hears and what stands
//! in the database afterwards must be the same, but for what `differences.toml` lists with a reason.
//!
//! `GANGER_DIFFERENTIAL=git-full,git-tags` runs only the cases whose names begin so.

mod cases;
mod compare;
mod http;
mod masters;
mod observed;
mod repository;
mod tables;

use std::time::Duration;

use anyhow::ensure;

use self::{cases::Cases, compare::Known, masters::Master, repository::Repository};

/// Long enough for the cases of a file on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

/// One test for each file of cases, which has masters of its own.
macro_rules! files {
    ($($file:ident)*) => {
        $(
            #[test]
            fn $file() -> anyhow::Result<()> {
                the_same_under_both(stringify!($file))
            }
        )*

        #[test]
        fn every_file_of_cases_is_run() -> anyhow::Result<()> {
            assert_eq!(Cases::files()?, [$(stringify!($file)),*]);
            Ok(())
        }
    };
}

files! {
    checkout cmake directory farm flags git hosted http master patch property schedulers sequence shell transfer trigger
    warnings
}

fn the_same_under_both(file: &str) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let repository = Repository::new(scratch.path())?;
    let cases = Cases::read(file, &repository)?;
    let known = Known::read(file)?;
    let mut buildbot = Master::buildbot(scratch.path(), &cases)?;
    let mut ganger = Master::ganger(scratch.path(), &cases)?;
    buildbot.wait_complete(cases.count(), LIMIT)?;
    ganger.wait_complete(cases.count(), LIMIT)?;
    let (mut theirs, mut ours) = (buildbot.observed(scratch.path())?, ganger.observed(scratch.path())?);
    if let Some(name) = &cases.tables {
        theirs.insert(name.clone(), buildbot.tables(scratch.path())?);
        ours.insert(name.clone(), ganger.tables(scratch.path())?);
    }
    let report = known.compare(&theirs, &ours, &cases);
    assert!(report.is_empty(), "\n{report}");
    let never: Vec<&str> = cases.names().filter(|case| !theirs.contains_key(*case)).collect();
    ensure!(never.is_empty(), "neither builds {}", never.join(", "));
    Ok(())
}
