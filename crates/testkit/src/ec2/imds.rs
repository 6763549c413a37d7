//! The instance metadata service, version 2, for all machines of a VPC: who asks shows in where he asks from.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    fs,
    net::{IpAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;

/// What a machine's metadata says.
#[derive(Clone, Debug, Default)]
pub struct InstanceMetadata {
    /// `i-…`.
    pub id: String,
    /// The image that it booted.
    pub image: String,
    /// Its type.
    pub kind: String,
    /// Its zone; the region is what is before the last letter.
    pub zone: String,
    /// The account that it belongs to.
    pub account: String,
    /// What it was told at its start.
    pub user_data: Option<Vec<u8>>,
    /// Its tags, when its metadata shows them.
    pub tags: BTreeMap<String, String>,
    /// When it was started, as AWS writes it: `2026-11-30T12:00:00Z`.
    pub pending_time: String,
    /// When the market takes it back.
    pub spot_action: Option<String>,
    /// When the market said that it may take it back soon.
    pub rebalance: Option<String>,
}

/// The service.
#[derive(Clone, Debug)]
pub struct Imds(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    instances: Mutex<HashMap<IpAddr, InstanceMetadata>>,
    tokens: Mutex<HashMap<String, (IpAddr, Instant)>>,
    /// What everybody asked for.
    asked: Mutex<Vec<(IpAddr, String)>>,
    identity: Signer,
}

/// Signs identity documents, as AWS does in each region, with a key of its own.
#[derive(Debug)]
struct Signer {
    directory: tempfile::TempDir,
}

impl Imds {
    /// A service that knows no machine yet.
    ///
    /// # Errors
    /// There is no `openssl` to make its key with.
    pub fn new() -> anyhow::Result<Self> {
        let identity = Signer::new()?;
        let (instances, tokens, asked) = (Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Self(Arc::new(Inner { instances, tokens, asked, identity })))
    }

    /// The certificate that its identity documents are signed under, in PEM.
    pub fn certificate(&self) -> PathBuf {
        self.0.identity.directory.path().join("certificate.pem")
    }

    /// From now on, this is who asks from this address.
    pub fn publish(&self, address: IpAddr, instance: InstanceMetadata) {
        self.instances().insert(address, instance);
    }

    /// Nobody asks from this address any more.
    pub fn withdraw(&self, address: IpAddr) {
        self.instances().remove(&address);
    }

    /// Changes what a machine is told; false when there is none of this id.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut InstanceMetadata)) -> bool {
        match self.instances().values_mut().find(|instance| instance.id == id) {
            Some(instance) => {
                change(instance);
                true
            }
            None => false,
        }
    }

    /// What a machine's metadata says, and what it would say of its identity: the document, and its `rsa2048`.
    ///
    /// # Errors
    /// There is no such machine, or nothing can be signed.
    pub fn identity(&self, id: &str) -> anyhow::Result<(InstanceMetadata, String, String)> {
        let instance = self.instances().values().find(|instance| instance.id == id).cloned();
        let instance = instance.with_context(|| format!("no machine {id} runs"))?;
        let document = document(&instance);
        let signature = self.0.identity.pkcs7(&document)?;
        Ok((instance, document, String::from_utf8_lossy(&signature).into_owned()))
    }

    /// Paths that were asked for, with whoever asked.
    pub fn asked(&self) -> Vec<(IpAddr, String)> {
        self.0.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn instances(&self) -> MutexGuard<'_, HashMap<IpAddr, InstanceMetadata>> {
        self.0.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<String, (IpAddr, Instant)>> {
        self.0.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves until nobody wants it any more.
    pub(super) async fn serve(self, listener: TcpListener) {
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
        while let Ok((stream, peer)) = listener.accept().await {
            let imds = self.clone();
            tokio::spawn(async move {
                let answer = service_fn(|request| {
                    let answer = imds.answer(peer.ip(), &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                // A client that goes away is nobody's loss.
                let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    }

    fn answer(&self, peer: IpAddr, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let path = request.uri().path();
        self.0.asked.lock().unwrap_or_else(PoisonError::into_inner).push((peer, path.to_owned()));
        // Whoever asks for somebody else has no business here.
        if header("x-forwarded-for").is_some() {
            return plain(StatusCode::FORBIDDEN, "");
        }
        if request.method() == Method::PUT && path == "/latest/api/token" {
            let ttl = header("x-aws-ec2-metadata-token-ttl-seconds").and_then(|ttl| ttl.parse::<u64>().ok());
            let Some(ttl) = ttl.filter(|ttl| (1..=21_600).contains(ttl)) else {
                return plain(StatusCode::BAD_REQUEST, "");
            };
            let mut tokens = self.tokens();
            let token = format!("token-{peer}-{}", tokens.len());
            tokens.insert(token.clone(), (peer, Instant::now() + Duration::from_secs(ttl)));
            return plain(StatusCode::OK, token);
        }
        let token = header("x-aws-ec2-metadata-token").and_then(|token| self.tokens().get(token).copied());
        if token.is_none_or(|(owner, until)| owner != peer || until < Instant::now()) {
            return plain(StatusCode::UNAUTHORIZED, "");
        }
        let instance = self.instances().get(&peer).cloned();
        match instance.and_then(|instance| self.get(&instance, path)) {
            Some(body) => plain(StatusCode::OK, body),
            None => plain(StatusCode::NOT_FOUND, ""),
        }
    }

    fn get(&self, instance: &InstanceMetadata, path: &str) -> Option<Bytes> {
        // `/latest/…`, or a date.
        let (_, rest) = path.trim_start_matches('/').split_once('/')?;
        let rest = rest.trim_end_matches('/');
        match rest {
            "" => return Some("dynamic\nmeta-data\nuser-data".into()),
            "user-data" => return instance.user_data.clone().map(Bytes::from),
            "dynamic" => return Some("instance-identity/".into()),
            "dynamic/instance-identity" => return Some("document\nrsa2048\nsignature".into()),
            "dynamic/instance-identity/document" => return Some(document(instance).into()),
            "dynamic/instance-identity/signature" => return self.0.identity.sign(&document(instance)).ok(),
            "dynamic/instance-identity/rsa2048" => return self.0.identity.pkcs7(&document(instance)).ok(),
            _ => {}
        }
        let key = rest.strip_prefix("meta-data")?.trim_start_matches('/');
        let values = values(instance);
        if let Some(value) = values.get(key) {
            return Some(value.clone().into());
        }
        let below = if key.is_empty() { String::new() } else { format!("{key}/") };
        let mut names: Vec<_> = values
            .keys()
            .filter_map(|name| name.strip_prefix(&below))
            .map(|name| match name.split_once('/') {
                Some((directory, _)) => format!("{directory}/"),
                None => name.to_owned(),
            })
            .collect();
        names.dedup();
        (!names.is_empty()).then(|| names.join("\n").into())
    }
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

fn region(instance: &InstanceMetadata) -> &str {
    instance.zone.trim_end_matches(|c: char| c.is_ascii_lowercase())
}

fn values(instance: &InstanceMetadata) -> BTreeMap<String, String> {
    let mut values = BTreeMap::from(
        [
            ("instance-id", &*instance.id),
            ("ami-id", &instance.image),
            ("instance-type", &instance.kind),
            ("placement/availability-zone", &instance.zone),
            ("placement/region", region(instance)),
            ("services/domain", "amazonaws.com"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    for (name, value) in &instance.tags {
        values.insert(format!("tags/instance/{name}"), value.clone());
    }
    if let Some(time) = &instance.spot_action {
        let action = serde_json::json!({"action": "terminate", "time": time});
        values.insert("spot/instance-action".to_owned(), action.to_string());
    }
    if let Some(time) = &instance.rebalance {
        let notice = serde_json::json!({"noticeTime": time});
        values.insert("events/recommendations/rebalance".to_owned(), notice.to_string());
    }
    values
}

/// What AWS says of an instance.
fn document(instance: &InstanceMetadata) -> String {
    let document = serde_json::json!({
        "accountId": instance.account,
        "architecture": "x86_64",
        "availabilityZone": instance.zone,
        "imageId": instance.image,
        "instanceId": instance.id,
        "instanceType": instance.kind,
        "pendingTime": instance.pending_time,
        "region": region(instance),
        "version": "2017-09-30",
    });
    format!("{document:#}")
}

impl Signer {
    fn new() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let made = openssl(
            directory.path(),
            "req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=laboratory -keyout key.pem -out certificate.pem",
        );
        made.context("the key for identity documents cannot be made")?;
        Ok(Self { directory })
    }

    fn sign(&self, document: &str) -> anyhow::Result<Bytes> {
        let file = self.write(document)?;
        let signature =
            openssl(self.directory.path(), &format!("dgst -sha256 -sign key.pem -out {file}.sig {file}"));
        signature?;
        openssl(self.directory.path(), &format!("base64 -in {file}.sig"))
    }

    fn pkcs7(&self, document: &str) -> anyhow::Result<Bytes> {
        let file = self.write(document)?;
        let command = format!(
            "smime -sign -binary -nodetach -md sha256 -signer certificate.pem -inkey key.pem -outform PEM -in {file}"
        );
        let pem = openssl(self.directory.path(), &command)?;
        let pem = String::from_utf8_lossy(&pem).into_owned();
        // AWS leaves the first and the last line out.
        let lines = pem.lines().filter(|line| !line.starts_with("-----"));
        Ok(lines.collect::<Vec<_>>().join("\n").into())
    }

    fn write(&self, document: &str) -> anyhow::Result<String> {
        let file = tempfile::Builder::new().prefix("document-").tempfile_in(self.directory.path())?;
        fs::write(file.path(), document)?;
        let (_, path) = file.keep()?;
        Ok(path.display().to_string())
    }
}

/// Runs `openssl`; what it prints.
fn openssl(directory: &Path, command: &str) -> anyhow::Result<Bytes> {
    let output = Command::new("openssl")
        .args(command.split(' '))
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .context("`openssl` cannot be run")?;
    if !output.status.success() {
        bail!("openssl {command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout.into())
}
