//! A master whose pools hire from a cloud in memory, which may be slow, broken or mad.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ::pools::{
    Capabilities, Operator, Provider, ProviderError, State, Token,
    provider::{Answer, ErrorKind, LaunchRequest, Launched, Machine},
};
use model::InstanceId;
use storage::{InstanceFilter, Options};

use super::{super::MasterError, *};
use crate::core::tests::pools::{capabilities, farm_with_pools, machine, pool};

/// How a cloud takes a call to launch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Mood {
    #[default]
    Good,
    /// It refuses, with this.
    Broke,
    /// It starts the machines, and never answers.
    Mute,
    /// It panics.
    Mad,
}

#[derive(Debug, Default)]
struct Sky {
    machines: BTreeMap<String, Machine>,
    calls: Vec<String>,
    tokens: Vec<Token>,
    mood: Mood,
}

/// A cloud that outlives its master.
#[derive(Clone, Debug, Default)]
struct Cloud(Arc<Mutex<Sky>>);

impl Cloud {
    fn mood(&self, mood: Mood) {
        lock(&self.0).mood = mood;
    }

    fn note(&self, call: &str) {
        lock(&self.0).calls.push(call.to_owned());
    }

    fn count(&self, call: &str) -> usize {
        lock(&self.0).calls.iter().filter(|other| *other == call).count()
    }

    fn machines(&self) -> Vec<Machine> {
        lock(&self.0).machines.values().cloned().collect()
    }

    /// Tokens of the calls to launch so far.
    fn tokens(&self) -> Vec<Token> {
        lock(&self.0).tokens.clone()
    }
}

impl Provider for Cloud {
    fn capabilities(&self) -> Answer<'_, Capabilities> {
        Box::pin(async { Ok(capabilities()) })
    }

    fn launch(&self, request: LaunchRequest) -> Answer<'_, Launched> {
        Box::pin(async move {
            self.note("launch");
            let mood = {
                let mut sky = lock(&self.0);
                sky.tokens.push(request.token.clone());
                sky.mood
            };
            assert!(mood != Mood::Mad, "a provider with a bug");
            if mood == Mood::Broke {
                let (code, text) = ("Broke".to_owned(), "no money".to_owned());
                return Err(ProviderError { kind: ErrorKind::Config, code, text });
            }
            let known = |machine: &&Machine| machine.token.as_ref() == Some(&request.token);
            let before: Vec<Machine> = lock(&self.0).machines.values().filter(known).cloned().collect();
            let machines = match before.is_empty() {
                false => before,
                true => request.members.iter().map(|member| machine(&request, member.instance)).collect(),
            };
            for machine in &machines {
                lock(&self.0).machines.insert(machine.provider_id.clone(), machine.clone());
            }
            if mood == Mood::Mute {
                std::future::pending::<()>().await;
            }
            Ok(Launched { machines, ..Launched::default() })
        })
    }

    fn list(&self) -> Answer<'_, Vec<Machine>> {
        Box::pin(async {
            self.note("list");
            Ok(self.machines())
        })
    }

    fn terminate(&self, provider_id: String) -> Answer<'_, ()> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            self.note("terminate");
            lock(&self.0).machines.remove(&provider_id);
            Ok(())
        })
    }

    fn stop(&self, _provider_id: String) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn resume(&self, _provider_id: String) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn console(&self, _provider_id: String) -> Answer<'_, String> {
        Box::pin(async { Ok(String::new()) })
    }

    fn cancel(&self, _token: Token) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// Makes the one cloud the provider of every pool but one.
#[derive(Debug)]
struct Factory(Cloud);

impl Providers for Factory {
    fn provider(
        &self,
        pool: &config::Pool,
    ) -> Result<Arc<dyn Provider>, Box<dyn std::error::Error + Send + Sync>> {
        match pool.spec.name.as_str() {
            "impossible" => Err("there is no such cloud".into()),
            _ => Ok(Arc::new(self.0.clone())),
        }
    }
}

fn one() -> Arc<Config> {
    farm_with_pools(&[("w1", 1)], &[pool("linux", 3)], &[("b1", &["linux"]), ("b2", &["w1"])])
}

fn on_disk(cloud: &Cloud, disk: &Arc<Disk>) -> Running {
    Running::with_pools(one(), Arc::new(Factory(cloud.clone())), disk, World::default())
}

