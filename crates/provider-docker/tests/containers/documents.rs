//! What a container is told, who can read it, and what goes wrong.

use std::sync::Arc;

use model::docker::{Credentials, Device, Template, Ulimit};
use pools::{
    Provider as _, Verdict,
    metadata::Document,
    provider::{ErrorKind, MachineStatus},
};
use provider_docker::{Docker, Settings, preflight};

use crate::engine::{PASSWORD, Site};

#[tokio::test]
async fn the_document_is_for_the_containers_user_alone_and_not_in_what_the_engine_tells() {
    let mut site = Site::start();
    site.template().user = Some("1000:1000".to_owned());
    let launched = site.provider().launch(site.request(1)).await.expect("a machine");
    let name = &launched.machines[0].provider_id;
    let text = site.ask(&["exec", name, "cat", "/run/ganger/document.json"]);
    let document = Document::parse(text.as_bytes()).expect("a document");
    assert_eq!(document.worker.expect("a worker").name, "linux@1");
    let stat = site.ask(&["exec", name, "stat", "-c", "%a %u", "/run/ganger/document.json"]);
    assert_eq!(stat.trim(), "400 1000");
    assert!(
        !site.ask(&["inspect", name]).contains(PASSWORD),
        "the password is shown to whoever asks the engine"
    );
    let console = site.provider().console(name.clone()).await.expect("a console");
    assert!(console.contains("booted"), "{console:?}");

    // By the name that the image has for the number.
    site.template().user = Some("buildbot".to_owned());
    let launched = site.provider().launch(site.request(1)).await.expect("a machine");
    let name = &launched.machines[0].provider_id;
    let stat = site.ask(&["exec", name, "stat", "-c", "%a %u", "/run/ganger/document.json"]);
    assert_eq!(stat.trim(), "400 1234");
    site.template().user = Some("nobody".to_owned());
    let error = site.provider().launch(site.request(1)).await.expect_err("the image does not know them");
    assert_eq!((error.kind, &*error.code), (ErrorKind::Config, "User"));

    // As images for Buildbot's own latent workers have it.
    site.template().user = None;
    site.template().credentials = Credentials::Environment;
    let launched = site.provider().launch(site.request(1)).await.expect("a machine");
    let name = &launched.machines[0].provider_id;
    let shown = site.ask(&["inspect", name]);
    for variable in ["BUILDMASTER=127.0.0.1", "BUILDMASTER_PORT=9", "WORKERNAME=linux@4", PASSWORD] {
        assert!(shown.contains(variable), "{variable} is not in {shown}");
    }
}

#[tokio::test]
async fn what_cannot_be_is_told_and_leaves_nothing() {
    let site = Site::start();
    let right = (*site.settings.template).clone();
    let with = |template: Template| Settings { template: Arc::new(template), ..site.settings.clone() };
    let wrong: [fn(&mut Template); 3] = [
        |template| template.image = "nobody/has-it:1".to_owned(),
        |template| template.command = vec!["/no/such/program".to_owned()],
        |template| template.network_mode = Some("no-such-network".to_owned()),
    ];
    for change in wrong {
        let mut template = right.clone();
        change(&mut template);
        let provider = Docker::open(with(template.clone())).expect("nothing asks the engine yet");
        let error = provider.launch(site.request(1)).await.expect_err("that cannot be");
        assert_eq!(error.kind, ErrorKind::Config, "{error}");
        assert_eq!(site.ask(&["ps", "-aq"]), "", "a container is left: {template:?}");
    }
    let away = with(Template { docker_host: "unix:///no/such/socket".to_owned(), ..right });
    let error = Docker::open(away.clone()).expect("it may come").list().await.expect_err("nobody is there");
    assert_eq!(error.kind, ErrorKind::Transport, "{error}");
    let found = preflight(&away, 1).await;
    assert_eq!((found.len(), found[0].verdict), (1, Verdict::Bad), "{found:?}");
}

#[tokio::test]
async fn what_is_bad_is_found_before_anything_is_started() {
    let mut site = Site::start();
    let right = preflight(&site.settings, 2).await;
    assert!(right.iter().all(|found| found.verdict == Verdict::Good), "{right:?}");
    let template = site.template();
    template.image = "nobody/has-it:1".to_owned();
    template.network_mode = Some("no-such-network".to_owned());
    template.mem_limit = Some(1 << 50);
    template.cpus = Some(100_000.0);
    template.runtime = Some("no-such-runtime".to_owned());
    let wrong = preflight(&site.settings, 2).await;
    let bad: Vec<_> =
        wrong.iter().filter(|found| found.verdict == Verdict::Bad).map(|found| &*found.subject).collect();
    assert_eq!(bad, ["image", "network", "mem_limit", "cpus", "runtime"], "{wrong:?}");
    assert_eq!(site.ask(&["ps", "-aq"]), "", "something was made");
}

