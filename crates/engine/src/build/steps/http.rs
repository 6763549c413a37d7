//! HTTP from the master (`buildbot/steps/http.py`).

use std::path::PathBuf;

use model::{Json, Results, template::to_text};
use reqwest::{
    Certificate, Client, Identity, Method, Proxy, Request, Response, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use storage::log::Stream;

use crate::{
    build::{halt::Halt, logs::LogRef, step::Step},
    causes,
};

/// How often an answer may send a request elsewhere, as in Python's `requests`.
const MAX_REDIRECTS: usize = 30;
/// How much of an answer is kept, in bytes.
const MAX_CONTENT: usize = 8 << 20;

/// Sends the request of the step.
pub(super) async fn run(step: &mut Step) -> Result<Results, Halt> {
    let method = step.args.text("method").unwrap_or_else(|| step.config.kind.to_owned());
    let url = step.args.needed("url")?;
    let request = request(step, &method, &url)?;
    let client = client(step).await?;
    let log = step.log("log").await?;
    let mut header = format!("Performing {method} request to {url}\n");
    push_list(&mut header, "Parameters:", &params(step));
    match step.args.get("data") {
        Json::Null => {}
        Json::Object(_) => push_list(&mut header, "Data:", &entries(step.args.get("data"))),
        data => header.push_str(&format!("Data:\n\t{}\n", to_text(data))),
    }
    step.append(log, Stream::Header, &header).await?;
    step.logs.flush(&mut step.build.journal).await?;
    let sent = request.headers().clone();
    let answer = step.unless_stopped(client.execute(request)).await?;
    let mut answer = match answer {
        Ok(answer) => answer,
        Err(error) => return failed(step, log, error).await,
    };
    let status = answer.status().as_u16();
    for (stream, text) in told(step, &sent, &answer) {
        step.append(log, stream, &text).await?;
    }
    let (mut content, mut cut) = (Vec::new(), false);
    loop {
        match step.unless_stopped(answer.chunk()).await? {
            Ok(Some(chunk)) => {
                let room = MAX_CONTENT - content.len();
                content.extend_from_slice(&chunk[..chunk.len().min(room)]);
                cut = chunk.len() > room;
                if cut {
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => return failed(step, log, error).await,
        }
    }
    let mut content = String::from_utf8_lossy(&content).into_owned();
    if cut {
        content.push_str("\n… and more\n");
    }
    step.append(log, Stream::Stdout, &format!(" ------ Content ------\n{content}")).await?;
    let contents = step.log("content").await?;
    step.append(contents, Stream::Stdout, &content).await?;
    step.summary.done = vec![format!("Status code: {status}")];
    Ok(if status < 400 { Results::Success } else { Results::Failure })
}

async fn failed(step: &mut Step, log: LogRef, error: reqwest::Error) -> Result<Results, Halt> {
    // The log already has the URL, as it was written.
    let why = causes::in_lines(&error.without_url());
    let text = format!("An exception occurred while performing the request: {why}");
    step.append(log, Stream::Stderr, &text).await?;
    Ok(Results::Failure)
}

fn request(step: &Step, method: &str, url: &str) -> Result<Request, Halt> {
    let args = &step.args;
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| args.wrong("method", "is none", ""))?;
    let mut url = Url::parse(url).map_err(|error| args.wrong("url", &format!("is no URL: {error}"), ""))?;
    let params = params(step);
    if !params.is_empty() {
        url.query_pairs_mut().extend_pairs(params);
    }
    let mut request = Request::new(method, url);
    let headers = request.headers_mut();
    let user_agent = HeaderValue::from_static(concat!("ganger/", env!("CARGO_PKG_VERSION")));
    headers.insert(reqwest::header::USER_AGENT, user_agent);
    let mut body = None;
    match (args.get("data"), args.get("json")) {
        (Json::Object(_), _) => {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(CONTENT_TYPE, form);
            let mut form = form_urlencoded::Serializer::new(String::new());
            body = Some(form.extend_pairs(entries(args.get("data"))).finish());
        }
        (Json::Null, Json::Null) => {}
        (Json::Null, json) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            body = Some(storage::python_json(json));
        }
        (data, _) => body = Some(to_text(data)),
    }
    for (name, value) in entries(args.get("headers")) {
        // A value may be a secret: it is not shown.
        let wrong = || Halt::Broken(format!("step {:?}: the header {name:?} cannot be sent", step.name));
        let value = HeaderValue::from_str(&value).map_err(|_| wrong())?;
        headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?, value);
    }
    let cookies: Vec<String> =
        entries(args.get("cookies")).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    if !cookies.is_empty() {
        let wrong = |_| Halt::Broken(format!("step {:?}: the cookies cannot be sent", step.name));
        headers.insert(COOKIE, HeaderValue::from_str(&cookies.join("; ")).map_err(wrong)?);
    }
    match args.texts("auth").as_slice() {
        [] => {}
        [user, password] => {
            use base64::{Engine as _, engine::general_purpose::STANDARD};
            let word = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
            let wrong = |_| Halt::Broken(format!("step {:?}: `auth` cannot be sent", step.name));
            headers.insert(AUTHORIZATION, HeaderValue::from_str(&word).map_err(wrong)?);
        }
        _ => {
            return Err(Halt::Broken(format!("`auth` of step {:?} is not a user and a password", step.name)));
        }
    }
    if let Some(body) = body {
        *request.body_mut() = Some(body.into());
    }
    Ok(request)
}