impl Running {
    /// The worker of an instance comes up.
    async fn boots(&self, session: u64, instance: InstanceId) {
        let id = SessionId(session);
        let (pool, instance, peer) = ("linux".to_owned(), Some(instance), "here".to_owned());
        self.event(Event::PoolLoggedIn { session: id, pool, instance, peer }).await;
        let info = Json::Object(serde_json::Map::new());
        self.event(Event::Attached { session: id, info, boot: Some("boot".to_owned()) }).await;
        self.event(Event::Ready { session: id }).await;
    }

    async fn states(&self) -> Vec<State> {
        let pools = self.master.pools().await.unwrap();
        pools.iter().flat_map(|pool| &pool.instances).map(|instance| instance.state).collect()
    }

    /// Ends as a process does that is killed: nothing is said, nothing is written.
    async fn kill(self) {
        self.task.abort();
        until("its end", || self.task.is_finished().then_some(())).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_hired_before_its_rows_are_durable() {
    let (cloud, disk) = (Cloud::default(), Arc::new(Disk::default()));
    let running = on_disk(&cloud, &disk);
    tokio::time::sleep(Duration::from_secs(3)).await;
    running.master.force(forcing("b1")).await.unwrap();
    disk.slow();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(!lock(&disk.waiting).is_empty());
    assert_eq!(cloud.tokens(), []);
    disk.go();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(cloud.machines().len(), 1);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_machine_is_hired_builds_and_is_let_go() {
    let (cloud, disk) = (Cloud::default(), Arc::new(Disk::default()));
    let running = on_disk(&cloud, &disk);
    let mut notices = running.master.subscribe();
    running.master.force(forcing("b1")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(running.states().await, [State::Booting]);
    let instance = cloud.machines()[0].member.unwrap();
    running.boots(1, instance).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        running.world.left(),
        format!("linux@{instance} proves a secret\nadmit 1 with 1 builders\nstart 1: b1 #1")
    );
    running.world.finish(1, Results::Success);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(cloud.machines(), []);
    assert_eq!(cloud.count("launch"), 1);
    running.stop().await.unwrap();
    let mut decisions = 0;
    while let crate::Heard::Notice(notice) = notices.next().await {
        decisions +=
            usize::from(matches!(&*notice, crate::Notice::Decision(decision) if decision.pool == "linux"));
    }
    assert!(decisions >= 3, "{decisions}");
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_is_made_again_with_its_token() {
    let (cloud, disk) = (Cloud::default(), Arc::new(Disk::default()));
    cloud.mood(Mood::Mute);
    let running = on_disk(&cloud, &disk);
    running.master.force(forcing("b1")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(cloud.count("launch"), 1);
    // Everything else goes on.
    running.connect(1, "w1").await;
    running.master.force(forcing("b2")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(running.world.left().ends_with("start 1: b2 #1"));
    cloud.mood(Mood::Good);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let tokens = cloud.tokens();
    assert!(tokens.len() <= 2 && tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    assert_eq!(cloud.machines().len(), 1);
    assert_eq!(running.states().await, [State::Booting]);
    running.world.finish(1, Results::Success);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_provider_with_a_bug_takes_nothing_with_it() {
    let (cloud, disk) = (Cloud::default(), Arc::new(Disk::default()));
    cloud.mood(Mood::Mad);
    let running = on_disk(&cloud, &disk);
    running.master.force(forcing("b1")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(cloud.count("launch") >= 1);
    cloud.mood(Mood::Good);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let tokens = cloud.tokens();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    assert_eq!(cloud.machines().len(), 1);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_work_is_not_tried_all_the_time() {
    let (cloud, disk) = (Cloud::default(), Arc::new(Disk::default()));
    cloud.mood(Mood::Broke);
    let running = on_disk(&cloud, &disk);
    let request = running.master.force(forcing("b1")).await.unwrap().requests[0].1;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!((1..=14).contains(&cloud.count("launch")), "{}", cloud.count("launch"));
    let why = running.master.why(request).await.unwrap();
    assert_eq!(
        why.pool.map(|expected| expected.code),
        Some(::pools::ReasonCode::ConfigError),
        "{}",
        why.text
    );
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn machines_are_ended_while_launches_hang() {
    let (cloud, disk) = (Cloud::default(), Arc::new(Disk::default()));
    let running = on_disk(&cloud, &disk);
    running.master.force(forcing("b1")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let instance = cloud.machines()[0].member.unwrap();
    cloud.mood(Mood::Mute);
    running.master.operate(Operator::Scale { pool: "linux".to_owned(), min: Some(3) }).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(cloud.count("launch") >= 2);
    running.boots(1, instance).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.world.finish(1, Results::Success);
    running.master.operate(Operator::Drain(instance)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(cloud.count("terminate"), 1);
    let unknown = running.master.operate(Operator::Drain(InstanceId(99))).await.unwrap_err();
    assert_eq!(unknown.to_string(), "no pool has an instance 99");
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_over_stops_its_pool_and_nothing_else() {
    let (cloud, disk) = (Cloud::default(), Arc::new(Disk::default()));
    let running = on_disk(&cloud, &disk);
    tokio::time::sleep(Duration::from_secs(3)).await;
    *lock(&disk.fenced) = Some("linux".to_owned());
    running.master.force(forcing("b1")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(cloud.tokens(), [], "the call rested on rows that were refused");
    assert!(!running.master.pools().await.unwrap()[0].owner);
    running.connect(1, "w1").await;
    running.master.force(forcing("b2")).await.unwrap();
    running.world.expect("admit 1 with 1 builders\nstart 1: b2 #1").await;
    running.world.finish(1, Results::Success);
    // The other one gives it up; what it did meanwhile only the tables know.
    *lock(&disk.fenced) = None;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(running.master.pools().await.unwrap()[0].fence, Some(3));
    assert_eq!(cloud.tokens(), []);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn machines_stay_when_the_master_goes() {
    let (cloud, disk) = (Cloud::default(), Arc::new(Disk::default()));
    let running = on_disk(&cloud, &disk);
    running.master.force(forcing("b1")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    running.master.drain().await.unwrap();
    running.master.force(forcing("b1")).await.unwrap();
    running.master.force(forcing("b1")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    running.stop().await.unwrap();
    assert_eq!((cloud.count("launch"), cloud.count("terminate")), (1, 0));
    assert_eq!(cloud.machines().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_cannot_work_is_not_put_in_force() {
    let (cloud, disk) = (Cloud::default(), Arc::new(Disk::default()));
    let running = on_disk(&cloud, &disk);
    let impossible = farm_with_pools(&[], &[pool("impossible", 1)], &[("b1", &["impossible"])]);
    let error = running.master.reload(impossible).await.unwrap_err();
    assert!(matches!(&error, MasterError::Provider(_)), "{error}");
    assert_eq!(error.to_string(), "pool impossible cannot have machines");
    running.master.force(forcing("b1")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(cloud.machines().len(), 1);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_was_told_to_go_goes_although_the_master_ends() {
    let (cloud, disk) = (Cloud::default(), Arc::new(Disk::default()));
    let running = on_disk(&cloud, &disk);
    running.master.force(forcing("b1")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let instance = cloud.machines()[0].member.unwrap();
    running.boots(1, instance).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.world.finish(1, Results::Success);
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.master.operate(Operator::Drain(instance)).await.unwrap();
    running.stop().await.unwrap();
    assert_eq!(cloud.machines(), []);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_cannot_work_yet_keeps_nobody_from_building() {
    let (cloud, disk) = (Cloud::default(), Arc::new(Disk::default()));
    let config =
        farm_with_pools(&[], &[pool("linux", 1), pool("late", 1)], &[("b1", &["linux"]), ("b2", &["late"])]);
    let late = Late(cloud.clone(), Arc::default());
    let running = Running::with_pools(config, Arc::new(late.clone()), &disk, World::default());
    running.master.force(forcing("b1")).await.unwrap();
    running.master.force(forcing("b2")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(cloud.machines().len(), 1, "the pool that can work does");
    let pools = running.master.pools().await.unwrap();
    let last = pools.iter().find(|pool| pool.name == "late").and_then(|pool| pool.last.clone()).unwrap();
    assert!(last.text.contains("no disk yet"), "{last:?}");
    late.1.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(cloud.machines().len(), 2, "and so does the other one when it can");
}

/// The provider of the pool `late` can only be made once that is said.
#[derive(Clone, Debug)]
struct Late(Cloud, Arc<AtomicBool>);

impl Providers for Late {
    fn provider(
        &self,
        pool: &config::Pool,
    ) -> Result<Arc<dyn Provider>, Box<dyn std::error::Error + Send + Sync>> {
        if pool.spec.name == "late" && !self.1.load(Ordering::Relaxed) {
            return Err("no disk yet".into());
        }
        Ok(Arc::new(self.0.clone()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_a_reload_brings_hires() {
    let (cloud, disk) = (Cloud::default(), Arc::new(Disk::default()));
    let before = farm_with_pools(&[("w1", 1)], &[], &[("b1", &["w1"])]);
    let running = Running::with_pools(before, Arc::new(Factory(cloud.clone())), &disk, World::default());
    let changes = running.master.reload(one()).await.unwrap();
    assert!(changes.contains(&"pool linux added".to_owned()), "{changes:?}");
    running.master.force(forcing("b1")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(cloud.machines().len(), 1);
    running.stop().await.unwrap();
}

fn store(directory: &tempfile::TempDir) -> Store {
    let options = Options { linger: Duration::ZERO, ..Options::new("test:/base", START) };
    Store::open(directory.path().join("state.sqlite"), options).unwrap()
}

async fn on_store(cloud: &Cloud, store: &Store) -> Running {
    Running::with_pools_and_store(one(), Arc::new(Factory(cloud.clone())), store).await
}

#[tokio::test]
async fn a_pool_that_another_master_has_is_not_taken_up() {
    let directory = tempfile::tempdir().unwrap();
    let other = Options::new("other:/base", START);
    let other = Store::open(directory.path().join("state.sqlite"), other).unwrap();
    other.lease("linux", START, Duration::from_secs(60)).await.unwrap();
    other.close().await;
    drop(other);

    let store = store(&directory);
    let (config, at) = (one(), |seconds| START + Duration::from_secs(seconds));
    let take_up = |seconds| super::super::hiring::take_up(&store, &config, at(seconds));
    let (hiring, held) = take_up(30).await.unwrap();
    assert_eq!(held["linux"], None);
    assert!(hiring.setup.others.contains("linux"), "its rows go on changing");
    let (hiring, held) = take_up(90).await.unwrap();
    assert_eq!(held["linux"], Some(2));
    assert!(hiring.setup.others.is_empty());
}

#[tokio::test]
async fn the_next_master_adopts_the_machines_of_one_that_was_killed() {
    let (directory, cloud) = (tempfile::tempdir().unwrap(), Cloud::default());
    let first = store(&directory);
    let running = on_store(&cloud, &first).await;
    running.master.force(forcing("b1")).await.unwrap();
    until("a machine", || cloud.machines().pop()).await;
    let instance = cloud.machines()[0].member.unwrap();
    while running.states().await != [State::Booting] {}
    running.boots(1, instance).await;
    until("a build", || (!lock(&running.world.builds).is_empty()).then_some(())).await;
    running.kill().await;
    first.close().await;
    drop(first);

    let second = store(&directory);
    let lists = cloud.count("list");
    let running = on_store(&cloud, &second).await;
    running.master.pools().await.unwrap();
    // It can come back at once.
    running.world.expect(&format!("linux@{instance} proves a secret")).await;
    running.boots(1, instance).await;
    running.world.expect("admit 1 with 1 builders\nstart 2: b1 #2").await;
    until("a listing", || (cloud.count("list") > lists).then_some(())).await;
    let worker = running.master.status().await.unwrap().workers;
    let slots: Vec<&str> =
        worker.iter().map(|worker| worker.name.as_str()).filter(|name| *name != "w1").collect();
    assert_eq!(slots, ["linux-1"]);
    running.world.finish(2, Results::Success);
    while running.states().await != [State::Idle] {}
    running.stop().await.unwrap();
    assert_eq!((cloud.count("launch"), cloud.machines().len()), (1, 1));
    let rows = second.instances(InstanceFilter::default()).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].state.as_str(), rows[0].id), ("idle", instance));
}

#[tokio::test]
async fn a_call_that_was_cut_off_is_found_again() {
    let (directory, cloud) = (tempfile::tempdir().unwrap(), Cloud::default());
    cloud.mood(Mood::Mute);
    let first = store(&directory);
    let running = on_store(&cloud, &first).await;
    running.master.force(forcing("b1")).await.unwrap();
    until("a machine", || cloud.machines().pop()).await;
    let instance = cloud.machines()[0].member.unwrap();
    assert_eq!(running.states().await, [State::Requested]);
    running.kill().await;
    first.close().await;
    drop(first);

    cloud.mood(Mood::Good);
    let second = store(&directory);
    let running = on_store(&cloud, &second).await;
    while running.states().await != [State::Booting] {
        tokio::task::yield_now().await;
    }
    running.boots(1, instance).await;
    until("a build", || (!lock(&running.world.builds).is_empty()).then_some(())).await;
    assert_eq!(cloud.machines().len(), 1);
    let tokens = cloud.tokens();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    running.world.finish(1, Results::Success);
    running.stop().await.unwrap();
}
