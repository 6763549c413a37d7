//! What is around a machine: its metadata service, a master that lets it enroll, and the machine itself.

use std::{
    convert::Infallible,
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use testkit::venv::{Found, Venv};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

/// A request that a server got.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) token: Option<String>,
    pub(crate) authorization: Option<String>,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

type Answers = dyn Fn(&Asked, &[Asked]) -> (u16, String) + Send + Sync;

/// A server whose answers a test makes.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: String,
    /// Of its certificate, if it has one.
    pub(crate) fingerprint: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Answers>,
}

impl Server {
    pub(crate) fn plain(answers: impl Fn(&Asked, &[Asked]) -> (u16, String) + Send + Sync + 'static) -> Self {
        Self::start(None, String::new(), Arc::new(answers))
    }

    pub(crate) fn tls(answers: impl Fn(&Asked, &[Asked]) -> (u16, String) + Send + Sync + 'static) -> Self {
        let made = rcgen::generate_simple_self_signed(["elsewhere.example".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let fingerprint = Sha256::digest(&certificate).iter().map(|byte| format!("{byte:02x}")).collect();
        let crypto = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(crypto)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        Self::start(Some(TlsAcceptor::from(Arc::new(config))), fingerprint, Arc::new(answers))
    }

    fn start(tls: Option<TlsAcceptor>, fingerprint: String, answers: Arc<Answers>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Self { address, fingerprint, asked: Arc::default(), answers };
        let shared = server.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (server, tls) = (shared.clone(), tls.clone());
                    tokio::spawn(async move {
                        match tls {
                            None => server.serve(stream).await,
                            // Who does not trust it goes away: nothing was asked.
                            Some(tls) => {
                                if let Ok(stream) = tls.accept(stream).await {
                                    server.serve(stream).await;
                                }
                            }
                        }
                    });
                }
            });
        });
        server
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let service = service_fn(|request: Request<hyper::body::Incoming>| {
            let server = self.clone();
            async move {
                let header =
                    |name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
                let line = format!("{} {}", request.method(), request.uri().path());
                let (token, authorization) = (header("x-aws-ec2-metadata-token"), header("authorization"));
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let body = String::from_utf8(body.to_vec()).unwrap();
                let asked = Asked { line, token, authorization, body };
                let (status, text) = (server.answers)(&asked, &server.asked());
                server.asked.lock().unwrap().push(asked);
                let answer = Response::builder().status(status).header("Retry-After", "1");
                Ok::<_, Infallible>(answer.body(Full::new(Bytes::from(text))).unwrap())
            }
        });
        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn got(&self, line: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.line == line).collect()
    }
}

/// A metadata service that takes its own tokens and no others.
pub(crate) fn metadata(entries: impl Fn(&str, &[Asked]) -> Option<String> + Send + Sync + 'static) -> Server {
    Server::plain(move |asked, before| {
        if asked.line == "PUT /latest/api/token" {
            return (200, "the-token".into());
        }
        if asked.token.as_deref() != Some("the-token") {
            return (401, String::new());
        }
        let path = asked.line.trim_start_matches("GET /latest/");
        entries(path, before).map_or_else(|| (404, "no such thing".into()), |text| (200, text))
    })
}

/// A machine's document, for a master of which only the enrollment is there.
pub(crate) fn document(master: &str, enroll: Value) -> Value {
    json!({
        "version": 1, "deployment": "d", "pool": "linux", "token": "t-1", "template": "",
        "master": {"address": master}, "enroll": enroll, "settings": {"silence": 600},
    })
}

/// The machine: this program, in a directory of its own.
pub(crate) struct Machine {
    pub(crate) home: tempfile::TempDir,
    pub(crate) child: Child,
}

/// Whom the worker runs as here: root gives it away to somebody, others can only keep it.
fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    let name = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    if name == "root" { "nobody".to_owned() } else { name }
}

impl Machine {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_with(&twistd(), args)
    }

    /// With something in the place of the worker's program.
    pub(crate) fn start_with(twistd: &str, args: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = home.path().join("twistd");
        fs::write(&program, twistd).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let output = fs::File::create(home.path().join("console")).unwrap();
        let at = |name: &str| home.path().join(name).display().to_string();
        let child = Command::new(env!("CARGO_BIN_EXE_ganger-bootstrap"))
            .args(["--user", &user(), "--directory", &at("worker"), "--state", &at("state")])
            .args(["--twistd", &at("twistd"), "--power-off", &format!("touch {}", at("off"))])
            .args(["--look", "1", "--linger", "0", "--allow-metadata"])
            .args(args)
            .stdin(Stdio::null())
            .stderr(output.try_clone().unwrap())
            .stdout(output)
            .spawn()
            .unwrap();
        Self { home, child }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn console(&self) -> String {
        fs::read_to_string(self.path("console")).unwrap()
    }

    pub(crate) fn is_off(&self) -> bool {
        self.path("off").exists()
    }

    /// Waits until something is so.
    pub(crate) fn wait(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(60), "not {what}:\n{}", self.console());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        self.child.wait().unwrap();
    }
}

/// The stock worker's launcher, for a user that cannot see the home of whoever made the environment: the system's Python
/// with the environment's packages.
fn twistd() -> String {
    let Found::Ready(venv) = Venv::find("worker-4.3.0").unwrap() else { panic!("the worker has no Python") };
    let packages = packages(venv.program("python").ancestors().nth(2).unwrap());
    format!(
        "#!/bin/sh\nexport PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={}\nexec /usr/bin/python3 -S -c 'from twisted.scripts.twistd import run; run()' \"$@\"\n",
        packages.display()
    )
}

fn packages(venv: &Path) -> PathBuf {
    let python = fs::read_dir(venv.join("lib")).unwrap().next().unwrap().unwrap();
    python.path().join("site-packages")
}
