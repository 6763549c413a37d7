//! Pools of containers: a real engine, its usual bridge, and an image with a stock worker.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use testkit::docker::{Engine, GATEWAY, TLS_HOST};

use crate::{
    farm::Farm,
    pools::{at_gate, builder},
};

const IMAGE: &str = "ganger-worker";

/// An engine with the image.
fn engine() -> Engine {
    let engine = Engine::with_bridge().expect("an engine");
    let root = testkit::docker::worker_root().expect("the root of a machine");
    let lines = [
        "USER buildbot",
        "WORKDIR /var/lib/buildbot-worker",
        r#"CMD ["/opt/buildbot-worker/bin/twistd", "--pidfile=", "-ny", "/run/ganger/buildbot.tac"]"#,
    ];
    engine.import(&root, IMAGE, &lines).expect("an image");
    engine
}

/// A master where the engine is, whose workers find it at the bridge.
fn farm(engine: &Engine, objects: &str) -> Farm {
    Farm::inside(engine.network(), &format!("tcp:{GATEWAY}:9989"), objects)
}

/// The containers that there are, in whatever state.
fn containers(engine: &Engine) -> BTreeSet<String> {
    engine.ask(&["ps", "-aq"]).expect("the engine answers").split_whitespace().map(str::to_owned).collect()
}

fn wait_for_nothing(farm: &mut Farm, engine: &Engine) {
    farm.eventually("the pool has no machine", |farm| (farm.pool()["live"] == 0).then_some(()));
    assert_eq!(containers(engine), BTreeSet::new(), "containers are left");
}

#[test]
fn the_first_configuration_of_the_documentation_builds() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/docker.md");
    let page = fs::read_to_string(page).expect("the page");
    let (_, rest) = page.split_once("```toml\n").expect("a configuration");
    let (configuration, _) = rest.split_once("```").expect("its end");
    let (master, objects) = configuration.split_once("[[pool]]").expect("a pool");
    assert!(master.contains(&format!("tcp:{GATEWAY}:9989")), "another address: {master}");
    let engine = engine();
    let objects = format!("[[pool]]{objects}")
        .replace("unix:///var/run/docker.sock", &engine.host())
        .replace("\"linux\"", "\"p\"");
    let mut farm = farm(&engine, &objects);
    let found = farm.json(&["pool", "preflight"]);
    assert_eq!(found["ok"], true, "{found}");
    let build = farm.build("hello", &[]);
    assert_eq!(build["results"], 0, "{build}\n{}", farm.log_text());
    let log = farm.log_of("hello", 1, &[]);
    assert!(log.contains("(buildbot)"), "it runs as the image's user: {log}");
    let output = farm.ganger(&["pool", "drain", "p-1"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    wait_for_nothing(&mut farm, &engine);
}

#[test]
fn containers_come_by_demand_outlive_their_master_and_go() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let shared = fs::Permissions::from_mode(0o777);
    fs::set_permissions(scratch.path(), shared).expect("a directory of our own");
    let engine = engine();
    let [ca, certificate, key] = engine.certificates().map(|path: PathBuf| path.display().to_string());
    let pool = format!(
        "[[pool]]\nname = \"p\"\nmax = 3\nmax_builds = 1\nbuild_wait_timeout = 5\n\
         [pool.docker]\ndocker_host = {TLS_HOST:?}\nimage = {IMAGE:?}\nvolumes = [\"{}:/scratch\"]\n\
         [pool.docker.tls]\nca_cert = {ca:?}\nclient_cert = {certificate:?}\nclient_key = {key:?}\n",
        scratch.path().display()
    );
    let gate = "touch /scratch/runs-$(hostname)-$$; until [ -e /scratch/go ]; do sleep 0.1; done";
    let mut farm = farm(&engine, &(pool + &builder("b", gate)));
    assert_eq!(containers(&engine), BTreeSet::new(), "nothing waits");

    farm.ask("b", 3, &[]);
    farm.eventually("three builds run at once", |_| (at_gate(scratch.path()) == 3).then_some(()));
    let before = containers(&engine);
    assert_eq!(before.len(), 3, "{before:?}");

    farm.kill();
    fs::write(scratch.path().join("go"), "").expect("a writable scratch directory");
    farm.restart();
    let builds = farm.wait_succeeded("b", 3);
    assert_eq!(builds.iter().filter(|build| build["results"] == 5).count(), 3, "{builds:?}");
    let machines: BTreeSet<String> = builds
        .iter()
        .map(|build| farm.property("b", build, "instance_id").as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(machines.len(), 3, "the machines of before and no others: {machines:?}");
    let shown = farm.pool();
    assert_eq!(shown["totals"]["launches"], serde_json::json!({}), "the next master started some: {shown}");

    wait_for_nothing(&mut farm, &engine);
    let now: BTreeSet<String> = containers(&engine);
    assert!(now.is_disjoint(&before));
}
