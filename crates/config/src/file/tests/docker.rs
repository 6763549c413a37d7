//! `[pool.docker]`.

use std::time::Duration;

use ::model::{
    docker::{Credentials, Device, Pull, Registry, Template, Ulimit},
    pool::Money,
};

use super::*;
use crate::pool::PoolProvider;

/// A pool whose `[pool.docker]` says this, and a builder on it.
fn pool(docker: &str) -> String {
    format!(
        "[[pool]]\nname = \"p\"\nmax = 2\n[pool.docker]\n{docker}\n[[builder]]\nname = \"b\"\nworkers = [\"p\"]\n"
    )
}

fn template(docker: &str) -> Template {
    let config = good(&pool(docker)).config;
    let PoolProvider::Docker(template) = &config.pools[0].provider else { panic!("no containers") };
    (**template).clone()
}

/// What is wrong with one line of `[pool.docker]`, beside an image.
#[track_caller]
fn wrong(line: &str, what: &str) {
    let errors = errors(&pool(&format!("image = \"i\"\n{line}")));
    assert!(errors.iter().any(|error| error.contains(what)), "{what:?} is not in {errors:#?}");
}

#[test]
fn the_least_is_an_image() {
    assert_eq!(template("image = \"i\""), Template::new("unix:///var/run/docker.sock", "i"));
    let config = good(&pool("image = \"i:2\"")).config;
    assert_eq!(config.pools[0].spec.image, "i:2", "a new image is tried with a few machines first");
    assert!(!config.pools[0].enrolls());
    assert!(errors(&pool("")).iter().any(|error| error.contains("lacks `image`")));
}

#[test]
fn what_latent_workers_take_is_taken() {
    let template = template(
        r#"
docker_host = "unix://var/run/podman.sock"
image = "registry.example.org/worker:3"
autopull = true
alwaysPull = true
registry-user = "farm"
registry-password = "sekrit"
command = ["/start", "%s"]
credentials = "environment"
environment = { CCACHE_DIR = "/cache" }
user = "buildbot"
hostname = "farm"
volumes = ["/srv/cache:/cache", "/etc/ssl:/etc/ssl:ro,z", "ccache:/home/ccache"]
price = 0.25
silence = 60
network_mode = "ci"
extra_hosts = ["host.docker.internal:host-gateway", "git:fd00::1"]
dns = ["10.0.0.53"]
mem_limit = "2g"
shm_size = 67108864
cpus = 1.5
cpuset_cpus = "0-3"
pids_limit = 1000
ulimits = ["nofile=1024:4096", "core=unlimited"]
tmpfs = { "/tmp" = "size=1g" }
devices = ["/dev/kvm", "/dev/fuse:/dev/fuse:rw"]
init = false
privileged = true
cap_add = ["SYS_PTRACE"]
cap_drop = "ALL"
security_opt = ["no-new-privileges"]
group_add = ["kvm"]
runtime = "runsc"
"#,
    );
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let device = |name: &str, permissions: &str| Device {
        host: name.to_owned(),
        container: name.to_owned(),
        permissions: permissions.to_owned(),
    };
    let limit = |name: &str, soft, hard| Ulimit { name: name.to_owned(), soft, hard };
    let expected = Template {
        pull: Pull::Always,
        registry: Some(Registry { user: "farm".to_owned(), password: "sekrit".into() }),
        command: texts(&["/start", "%s"]),
        credentials: Credentials::Environment,
        environment: [("CCACHE_DIR".to_owned(), "/cache".to_owned())].into(),
        user: Some("buildbot".to_owned()),
        hostname: Some("farm".to_owned()),
        volumes: texts(&["/srv/cache:/cache", "/etc/ssl:/etc/ssl:ro,z", "ccache:/home/ccache"]),
        price: Money::from_units(0.25),
        silence: Duration::from_secs(60),
        network_mode: Some("ci".to_owned()),
        extra_hosts: texts(&["host.docker.internal:host-gateway", "git:fd00::1"]),
        dns: texts(&["10.0.0.53"]),
        mem_limit: Some(2 << 30),
        shm_size: Some(64 << 20),
        cpus: Some(1.5),
        cpuset_cpus: Some("0-3".to_owned()),
        pids_limit: Some(1000),
        ulimits: vec![limit("nofile", 1024, 4096), limit("core", -1, -1)],
        tmpfs: [("/tmp".to_owned(), "size=1g".to_owned())].into(),
        devices: vec![device("/dev/kvm", "rwm"), device("/dev/fuse", "rw")],
        init: false,
        privileged: true,
        cap_add: texts(&["SYS_PTRACE"]),
        cap_drop: texts(&["ALL"]),
        security_opt: texts(&["no-new-privileges"]),
        group_add: texts(&["kvm"]),
        runtime: Some("runsc".to_owned()),
        ..Template::new("unix:///var/run/podman.sock", "registry.example.org/worker:3")
    };
    assert_eq!(template, expected);
    assert!(!format!("{template:?}").contains("sekrit"));
}