async fn client(step: &mut Step) -> Result<Client, Halt> {
    // The first call of the program decides; all want the same.
    rustls::crypto::ring::default_provider().install_default().ok();
    let args = &step.args;
    let redirects = args.maybe_truth("allow_redirects").unwrap_or(true);
    let policy = if redirects { Policy::limited(MAX_REDIRECTS) } else { Policy::none() };
    let mut client = Client::builder().redirect(policy).referer(false);
    if let Some(timeout) = args.seconds("timeout")?.filter(|timeout| !timeout.is_zero()) {
        client = client.connect_timeout(timeout).read_timeout(timeout);
    }
    for (scheme, url) in entries(args.get("proxies")) {
        let proxy = match scheme.as_str() {
            "http" => Proxy::http(url),
            "https" => Proxy::https(url),
            _ => {
                return Err(Halt::Broken(format!(
                    "`proxies` of step {:?} are for http and https",
                    step.name
                )));
            }
        };
        let proxy = proxy.map_err(|_| args.wrong("proxies", "is not a URL for each scheme", ""))?;
        client = client.proxy(proxy);
    }
    match args.get("verify") {
        Json::Null | Json::Bool(true) => {}
        Json::Bool(false) => client = client.tls_danger_accept_invalid_certs(true),
        file => {
            let certificates = Certificate::from_pem_bundle(&read(step.master_path(&to_text(file))).await?);
            let wrong =
                |error: reqwest::Error| args.wrong("verify", &format!("has no certificates: {error}"), "");
            client = client.tls_certs_only(certificates.map_err(wrong)?);
        }
    }
    let files = args.texts("cert");
    if !files.is_empty() {
        let mut pem = Vec::new();
        for file in &files {
            pem.extend(read(step.master_path(file)).await?);
            pem.push(b'\n');
        }
        let wrong =
            |error: reqwest::Error| args.wrong("cert", &format!("is no certificate with a key: {error}"), "");
        client = client.identity(Identity::from_pem(&pem).map_err(wrong)?);
    }
    client.build().map_err(|error| Halt::Broken(format!("no HTTP: {}", causes::in_lines(&error))))
}

async fn read(path: PathBuf) -> Result<Vec<u8>, Halt> {
    let failed = |error| Halt::Broken(format!("the master cannot read {}: {error}", path.display()));
    tokio::fs::read(&path).await.map_err(failed)
}

/// What the log says of an answer, but for its content.
fn told(step: &Step, sent: &HeaderMap, answer: &Response) -> [(Stream, String); 4] {
    let mut hidden = step.args.texts("hide_request_headers");
    hidden.push(AUTHORIZATION.to_string());
    let status = answer.status().as_u16();
    [
        (Stream::Header, listed("Request Headers:", sent, &hidden)),
        (Stream::Stdout, format!("URL: {}\n", answer.url())),
        (if status == 200 { Stream::Stdout } else { Stream::Stderr }, format!("Status: {status}\n")),
        (
            Stream::Header,
            listed("Response Headers:", answer.headers(), &step.args.texts("hide_response_headers")),
        ),
    ]
}

fn listed(title: &str, headers: &HeaderMap, hidden: &[String]) -> String {
    let value = |name: &HeaderName, value: &HeaderValue| {
        if hidden.iter().any(|hidden| hidden.eq_ignore_ascii_case(name.as_str())) {
            "<HIDDEN>".to_owned()
        } else {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        }
    };
    let mut text = String::new();
    let all: Vec<_> = headers.iter().map(|(name, v)| (capitalized(name), value(name, v))).collect();
    push_list(&mut text, title, &all);
    text
}

/// A name as people write it: `Content-Type`.
fn capitalized(name: &HeaderName) -> String {
    let mut starts = true;
    let letters = name.as_str().chars().map(|c| {
        let upper = std::mem::replace(&mut starts, c == '-');
        if upper { c.to_ascii_uppercase() } else { c }
    });
    letters.collect()
}

fn push_list(text: &mut String, title: &str, entries: &[(String, String)]) {
    if entries.is_empty() {
        return;
    }
    text.push_str(&format!("{title}\n"));
    for (name, value) in entries {
        text.push_str(&format!("\t{name}: {value}\n"));
    }
}

fn params(step: &Step) -> Vec<(String, String)> {
    let mut params = entries(step.args.get("params"));
    params.sort();
    params
}

fn entries(value: &Json) -> Vec<(String, String)> {
    let entries = value.as_object().into_iter().flatten();
    entries
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.clone(), to_text(value)))
        .collect()
}
