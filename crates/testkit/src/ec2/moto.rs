//! moto, which answers like EC2, as a process.

use std::{
    env,
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{HeaderMap, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{query::Query, runtime, xml::Element};
use crate::venv::{Found, Venv};

/// The region that calls are made in where nobody names one.
pub const REGION: &str = "us-east-1";

/// The account that everything belongs to.
pub const ACCOUNT: &str = "123456789012";

/// Names a program that answers like EC2 and takes moto's options `-H` and `-p`: what holds for moto only shows with it.
const INSTEAD: &str = "GANGER_EC2_SERVER";

/// Long enough for it to start on a busy machine.
const START: Duration = Duration::from_secs(60);

/// The most that it is read of one answer: two thousand types of machines are some megabytes.
const ANSWER: usize = 64 * 1024 * 1024;

/// A server, with an EC2 of its own. Ends with the value.
#[derive(Debug)]
pub struct Moto {
    address: SocketAddr,
    server: Child,
    log: tempfile::TempDir,
}

impl Moto {
    /// Starts one on a free port of this machine; another server, where `GANGER_EC2_SERVER` names one.
    ///
    /// # Errors
    /// The virtual environment was not made, or the server does not answer.
    pub fn start() -> anyhow::Result<Self> {
        let log = tempfile::tempdir()?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let output = File::create(log.path().join("moto.log"))?;
        let mut server = match env::var_os(INSTEAD) {
            Some(program) => Command::new(program),
            None => moto()?,
        };
        server.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]);
        let server = server.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn();
        let server = server.context("cannot start the server that answers like EC2")?;
        let mut moto = Self { address, server, log };
        if !moto.answers()? {
            let said = std::fs::read_to_string(moto.log.path().join("moto.log")).unwrap_or_default();
            bail!("moto_server ended: {said}");
        }
        Ok(moto)
    }

    /// Waits until it answers; false when it ended.
    fn answers(&mut self) -> anyhow::Result<bool> {
        runtime::wait_for("moto_server answers", START, || {
            if self.server.try_wait()?.is_some() {
                return Ok(Some(false));
            }
            Ok(std::net::TcpStream::connect(self.address).is_ok().then_some(true))
        })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A caller that knows where it is.
    pub fn client(&self) -> Client {
        Client { address: self.address }
    }
}

fn moto() -> anyhow::Result<Command> {
    let Found::Ready(venv) = Venv::find("moto-5.2.1")? else { bail!("moto runs on Python 3") };
    let mut moto = venv.command("python");
    moto.arg(venv.program("moto_server"));
    Ok(moto)
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.server.kill();
        let _reaped = self.server.wait();
    }
}

/// Makes calls to moto, past the proxy.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    address: SocketAddr,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers that matter to callers.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
}

impl Client {
    /// Calls EC2 in [`REGION`]; gives back what it answered.
    ///
    /// # Errors
    /// No answer, or a refusal, with its text.
    pub async fn call(self, query: &Query) -> anyhow::Result<Element> {
        self.call_in(REGION, query).await
    }

    /// Calls EC2 in a region.
    pub(super) async fn call_in(self, region: &str, query: &Query) -> anyhow::Result<Element> {
        let answer = self.ask(region, query).await?;
        if !answer.status.is_success() {
            let said = String::from_utf8_lossy(&answer.body);
            bail!("moto refuses {}: {} {said}", query.get("Action"), answer.status);
        }
        Element::parse(&answer.body)
    }

    /// Calls another service, which speaks JSON, in [`REGION`].
    pub(super) async fn call_json(
        self,
        service: &str,
        target: &str,
        parameters: &serde_json::Value,
    ) -> anyhow::Result<serde_json::Value> {
        let mut headers = HeaderMap::new();
        let signed = format!(
            "AWS4-HMAC-SHA256 Credential=lab/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        headers.insert(header::AUTHORIZATION, signed.parse()?);
        headers.insert(header::CONTENT_TYPE, "application/x-amz-json-1.1".parse()?);
        headers.insert("x-amz-target", target.parse()?);
        let answer = self.send("POST", "/", &headers, parameters.to_string().into()).await?;
        if !answer.status.is_success() {
            bail!("moto refuses {target}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        // Some answers are empty.
        if answer.body.is_empty() {
            return Ok(serde_json::Value::Null);
        }
        Ok(serde_json::from_slice(&answer.body)?)
    }

    pub(super) async fn ask(self, region: &str, query: &Query) -> anyhow::Result<Answer> {
        let mut headers = HeaderMap::new();
        let signed = format!(
            "AWS4-HMAC-SHA256 Credential=lab/20260101/{region}/ec2/aws4_request, SignedHeaders=host, Signature=0"
        );
        headers.insert(header::AUTHORIZATION, signed.parse()?);
        headers.insert(header::CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8".parse()?);
        self.send("POST", "/", &headers, query.to_body().into()).await
    }

    /// Sends any request on; of its headers those that concern the connection are left out.
    pub(super) async fn send(
        self,
        method: &str,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        let stream = TcpStream::connect(self.address).await.context("moto_server does not listen")?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            if ![header::CONTENT_LENGTH, header::CONNECTION, header::HOST, header::TRANSFER_ENCODING]
                .contains(name)
            {
                request = request.header(name, value);
            }
        }
        request = request.header(header::HOST, self.address.to_string());
        let response =
            sender.send_request(request.body(Full::new(body))?).await.context("moto ended a call")?;
        let status = response.status();
        let content_type = response.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|text| text.to_str().ok()).unwrap_or("text/xml").to_owned();
        let body = Limited::new(response.into_body(), ANSWER).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("moto's answer: {error}"))?.to_bytes();
        connection.abort();
        Ok(Answer { status, content_type, body })
    }
}
