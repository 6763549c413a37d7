//! What a container is told, who can read it, and what goes wrong.

use pools::{
    Provider as _,
    metadata::Document,
    provider::{ErrorKind, MachineStatus},
};
use provider_docker::{Credentials, Docker, Pull, Settings};

use crate::engine::{Engine, PASSWORD};

#[tokio::test]
async fn the_document_is_for_the_containers_user_alone_and_not_in_what_the_engine_tells() {
    let mut engine = Engine::start();
    engine.settings.user = Some("1000:1000".to_owned());
    let launched = engine.provider().launch(engine.request(1)).await.expect("a machine");
    let name = &launched.machines[0].provider_id;
    let text = engine.ok(&["exec", name, "cat", "/run/ganger/document.json"]);
    let document = Document::parse(text.as_bytes()).expect("a document");
    assert_eq!(document.worker.expect("a worker").name, "linux@1");
    let owner = engine.ok(&["exec", name, "stat", "-c", "%a %u %g", "/run/ganger/document.json"]);
    assert_eq!(owner.trim(), "400 1000 1000");
    assert!(
        !engine.ok(&["inspect", name]).contains(PASSWORD),
        "the password is shown to whoever asks the engine"
    );
    let console = engine.provider().console(name.clone()).await.expect("a console");
    assert!(console.contains("booted"), "{console:?}");

    // An image of Buildbot's own reads nothing else.
    engine.settings.credentials = Credentials::Environment;
    let launched = engine.provider().launch(engine.request(1)).await.expect("a machine");
    let name = &launched.machines[0].provider_id;
    let shown = engine.ok(&["inspect", name]);
    for variable in ["BUILDMASTER=127.0.0.1", "BUILDMASTER_PORT=9", "WORKERNAME=linux@2", PASSWORD] {
        assert!(shown.contains(variable), "{variable} is not in {shown}");
    }
}

#[tokio::test]
async fn what_cannot_be_is_told_and_leaves_nothing() {
    let mut engine = Engine::start();
    engine.settings.pull = Pull::Never;
    let right = engine.settings.clone();
    let wrong: [fn(&mut Settings); 3] = [
        |settings| settings.image = "nobody/has-it:1".to_owned(),
        |settings| settings.command = vec!["/no/such/program".to_owned()],
        |settings| settings.network = Some("no-such-network".to_owned()),
    ];
    for change in wrong {
        let mut settings = right.clone();
        change(&mut settings);
        let provider = Docker::open(settings.clone()).expect("nothing asks the engine yet");
        let error = provider.launch(engine.request(1)).await.expect_err("that cannot be");
        assert_eq!(error.kind, ErrorKind::Config, "{error}");
        assert_eq!(engine.ok(&["ps", "-aq"]), "", "a container is left: {settings:?}");
    }
    let away = Settings { host: "unix:///no/such/socket".to_owned(), ..right };
    let error = Docker::open(away).expect("it may come").list().await.expect_err("nobody is there");
    assert_eq!(error.kind, ErrorKind::Transport, "{error}");
}

#[tokio::test]
async fn a_container_that_was_made_and_not_started_is_completed_and_one_that_ended_is_seen_to_have() {
    let mut engine = Engine::start();
    let request = engine.request(1);
    engine.ok(&[
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
        &engine.settings.image,
        "sleep",
        "600",
    ]);
    let listed = engine.provider().list().await.expect("a listing");
    assert_eq!(listed[0].status, MachineStatus::Pending);
    engine.provider().launch(request).await.expect("it is completed");
    assert_eq!(engine.provider().list().await.expect("a listing")[0].status, MachineStatus::Running);
    engine.ok(&["exec", "ganger-test-linux-1", "cat", "/run/ganger/document.json"]);

    engine.settings.command = ["sh", "-c", "echo broken; exit 1"].map(str::to_owned).into();
    let launched = engine.provider().launch(engine.request(1)).await.expect("a machine");
    let name = &launched.machines[0].provider_id;
    engine.ok(&["wait", name]);
    let listed = engine.provider().list().await.expect("a listing");
    let ended = listed.iter().find(|machine| machine.provider_id == *name).expect("it is kept");
    assert_eq!(ended.status, MachineStatus::Terminated);
    assert!(engine.provider().console(name.clone()).await.expect("a console").contains("broken"));
}
