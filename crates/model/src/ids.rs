//! One type per kind of id, so that a build id can never be taken for a build number.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

ids! {
    /// `builds.id`: unique in the installation.
    BuildId;
    /// `builds.number`: counts from 1 within a builder; what users see.
    BuildNumber;
    /// `buildrequests.id`.
    BuildRequestId;
    /// `builders.id`.
    BuilderId;
    /// `buildsets.id`.
    BuildsetId;
    /// `changes.changeid`.
    ChangeId;
    /// `ganger_instances.id`: a machine that a pool has, had or means to have.
    InstanceId;
    /// `logs.id`.
    LogId;
    /// `masters.id`.
    MasterId;
    /// `schedulers.id`.
    SchedulerId;
    /// `sourcestamps.id`.
    SourceStampId;
    /// `steps.id`.
    StepId;
    /// `workers.id`.
    WorkerId;
}
