//! Images of a registry that wants to know who asks.

use std::{
    fs,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use model::docker::{Pull, Registry};
use pools::{Provider as _, Verdict, provider::ErrorKind};
use provider_docker::preflight;

use crate::engine::{IMAGE, Site};

const USER: &str = "farm";

/// base64 has `+` and `/` for it, wherever it begins.
const PASSWORD: &str = "sekrit~~~???>>>";

/// The same, as Apache's `htpasswd -B` writes it.
const HASH: &str = "$2y$05$Dkn6Y3uCCwfbW6JzmbzETenA/6erZCAFAkR5rsfxsUvXdqwFqPAwy";

const ADDRESS: &str = "127.0.0.1:5000";

/// Long enough for a registry to start on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Debian's `docker-registry` in the engine's network. It has one image, and one user.
struct Server {
    process: Child,
    image: String,
    directory: tempfile::TempDir,
}

impl Server {
    fn start(site: &Site) -> Self {
        let up = site.engine.inside("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.expect("nsenter runs").success(), "the network has no loopback");
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        fs::write(at("htpasswd"), format!("{USER}:{HASH}\n")).expect("it is written");
        let settings = format!(
            "version: 0.1\nstorage: {{ filesystem: {{ rootdirectory: {:?} }} }}\nhttp: {{ addr: {ADDRESS:?} }}\n\
             auth: {{ htpasswd: {{ realm: tests, path: {:?} }} }}\n",
            at("data"),
            at("htpasswd"),
        );
        fs::write(at("config.yml"), settings).expect("it is written");
        let mut server = site.engine.inside("setpriv");
        server.args(["--pdeathsig", "TERM", "docker-registry", "serve"]).arg(at("config.yml"));
        server.stdout(Stdio::null()).stderr(Stdio::null());
        let process = server.spawn().expect("nsenter runs");
        let image = format!("{ADDRESS}/team/busybox:1");
        let mut server = Self { process, image, directory };
        server.fill(site);
        server
    }

    /// Puts the image there, and away from the engine.
    fn fill(&mut self, site: &Site) {
        let logins = self.directory.path().join("logins").display().to_string();
        let login = ["--config", &logins, "login", "-u", USER, "-p", PASSWORD, ADDRESS];
        let since = Instant::now();
        loop {
            let output = site.engine.docker(&login).expect("docker runs");
            if output.status.success() {
                break;
            }
            let ended = self.process.try_wait().expect("it can be asked");
            assert_eq!(ended, None, "docker-registry of the package docker-registry ended");
            assert!(since.elapsed() < LIMIT, "{}", String::from_utf8_lossy(&output.stderr));
            std::thread::sleep(Duration::from_millis(50));
        }
        site.ask(&["tag", IMAGE, &self.image]);
        site.ask(&["--config", &logins, "push", &self.image]);
        site.ask(&["rmi", &self.image]);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_a_private_registry_is_pulled_by_who_may_and_by_nobody_else() {
    let mut site = Site::start();
    let server = Server::start(&site);
    site.template().image.clone_from(&server.image);
    site.template().pull = Pull::Missing;
    let as_user = |password: &str| Some(Registry { user: USER.to_owned(), password: password.into() });

    for (registry, says) in [
        (None, "no `registry-user` and `registry-password` say who asks"),
        (as_user("of-another~~~"), "are `registry-user` and `registry-password` right"),
    ] {
        site.template().registry = registry;
        let error = site.provider().launch(site.request(1)).await.expect_err("who is that?");
        assert_eq!((&error.kind, &*error.code), (&ErrorKind::Config, "Refused"), "{error}");
        assert!(error.text.contains(says) && error.text.contains(ADDRESS), "{error}");
        assert!(!error.text.contains("of-another"), "{error}");
        let found = preflight(&site.settings, 1).await;
        let image = found.iter().find(|found| found.subject == "image").expect("the image");
        assert!(image.verdict == Verdict::Bad && image.text.contains(says), "{image:?}");
        site.assert_empty();
    }

    site.template().registry = as_user(PASSWORD);
    let found = preflight(&site.settings, 1).await;
    let image = found.iter().find(|found| found.subject == "image").expect("the image");
    assert_eq!(image.verdict, Verdict::Doubtful, "it is not there yet: {image:?}");
    let launched = site.provider().launch(site.request(1)).await.expect("a machine");
    let shown = site.ask(&["inspect", &launched.machines[0].provider_id]);
    assert!(shown.contains(&server.image) && !shown.contains(PASSWORD), "{shown}");
    assert!(!site.engine.log().contains(PASSWORD), "the engine tells the password");
    let found = preflight(&site.settings, 1).await;
    assert!(found.iter().all(|found| found.verdict == Verdict::Good), "{found:?}");
}