#[test]
fn what_cannot_be_is_refused_where_it_stands() {
    for (line, what) in [
        ("docker_host = \"ssh://me@farm\"", "6:15 \"ssh://me@farm\" is no engine"),
        ("docker_host = \"tcp://farm\"", "is no engine"),
        ("alwaysPull = true", "`alwaysPull` does nothing without `autopull`"),
        ("autopull = true\nregistry-user = \"u\"", "7:17 `registry-user` has no password"),
        ("autopull = true\nregistry-password = \"s\"", "7:21 the password is nobody's"),
        (
            "autopull = true\nregistry-user = \"u\"\nregistry-password-file = \"/no/such\"",
            "cannot read /no/such",
        ),
        (
            "registry-user = \"u\"\nregistry-password = \"s\"",
            "6:17 nobody asks the registry without `autopull`",
        ),
        ("volumes = [\"/a:/b\", \"/srv\"]", "6:21 \"/srv\" is not `/HOST:/CONTAINER`"),
        ("volumes = [\"relative/path:/b\"]", "is not `/HOST:/CONTAINER`"),
        ("volumes = [\"/a:b\"]", "is not `/HOST:/CONTAINER`"),
        ("volumes = [\"/a:/b:rx\"]", "is not `/HOST:/CONTAINER`"),
        ("volumes = [\"/a:/run\"]", "a machine is told there who it is"),
        ("tmpfs = { \"/run/\" = \"\" }", "a machine is told there who it is"),
        ("tmpfs = { tmp = \"\" }", "\"tmp\" is not a directory"),
        ("mem_limit = \"2 bananas\"", "expected bytes, or a text with a unit"),
        ("mem_limit = \"9999999999g\"", "expected bytes, or a text with a unit"),
        ("mem_limit = -1", "expected bytes, or a text with a unit"),
        ("mem_limit = \"1m\"", "no worker lives in less than 16 MiB"),
        ("cpus = 0", "expected a number of processors"),
        ("dns = [\"example.org\"]", "\"example.org\" is not an IP address"),
        ("extra_hosts = [\"git\"]", "\"git\" is not `NAME:ADDRESS`"),
        ("ulimits = [\"nofile\"]", "\"nofile\" is not `NAME=SOFT:HARD`"),
        ("devices = [\"kvm\"]", "\"kvm\" is not `/dev/kvm`"),
        ("devices = [\"/dev/kvm:/dev/kvm:x\"]", "is not `/dev/kvm`"),
        ("environment = { \"A=B\" = \"\" }", "cannot be the name of an environment variable"),
        ("credentials = \"vault\"", "expected"),
        ("hostconfig = {}", "its keys stand in `[pool.docker]` itself"),
        ("network = \"host\"", "it is called `network_mode`"),
        ("followStartupLogs = true", "`ganger pool why` shows the console"),
        (
            "[pool.docker.tls]\nca_cert = \"/no/such\"\nclient_cert = \"/x\"\nclient_key = \"/x\"",
            "cannot read /no/such",
        ),
        ("[pool.docker.tls]\nca_cert = \"/x\"", "`[pool.docker.tls]` lacks `client_key`"),
    ] {
        wrong(line, what);
    }
    let named_twice = pool("image = \"i\"").replace("max = 2", "max = 2\nimage = \"j\"");
    assert!(errors(&named_twice)[0].contains("is `image` of `[pool.docker]`"));
}

#[test]
fn what_makes_another_machine_makes_another_template() {
    let of = |docker: &str| good(&pool(docker)).config.pools[0].spec.template.clone();
    let first = of("image = \"i\"");
    assert_eq!(
        first,
        of(
            "image = \"i\"\nprice = 2\nautopull = true\ndocker_host = \"tcp://farm:2375\"\nregistry-user = \"u\"\nregistry-password = \"s\""
        )
    );
    assert_ne!(first, of("image = \"j\""));
    assert_ne!(first, of("image = \"i\"\nmem_limit = \"1g\""));
}

#[test]
fn configurations_in_the_document_are_good() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/docker.md");
    let page = fs::read_to_string(path).unwrap();
    let blocks = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let pools: Vec<_> =
        blocks.filter(|block| block.contains("[[pool]]")).map(|block| good(block).config).collect();
    let [first, converted] = &pools[..] else { panic!("{} pools", pools.len()) };
    assert_eq!(first.builders.len(), 1);
    let PoolProvider::Docker(template) = &converted.pools[0].provider else { panic!("no containers") };
    assert_eq!(template.mem_limit, Some(4 << 30));
}
