//! The queries of a [`Store`].

use model::{
    BuildId, BuildNumber, BuildRequestId, BuilderId, BuildsetId, ChangeId, Json, LogId, Properties,
    SchedulerId, SourceStampId, StepId, WorkerId,
};

use super::Read;
use crate::{
    database::params,
    hash::fitting,
    pools::{DecisionFilter, DecisionRow, InstanceFilter, InstanceRow, RestoredPools},
    read,
    rows::{
        BuildFilter, BuildRow, BuilderRow, BuildsetRow, ChangeRow, LogRow, LogText, MasterRow, ObjectStates,
        RequestFilter, RequestRow, SchedulerRow, SourceStampRow, StepRow, WorkerRow,
    },
    sql,
    store::Store,
};

/// # Queries
///
/// They see all that is committed, and run beside the writer on threads of their own. Each fails when the database cannot
/// be read, when a row holds what no Buildbot writes, and when the store is closed.
impl Store {
    /// All masters that ever used the database.
    pub async fn masters(&self) -> Read<Vec<MasterRow>> {
        self.readers().read(read::masters).await
    }

    /// All builders there ever were.
    pub async fn builders(&self) -> Read<Vec<BuilderRow>> {
        self.readers().read(read::builders).await
    }

    /// One builder.
    pub async fn builder(&self, id: BuilderId) -> Read<Option<BuilderRow>> {
        self.readers().read(move |connection| read::builder(connection, id)).await
    }

    /// All workers there ever were.
    pub async fn workers(&self) -> Read<Vec<WorkerRow>> {
        self.readers().read(read::workers).await
    }

    /// One worker.
    pub async fn worker(&self, id: WorkerId) -> Read<Option<WorkerRow>> {
        self.readers().read(move |connection| read::worker(connection, id)).await
    }

    /// All schedulers there ever were.
    pub async fn schedulers(&self) -> Read<Vec<SchedulerRow>> {
        self.readers().read(read::schedulers).await
    }

    /// Changes, newest first.
    pub async fn changes(&self, limit: u32, offset: u32) -> Read<Vec<ChangeRow>> {
        self.readers().read(move |connection| read::changes(connection, limit, offset)).await
    }

    /// One change.
    pub async fn change(&self, id: ChangeId) -> Read<Option<ChangeRow>> {
        self.readers().read(move |connection| read::change(connection, id)).await
    }

    /// The newest change that has a source stamp.
    pub async fn change_of_sourcestamp(&self, id: SourceStampId) -> Read<Option<ChangeRow>> {
        self.readers().read(move |connection| read::change_of_source_stamp(connection, id)).await
    }

    /// The changes that a scheduler waits with, and which are reason enough to build.
    pub async fn scheduler_changes(&self, id: SchedulerId) -> Read<Vec<(ChangeId, bool)>> {
        self.readers().read(move |connection| read::classified_changes(connection, id)).await
    }

    /// One source stamp.
    pub async fn sourcestamp(&self, id: SourceStampId) -> Read<Option<SourceStampRow>> {
        self.readers().read(move |connection| read::sourcestamp(connection, id)).await
    }

    /// The source stamps of a buildset.
    pub async fn sourcestamps(&self, buildset: BuildsetId) -> Read<Vec<SourceStampRow>> {
        self.readers().read(move |connection| read::sourcestamps(connection, buildset)).await
    }

    /// One buildset.
    pub async fn buildset(&self, id: BuildsetId) -> Read<Option<BuildsetRow>> {
        self.readers().read(move |connection| read::buildset(connection, id)).await
    }

    /// Buildsets, newest first.
    pub async fn buildsets(&self, limit: u32, offset: u32) -> Read<Vec<BuildsetRow>> {
        self.readers().read(move |connection| read::buildsets(connection, limit, offset)).await
    }

    /// Properties of a buildset.
    pub async fn buildset_properties(&self, id: BuildsetId) -> Read<Properties> {
        self.readers().read(move |connection| read::buildset_properties(connection, id)).await
    }

    /// One build request.
    pub async fn request(&self, id: BuildRequestId) -> Read<Option<RequestRow>> {
        self.readers().read(move |connection| read::request(connection, id)).await
    }

    /// Build requests.
    pub async fn requests(&self, filter: RequestFilter) -> Read<Vec<RequestRow>> {
        self.readers().read(move |connection| read::requests(connection, &filter)).await
    }

