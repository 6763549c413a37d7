//! Ids of new rows, given out before the rows are written.

use std::sync::atomic::{AtomicI64, Ordering};

use model::{
    BuildId, BuildRequestId, BuilderId, BuildsetId, ChangeId, InstanceId, LogId, SchedulerId, StepId,
    WorkerId,
};

macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident, $next:ident: $id:ident, $table:literal . $column:literal;)*) => {
        /// Gives out ids above every id that the tables held when the store was opened. Cheap, and safe from any thread.
        ///
        /// Only one process writes, so its ids need no database to be unique.
        #[derive(Debug, Default)]
        pub struct Ids {
            $($field: AtomicI64,)*
        }

        impl Ids {
            /// The tables and their id columns.
            pub(crate) const TABLES: &'static [(&'static str, &'static str)] = &[$(($table, $column),)*];

            /// Starts above the highest ids in use, in the order of [`Self::TABLES`].
            pub(crate) fn above(highest: &[i64]) -> Self {
                let mut highest = highest.iter().copied();
                Self { $($field: AtomicI64::new(highest.next().unwrap_or(0)),)* }
            }

            /// The highest ids that were given out, in the order of [`Self::TABLES`].
            pub(crate) fn given(&self) -> [i64; Self::TABLES.len()] {
                [$(self.$field.load(Ordering::Relaxed)),*]
            }

            $(
                $(#[$doc])*
                pub fn $next(&self) -> $id {
                    $id(self.$field.fetch_add(1, Ordering::Relaxed) + 1)
                }
            )*
        }
    };
}

counters! {
    /// An id for a build.
    build, next_build: BuildId, "builds"."id";
    /// An id for a builder.
    builder, next_builder: BuilderId, "builders"."id";
    /// An id for a buildset.
    buildset, next_buildset: BuildsetId, "buildsets"."id";
    /// An id for a change.
    change, next_change: ChangeId, "changes"."changeid";
    /// An id for an instance of a pool.
    instance, next_instance: InstanceId, "ganger_instances"."id";
    /// An id for a log.
    log, next_log: LogId, "logs"."id";
    /// An id for a build request.
    request, next_request: BuildRequestId, "buildrequests"."id";
    /// An id for a scheduler.
    scheduler, next_scheduler: SchedulerId, "schedulers"."id";
    /// An id for a step.
    step, next_step: StepId, "steps"."id";
    /// An id for a worker.
    worker, next_worker: WorkerId, "workers"."id";
}
