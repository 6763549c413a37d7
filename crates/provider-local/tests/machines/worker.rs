//! A stock worker in a machine: what it is told, and what it does.

use std::{fs, io::Write, os::unix::fs::MetadataExt, os::unix::fs::PermissionsExt, time::Duration};

use pools::{
    Provider,
    metadata::Document,
    provider::{ErrorKind, MachineStatus},
};
use provider_local::{Local, SettingsError};
use tokio::net::TcpListener;

use crate::site::{DEPLOYMENT, PASSWORD, Site, environment, eventually, pid, until};

#[tokio::test]
async fn a_stock_worker_comes_to_the_master_with_its_secret_in_its_own_file_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut site = Site::new();
    site.settings.master = listener.local_addr().expect("an address").to_string();
    site.settings.environment.insert("COLOUR".to_owned(), "red".to_owned());
    let provider = site.provider();
    let launched = provider.launch(site.request(1)).await.expect("a machine");
    let [machine] = &launched.machines[..] else { panic!("one machine: {launched:?}") };

    let (_connection, _) = listener.accept().await.expect("the worker connects");

    let document = site.home(machine).join("metadata.json");
    assert_eq!(document.metadata().expect("it is there").permissions().mode() & 0o777, 0o600);
    let document = Document::parse(&fs::read(document).expect("it can be read")).expect("it is one");
    assert_eq!(
        (&*document.worker.as_ref().expect("a worker").name, &*document.deployment),
        ("linux@1", DEPLOYMENT)
    );

    let process = pid(machine);
    let variables = environment(process);
    let value = |name: &str| {
        let of = variables.iter().find_map(|variable| variable.strip_prefix(&format!("{name}=")));
        of.unwrap_or_default().to_owned()
    };
    assert_eq!(value("COLOUR"), "red");
    assert_eq!(value("HOME"), site.home(machine).display().to_string());
    assert_eq!(value("GANGER_BOOT_ID").len(), 32, "{variables:?}");
    assert_eq!(value("CARGO_MANIFEST_DIR"), "", "the master's environment stays with the master");
    let arguments = fs::read(format!("/proc/{process}/cmdline")).expect("it runs");
    let seen = String::from_utf8_lossy(&arguments).into_owned() + &variables.join(" ");
    assert!(!seen.contains(PASSWORD), "the secret is for everybody to see: {seen}");

    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    assert_eq!([fields[2], fields[3]], [&process.to_string(); 2], "a group and a session of its own");
    let open = |number: u32| fs::read_link(format!("/proc/{process}/fd/{number}")).expect("it is open");
    let console = site.settings.directory.join("instance-1.console");
    assert_eq!(
        [open(0), open(1), open(2)],
        ["/dev/null".into(), console.clone(), console],
        "nothing that breaks"
    );
    let said = provider.console(machine.provider_id.clone()).await.expect("a console");
    assert!(said.contains("Starting Worker"), "{said}");

    provider.terminate(machine.provider_id.clone()).await.expect("it ends");
    assert!(!site.home(machine).exists(), "its directory is gone");
    assert!(site.processes().is_empty());
}

#[tokio::test]
async fn a_worker_that_has_no_master_for_too_long_ends_by_itself() {
    let mut site = Site::new();
    site.settings.silence = Duration::from_secs(1);
    let provider = site.provider();
    let machines = provider.launch(site.request(1)).await.expect("a machine").machines;
    until(&provider, &machines[0].provider_id, MachineStatus::Terminated).await;
    let said = provider.console(machines[0].provider_id.clone()).await.expect("a console");
    assert!(said.contains("no master for 1 seconds"), "{said}");
}