#[tokio::test]
async fn a_container_has_the_limits_and_mounts_that_are_configured() {
    let mut site = Site::start();
    let template = site.template();
    template.hostname = Some("farm".to_owned());
    template.environment = [("COLOUR".to_owned(), "red".to_owned())].into();
    template.volumes = vec!["/etc:/host-etc:ro".to_owned()];
    template.tmpfs = [("/scratch".to_owned(), "size=1m".to_owned())].into();
    template.mem_limit = Some(64 << 20);
    template.shm_size = Some(32 << 20);
    template.cpus = Some(0.5);
    template.pids_limit = Some(100);
    template.ulimits = vec![Ulimit { name: "nofile".to_owned(), soft: 100, hard: 200 }];
    template.cap_drop = vec!["ALL".to_owned()];
    let all = |name: &str| Device {
        host: name.to_owned(),
        container: "/dev/also".to_owned(),
        permissions: "r".to_owned(),
    };
    template.devices = vec![all("/dev/zero")];
    let launched = site.provider().launch(site.request(1)).await.expect("a machine");
    let name = &launched.machines[0].provider_id;
    let shell = |command: &str| site.ask(&["exec", name, "sh", "-c", command]).trim().to_owned();
    assert_eq!(shell("cat /proc/sys/kernel/hostname; echo $COLOUR; ulimit -n"), "farm\nred\n100");
    assert_eq!(shell("[ -e /host-etc/hostname ] && ! (: >/host-etc/x) 2>/dev/null && echo ro"), "ro");
    assert_eq!(shell("[ -c /dev/also ] && echo device"), "device");
    assert!(shell("cat /proc/mounts").contains("/scratch tmpfs"));
    assert!(shell("cat /proc/self/status").contains("CapEff:\t0000000000000000"));
    let limits =
        "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.ShmSize}}";
    let shown = site.ask(&["inspect", "--format", limits, name]);
    assert_eq!(shown.trim(), "67108864 500000000 100 33554432");
}

#[tokio::test]
async fn a_container_that_was_made_and_not_started_is_completed_and_one_that_ended_is_seen_to_have() {
    let mut site = Site::start();
    let request = site.request(1);
    site.ask(&[
        "create",
        "--network",
        "none",
        "--name",
        "ganger-test-linux-1",
        "--label",
        "ganger.deployment=test",
        "--label",
        "ganger.pool=linux",
        "--label",
        "ganger.instance=1",
        "--label",
        "ganger.token=t-1",
        &site.settings.template.image,
        "sleep",
        "600",
    ]);
    let listed = site.provider().list().await.expect("a listing");
    assert_eq!(listed[0].status, MachineStatus::Pending);
    site.provider().launch(request).await.expect("it is completed");
    assert_eq!(site.provider().list().await.expect("a listing")[0].status, MachineStatus::Running);
    site.ask(&["exec", "ganger-test-linux-1", "cat", "/run/ganger/document.json"]);

    site.template().command = ["sh", "-c", "echo broken; exit 1"].map(str::to_owned).into();
    let launched = site.provider().launch(site.request(1)).await.expect("a machine");
    let name = &launched.machines[0].provider_id;
    site.ask(&["wait", name]);
    let listed = site.provider().list().await.expect("a listing");
    let ended = listed.iter().find(|machine| machine.provider_id == *name).expect("it is kept");
    assert_eq!(ended.status, MachineStatus::Terminated);
    assert!(site.provider().console(name.clone()).await.expect("a console").contains("broken"));
}

#[tokio::test]
async fn what_cannot_be_forgotten_does_not_keep_machines_from_being_listed() {
    let site = Site::start();
    let ours = ["--label", "ganger.deployment=test", "--label", "ganger.pool=linux", "--label"];
    let volume = |name: &str| {
        site.ask(&[&["volume", "create"], &ours[..], &["ganger.ended=1000000000", name]].concat());
    };
    volume("held");
    volume("free");
    site.ask(&["create", "--name", "holder", "-v", "held:/held", &site.settings.template.image, "true"]);
    let provider = site.provider();
    let launched = provider.launch(site.request(1)).await.expect("a machine");
    let listed = provider.list().await.expect("a listing");
    assert_eq!(listed[0].provider_id, launched.machines[0].provider_id);
    let volumes = || site.ask(&["volume", "ls", "-q"]);
    assert_eq!(volumes().trim(), "held", "what nobody holds is forgotten");

    // An hour more of memory matters to nobody, and engines have many volumes.
    volume("free");
    provider.list().await.expect("a listing");
    assert_eq!(volumes().trim(), "free\nheld");
}
