//! Takes calls, meets them with faults, and sends them where they are answered.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Frame, Incoming, SizeHint},
    header,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::watch};

use super::{
    Fault, Harm, control,
    world::{Refusal, World},
};
use crate::ec2::{
    moto::{Answer, Client},
    query::{self, Query},
    xml::Element,
};

/// The most that a caller may send.
const REQUEST: usize = 4 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Server {
    pub(super) moto: Client,
    pub(super) released: watch::Sender<u64>,
    world: Mutex<World>,
    /// Held while machines are launched, so that places are not sold twice.
    pub(super) launches: tokio::sync::Mutex<()>,
}

/// The connection is to end without (the rest of) an answer.
#[derive(Debug, thiserror::Error)]
#[error("the laboratory was told to end this connection")]
pub(super) struct Dropped;

/// A body that may end too early.
pub(super) struct Text {
    rest: Option<Bytes>,
    announced: u64,
    cut: bool,
    flushed: bool,
}

impl Body for Text {
    type Data = Bytes;
    type Error = Dropped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Dropped>>> {
        match self.rest.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            // What came before leaves when there is nothing to do for the moment.
            None if self.cut && !self.flushed => {
                self.flushed = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            None if self.cut => Poll::Ready(Some(Err(Dropped))),
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}

impl Server {
    pub(super) fn new(moto: Client, released: watch::Sender<u64>) -> Self {
        Self { moto, released, world: Mutex::new(World::new()), launches: tokio::sync::Mutex::new(()) }
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let server = Arc::clone(&self);
            tokio::spawn(async move {
                let service = service_fn(|request| Arc::clone(&server).respond(request));
                // Callers that hang up, and those that are hung up on, are the purpose of this program.
                let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    async fn respond(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Text>, Dropped> {
        let (parts, body) = request.into_parts();
        let Ok(body) = Limited::new(body, REQUEST).collect().await else { return Err(Dropped) };
        let body = body.to_bytes();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        if path.starts_with("/_lab/") {
            return Ok(text(control::answer(&self, parts.method.as_str(), path, &body), false));
        }
        let scope = query::scope(&parts.headers);
        match scope.as_ref().map(|(_, service)| &**service) {
            Some("servicequotas") => return Ok(text(self.quota_of(&parts.headers, &body), false)),
            Some("pricing") => return Ok(text(self.price_list(&body), false)),
            _ => {}
        }
        let Some((region, _)) = scope.filter(|(_, service)| service == "ec2") else {
            let sent = self.moto.send(parts.method.as_str(), path, &parts.headers, body).await;
            return Ok(text(sent.unwrap_or_else(|error| refuse(&error.into())), false));
        };
        // What has come in is done, also when its caller has hung up.
        tokio::spawn(async move { self.call(&region, Query::parse(&body)).await })
            .await
            .unwrap_or(Err(Dropped))
    }

    async fn call(&self, region: &str, query: Query) -> Result<Response<Text>, Dropped> {
        let action = query.get("Action").to_owned();
        let (number, fault) = {
            let mut world = self.world();
            (world.log(&query), world.fault(&query))
        };
        let fault = fault.unwrap_or_else(|| Fault::on("*"));
        if !fault.after {
            self.wait(&fault).await;
        }
        let mut answer = None;
        if fault.after || fault.harm == Harm::None {
            let throttled = self.world().take(&action, 1);
            let result = match throttled {
                Ok(()) => self.effect(region, &query).await,
                Err(refusal) => Err(refusal),
            };
            let (outcome, effect) = match result {
                Ok(effect) => ("ok".to_owned(), effect),
                Err(refusal) => (refusal.code.clone(), refuse(&refusal)),
            };
            self.world().outcome(number, &outcome);
            answer = Some(effect);
        }
        if fault.after {
            self.wait(&fault).await;
        }
        let (outcome, answer, cut) = match (fault.harm, answer) {
            (Harm::None, Some(answer)) => return Ok(text(answer, false)),
            (Harm::Truncate, Some(answer)) => ("dropped".to_owned(), answer, true),
            (Harm::Error { status, code, message }, _) => {
                (code.clone(), refuse(&Refusal { status, code, message }), false)
            }
            (Harm::Html, _) => ("html".to_owned(), html(), false),
            (Harm::Drop | Harm::None | Harm::Truncate, _) => {
                self.world().outcome(number, "dropped");
                return Err(Dropped);
            }
        };
        self.world().outcome(number, &outcome);
        Ok(text(answer, cut))
    }

    /// The time that a fault takes.
    async fn wait(&self, fault: &Fault) {
        if fault.held {
            let mut released = self.released.subscribe();
            released.mark_unchanged();
            // The sender lives as long as the server.
            let _released = released.changed().await;
        }
        tokio::time::sleep(fault.delay).await;
    }

    /// Answers a call that meets no harm before it takes effect.
    async fn effect(&self, region: &str, query: &Query) -> Result<Answer, Refusal> {
        let action = query.get("Action");
        let named = query.list("InstanceId");
        {
            let world = self.world();
            if let Some(unknown) = named.iter().find(|id| world.is_invisible(id) || world.is_forgotten(id)) {
                return Err(Refusal::unknown(unknown));
            }
        }
        match action {
            "RunInstances" | "CreateFleet" => self.launch_once(region, query).await,
            "DescribeInstances" => self.describe_instances(region, query).await,
            "DescribeInstanceStatus" => self.describe_status(region, query).await,
            "DescribeSpotPriceHistory" => self.price_history(region, query).await,
            "DescribeSpotInstanceRequests" => Ok(xml(&self.spot_requests(query))),
            "CancelSpotInstanceRequests" => Ok(xml(&self.cancel_spot_requests(query))),
            "TerminateInstances" => self.terminate(region, query).await,
            "GetConsoleOutput" => self.console(region, query).await,
            _ => Ok(self.moto.ask(region, query).await?),
        }
    }
}

pub(super) fn xml(answer: &Element) -> Answer {
    Answer {
        status: StatusCode::OK,
        content_type: "text/xml;charset=UTF-8".into(),
        body: answer.to_xml().into(),
    }
}

pub(super) fn refuse(refusal: &Refusal) -> Answer {
    let error = Element::with(
        "Error",
        vec![Element::leaf("Code", &refusal.code), Element::leaf("Message", &refusal.message)],
    );
    let response = Element::with(
        "Response",
        vec![
            Element::with("Errors", vec![error]),
            Element::leaf("RequestID", "11111111-2222-3333-4444-555555555555"),
        ],
    );
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Answer { status, ..xml(&response) }
}

fn html() -> Answer {
    Answer {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        content_type: "text/html".into(),
        body: Bytes::from_static(
            b"<!doctype html>\n<html lang=en>\n<title>500 Internal Server Error</title>\n",
        ),
    }
}

fn text(answer: Answer, cut: bool) -> Response<Text> {
    let announced = answer.body.len() as u64;
    let rest = if cut { answer.body.slice(..answer.body.len() / 2) } else { answer.body };
    let mut response = Response::new(Text { rest: Some(rest), announced, cut, flushed: false });
    *response.status_mut() = answer.status;
    if let Ok(kind) = answer.content_type.parse() {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}