#[tokio::test]
async fn a_worker_that_prints_for_ever_fills_no_disk() {
    let mut site = Site::new();
    // A worker of ours prints what a stock one would, and much more of it.
    let program = site.directory().join("chatter");
    let mut file = fs::File::create(&program).expect("a writable scratch directory");
    let python = site.settings.program.with_file_name("python");
    let script = "import sys, types\nfrom twisted.application import service\n\
         class Worker(service.Service):\n    def __init__(self, *args): pass\n\
         bot = types.ModuleType('buildbot_worker.bot'); bot.Worker = Worker\n\
         sys.modules['buildbot_worker'] = types.ModuleType('buildbot_worker'); sys.modules['buildbot_worker.bot'] = bot\n\
         import os; os.chdir(sys.argv[3])\n\
         scope = {}\nexec(compile(open('buildbot.tac').read(), 'buildbot.tac', 'exec'), scope)\n\
         from twisted.python import log\n\
         for number in range(20000):\n    scope['Console']().write('line %d %s\\n' % (number, 'x' * 80))\n\
         scope['Console']().write('the end\\n')\n\
         import time; time.sleep(1000)\n";
    writeln!(file, "#!{}\n{script}", python.display()).expect("a writable scratch directory");
    file.set_permissions(fs::Permissions::from_mode(0o755)).expect("it is ours");
    drop(file);
    site.settings.program = program;
    let provider = site.provider();
    let machines = provider.launch(site.request(1)).await.expect("a machine").machines;
    let id = &machines[0].provider_id;
    let said = eventually("it has said all", async || {
        let said = provider.console(id.clone()).await.expect("a console");
        said.ends_with("the end\n").then_some(said)
    })
    .await;
    assert!(said.contains("line 19999 "), "the end is kept");
    assert!(said.len() <= 64 * 1024, "{} bytes are shown", said.len());
    let console = site.settings.directory.join(format!("{id}.console"));
    let length = console.metadata().expect("it is there").len();
    assert!(length < 300 * 1024, "{length} bytes of console");
    provider.terminate(id.clone()).await.expect("it ends");
}

#[tokio::test]
async fn workers_run_as_somebody_else_if_the_master_may_say_so() {
    let mut site = Site::of_shells();
    site.settings.user = Some("nobody".to_owned());
    let opened = Local::open(site.settings.clone());
    if fs::metadata("/proc/self").expect("/proc").uid() != 0 {
        let refused = opened.expect_err("only root may").to_string();
        assert!(refused.contains("root"), "{refused}");
        site.settings.user = None;
        site.provider();
        return;
    }
    fs::set_permissions(site.directory(), fs::Permissions::from_mode(0o711)).expect("it is ours");
    let provider = opened.expect("these settings are right");
    let machines = provider.launch(site.request(1)).await.expect("a machine").machines;
    let owner = fs::metadata(format!("/proc/{}", pid(&machines[0]))).expect("it runs").uid();
    assert_ne!(owner, 0, "it runs as root");
    for file in ["", "metadata.json", "buildbot.tac", "info/admin"] {
        let path = site.home(&machines[0]).join(file);
        assert_eq!(path.metadata().expect("it is there").uid(), owner, "{}", path.display());
    }
    let record = site.settings.directory.join(format!("{}.json", machines[0].provider_id));
    assert_eq!(record.metadata().expect("it is there").uid(), 0, "the record is the master's");
    provider.terminate(machines[0].provider_id.clone()).await.expect("it ends");
    assert!(site.processes().is_empty());
}

#[tokio::test]
async fn what_is_configured_wrongly_is_refused_in_words() {
    let site = Site::new();
    let refused = |change: fn(&mut provider_local::Settings)| {
        let mut settings = site.settings.clone();
        change(&mut settings);
        Local::open(settings).expect_err("it is wrong").to_string()
    };
    assert!(refused(|settings| settings.program = "no-such-worker".into()).contains("PATH"));
    assert!(refused(|settings| settings.program = "/no/such/worker".into()).contains("/no/such/worker"));
    assert!(refused(|settings| settings.directory = "/proc/machines".into()).contains("/proc/machines"));
    assert!(refused(|settings| settings.user = Some("no-such-user".into())).contains("`no-such-user`"));
    assert!(refused(|settings| settings.master = "master".into()).contains("HOST:PORT"));
    assert!(refused(|settings| settings.trouble.fail = 1.5).contains("1.5"));
    let nowhere = provider_local::Cgroup { parent: "/no/such/group".into(), memory: None, cpus: None };
    let settings = provider_local::Settings { cgroup: Some(nowhere), ..site.settings.clone() };
    assert!(matches!(Local::open(settings), Err(SettingsError::Cgroup { .. })));
}

#[tokio::test]
async fn a_directory_of_another_installation_is_left_alone() {
    let site = Site::of_shells();
    let theirs = provider_local::Settings { deployment: "another".to_owned(), ..site.settings.clone() };
    let theirs = Local::open(theirs.clone()).expect("these settings are right");
    let mut request = site.request(1);
    request.deployment = "another".to_owned();
    let machine = theirs.launch(request.clone()).await.expect("a machine").machines.remove(0);

    request.deployment = DEPLOYMENT.to_owned();
    let refused = site.provider().launch(request).await.expect_err("the place is taken");
    assert_eq!(refused.kind, ErrorKind::Config);
    assert!(refused.text.contains("`another`"), "{refused}");
    site.provider().terminate(machine.provider_id.clone()).await.expect("what is unknown is fine");
    assert_eq!(theirs.list().await.expect("a listing")[0].status, MachineStatus::Running);
    theirs.terminate(machine.provider_id).await.expect("it ends");
}