    /// One build.
    pub async fn build(&self, id: BuildId) -> Read<Option<BuildRow>> {
        self.readers().read(move |connection| read::build(connection, id)).await
    }

    /// One build, by its number within its builder.
    pub async fn build_by_number(&self, builder: BuilderId, number: BuildNumber) -> Read<Option<BuildRow>> {
        self.readers().read(move |connection| read::build_by_number(connection, builder, number)).await
    }

    /// Builds.
    pub async fn builds(&self, filter: BuildFilter) -> Read<Vec<BuildRow>> {
        self.readers().read(move |connection| read::builds(connection, &filter)).await
    }

    /// How many builds there are of those that a filter asks for; its limit and offset do not count.
    pub async fn count_builds(&self, filter: BuildFilter) -> Read<i64> {
        self.readers().read(move |connection| read::count_builds(connection, &filter)).await
    }

    /// Properties of a build.
    pub async fn build_properties(&self, id: BuildId) -> Read<Properties> {
        self.readers().read(move |connection| read::build_properties(connection, id)).await
    }

    /// The steps of a build, in their order.
    pub async fn steps(&self, build: BuildId) -> Read<Vec<StepRow>> {
        self.readers().read(move |connection| read::steps(connection, build)).await
    }

    /// One step.
    pub async fn step(&self, id: StepId) -> Read<Option<StepRow>> {
        self.readers().read(move |connection| read::step(connection, id)).await
    }

    /// The logs of a step, in the order they were opened.
    pub async fn logs(&self, step: StepId) -> Read<Vec<LogRow>> {
        self.readers().read(move |connection| read::logs(connection, step)).await
    }

    /// One log.
    pub async fn log(&self, id: LogId) -> Read<Option<LogRow>> {
        self.readers().read(move |connection| read::log(connection, id)).await
    }

    /// One log, by its name in addresses.
    pub async fn log_by_slug(&self, step: StepId, slug: impl Into<String>) -> Read<Option<LogRow>> {
        let slug = slug.into();
        self.readers().read(move |connection| read::log_by_slug(connection, step, &slug)).await
    }

    /// Lines of a log: `count` of them from number `first` on, or fewer when the log ends, has a gap, or when the text
    /// has become longer than 4 MiB. Who wants more asks again from `first_line + num_lines` on.
    pub async fn log_lines(&self, log: LogId, first: i64, count: u32) -> Read<LogText> {
        self.readers().read(move |connection| read::log_lines(connection, log, first.max(0), count)).await
    }

    /// Instances of pools, the newest first.
    pub async fn instances(&self, filter: InstanceFilter) -> Read<Vec<InstanceRow>> {
        self.readers().read(move |connection| read::instances(connection, &filter)).await
    }

    /// What pools decided, the newest first.
    pub async fn decisions(&self, filter: DecisionFilter) -> Read<Vec<DecisionRow>> {
        self.readers().read(move |connection| read::decisions(connection, &filter)).await
    }

    /// Pools that have instances which are not gone, by name.
    pub async fn live_pools(&self) -> Read<Vec<String>> {
        self.readers().read(read::live_pools).await
    }

    /// What the pools of a configuration, and those that have instances still, have to know when their master starts. To be asked after [`Store::restore`], so that a dead master's builds are closed, and after
    /// [`Store::lease`], so that nobody writes what was read.
    pub async fn restore_pools(&self, pools: Vec<String>) -> Read<RestoredPools> {
        self.readers().read(move |connection| read::restore_pools(connection, &pools)).await
    }

    /// All that components of a name have kept.
    pub async fn object_states(&self, object: impl Into<String>) -> Read<ObjectStates> {
        let object = object.into();
        self.readers().read(move |connection| read::object_states(connection, &object)).await
    }

    /// What a component has kept under a key.
    pub async fn object_state(
        &self,
        object: impl Into<String>,
        class: impl Into<String>,
        key: impl Into<String>,
    ) -> Read<Option<Json>> {
        let (object, class, key) = (object.into(), class.into(), key.into());
        self.readers()
            .read(move |connection| {
                let [object, class] = [&object, &class].map(|name| fitting(name, sql::state::OBJECT_LENGTH));
                let key = fitting(&key, sql::state::KEY_LENGTH);
                read::first(connection, sql::state::STATE, params![&*object, &*class, &*key], |row| {
                    let text: String = row.get(0)?;
                    Ok(read::json(&text, || format!("state {key:?} of {object:?}")))
                })
            })
            .await
    }
}
