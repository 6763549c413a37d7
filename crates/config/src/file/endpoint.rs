//! Where workers and clients connect: `"tcp:9989"`, `"tls:0.0.0.0:9990:cert=…:key=…"`, `"unix:path"`, or a table.

use std::path::PathBuf;

use toml::de::DeValue;

use super::master::MAX_SOCKET_PATH;
use crate::{
    diagnostic::Span,
    model::Endpoint,
    nearest::nearest,
    schema::{Key, Kind, Special},
    table::{Keys, Table},
    value::{Reading, Value},
};

/// Every address of this machine, as Twisted's `tcp:PORT` has it.
pub(super) const ANY: &str = "0.0.0.0";

pub(super) const ENDPOINTS: Special = Special::apart("a list of endpoints");

pub(super) const ENDPOINT: Special = Special { expected: "an endpoint", ..ENDPOINTS };

pub(super) const TABLE: Keys = Keys {
    what: "an endpoint",
    groups: &[&[
        Key::new("type", Kind::Choice(&["tcp", "tls", "unix"]), "what it is").required(),
        Key::new("host", Kind::Text, "the address or name to listen on")
            .default(crate::schema::Fallback::Text(ANY)),
        Key::new("port", Kind::Integer(0, 65535), "the port; 0 takes a free one"),
        Key::new("cert", Kind::Text, "PEM file with the certificates, for `tls`"),
        Key::new("key", Kind::Text, "PEM file with the private key, for `tls`"),
        Key::new("path", Kind::Text, "the socket, for `unix`"),
    ]],
    hints: &[("interface", "it is called `host`"), ("certificate", "it is called `cert`")],
};

/// What an endpoint says, however it was written.
#[derive(Default)]
struct Parts<'a> {
    kind: &'a str,
    host: Option<&'a str>,
    port: Option<i64>,
    cert: Option<(&'a str, Span)>,
    key: Option<(&'a str, Span)>,
    path: Option<&'a str>,
}

/// All endpoints; reports two that are the same.
pub(super) fn read_all(value: Value<'_>) -> Vec<Endpoint> {
    let elements: Vec<Value<'_>> = match value.get() {
        DeValue::Array(_) => value.elements().into_iter().flatten().collect(),
        _ => vec![value],
    };
    let mut endpoints: Vec<(Endpoint, Span)> = Vec::new();
    for element in elements {
        let Some(endpoint) = read(element) else { continue };
        match endpoints.iter().find(|(other, _)| is_same(other, &endpoint)) {
            Some((_, first)) => {
                element.error("this endpoint is listed twice").related(first.clone(), "first here");
            }
            None => endpoints.push((endpoint, element.span())),
        }
    }
    if endpoints.is_empty() && value.get().as_array().is_some_and(|array| array.is_empty()) {
        value.error("`listen` is empty: no worker could connect");
    }
    endpoints.into_iter().map(|(endpoint, _)| endpoint).collect()
}

fn is_same(one: &Endpoint, other: &Endpoint) -> bool {
    fn address(endpoint: &Endpoint) -> Option<(&str, u16)> {
        match endpoint {
            Endpoint::Tcp { host, port } | Endpoint::Tls { host, port, .. } if *port != 0 => {
                Some((host, *port))
            }
            _ => None,
        }
    }
    match (one, other) {
        (Endpoint::Unix(one), Endpoint::Unix(other)) => one == other,
        _ => address(one).is_some() && address(one) == address(other),
    }
}

/// An endpoint of type `tls` whose certificate and key may be left out.
pub(super) struct Tls {
    pub(super) host: String,
    pub(super) port: u16,
    /// Certificate and key.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

/// One of those.
pub(super) fn read_tls(value: Value<'_>) -> Option<Tls> {
    let parts = match value.get() {
        DeValue::String(text) => from_text(&value, text)?,
        DeValue::Table(_) => from_table(&value)?,
        _ => {
            value.unexpected("an endpoint: \"tls:9990\", or a table");
            return None;
        }
    };
    if parts.kind != "tls" {
        value.error("this takes only an endpoint of type `tls`").help("\"tls:9990\"");
        return None;
    }
    let Some(port) = parts.port.and_then(|port| u16::try_from(port).ok()) else {
        value.error("the endpoint lacks a port").help("such as \"tls:9990\"");
        return None;
    };
    let host = parts.host.unwrap_or(ANY).to_owned();
    let identity = match (parts.cert, parts.key) {
        (Some(cert), Some(key)) => Some((file(value.reading, cert)?, file(value.reading, key)?)),
        (None, None) => None,
        _ => {
            value.error("a certificate goes with a key").help("leave both out to have them made");
            return None;
        }
    };
    Some(Tls { host, port, identity })
}

/// One endpoint.
pub(super) fn read(value: Value<'_>) -> Option<Endpoint> {
    let parts = match value.get() {
        DeValue::String(text) => from_text(&value, text)?,
        DeValue::Table(_) => from_table(&value)?,
        _ => {
            value.unexpected("an endpoint: \"tcp:9989\", \"tls:…\", \"unix:…\", or a table");
            return None;
        }
    };
    let port = || match parts.port {
        Some(port) => u16::try_from(port).ok(),
        None => {
            value
                .error("the endpoint lacks a port")
                .help("such as \"tcp:9989\" or \"tls:9990:cert=…:key=…\"");
            None
        }
    };
    let host = parts.host.unwrap_or(ANY).to_owned();
    if parts.kind != "tls"
        && let Some((_, span)) = parts.cert.as_ref().or(parts.key.as_ref())
    {
        value.reading.sink.error(span.clone(), "only `tls` has a certificate and a key");
        return None;
    }
    match parts.kind {
        "tcp" => Some(Endpoint::Tcp { host, port: port()? }),
        "tls" => {
            let (Some(cert), Some(key)) = (parts.cert, parts.key) else {
                value.error("`tls` needs a certificate and a key").help("\"tls:9990:cert=FILE:key=FILE\"");
                return None;
            };
            let (certificate, key) = (file(value.reading, cert), file(value.reading, key));
            Some(Endpoint::Tls { host, port: port()?, certificate: certificate?, key: key? })
        }
        "unix" => {
            let path =
                value.reading.base_dir.join(parts.path.filter(|path| !path.is_empty()).or_else(|| {
                    value.error("the endpoint lacks a path").help("such as \"unix:workers.sock\"");
                    None
                })?);
            if path.as_os_str().len() > MAX_SOCKET_PATH {
                value.error(format!(
                    "the path of a socket has at most {MAX_SOCKET_PATH} bytes: {}",
                    path.display()
                ));
            }
            Some(Endpoint::Unix(path))
        }
        other => {
            value
                .error(format!("there is no endpoint of type {other:?}"))
                .help("\"tcp:9989\", \"tls:9990:cert=FILE:key=FILE\" or \"unix:FILE\"");
            None
        }
    }
}

fn file(reading: &Reading<'_>, (path, span): (&str, Span)) -> Option<PathBuf> {
    let path = reading.base_dir.join(path);
    match std::fs::File::open(&path) {
        Ok(_) => Some(path),
        Err(error) => {
            reading.sink.error(span, format!("cannot read {}: {error}", path.display()));
            None
        }
    }
}

fn from_table<'a>(value: &Value<'a>) -> Option<Parts<'a>> {
    let table = Table::of(*value, TABLE)?;
    Some(Parts {
        kind: table.choice("type")?,
        host: table.text("host").map(|(host, _)| host),
        port: table.integer("port"),
        cert: table.text("cert"),
        key: table.text("key"),
        path: table.text("path").map(|(path, _)| path),
    })
}

/// `tcp:PORT`, `tcp:HOST:PORT`, Twisted's `tcp:PORT:interface=HOST`, and the same for `tls`; an IPv6 address stands in
/// brackets.
fn from_text<'a>(value: &Value<'a>, text: &'a str) -> Option<Parts<'a>> {
    let Some((kind, rest)) = text.split_once(':') else {
        value
            .error(format!("{text:?} is no endpoint"))
            .help("\"tcp:9989\", \"tls:9990:cert=FILE:key=FILE\" or \"unix:FILE\"");
        return None;
    };
    let mut parts = Parts { kind, ..Parts::default() };
    if kind == "unix" {
        parts.path = Some(rest);
        return Some(parts);
    }
    let mut rest = rest;
    if let Some(bracketed) = rest.strip_prefix('[') {
        let Some((host, after)) = bracketed.split_once(']') else {
            value.error("`[` without `]`").help("\"tcp:[::1]:9989\"");
            return None;
        };
        parts.host = Some(host);
        rest = after.strip_prefix(':').unwrap_or(after);
    }
    for part in rest.split(':') {
        match part.split_once('=') {
            Some(("cert", path)) => parts.cert = Some((path, value.span())),
            Some(("key", path)) => parts.key = Some((path, value.span())),
            Some(("interface", host)) => parts.host = Some(host),
            Some((other, _)) => {
                value.error(format!("an endpoint has no `{other}=`")).maybe_help(
                    nearest(other, ["cert", "key", "interface"])
                        .map(|meant| format!("did you mean `{meant}=`?")),
                );
                return None;
            }
            None => match part.parse::<u16>() {
                Ok(port) if parts.port.is_none() => parts.port = Some(i64::from(port)),
                Err(_) if parts.host.is_none() && parts.port.is_none() && !part.is_empty() => {
                    parts.host = Some(part)
                }
                _ => {
                    value
                        .error(format!("{part:?} is neither a host nor a port from 0 to 65535"))
                        .help("\"tcp:9989\", \"tcp:127.0.0.1:9989\" or \"tcp:[::1]:9989\"");
                    return None;
                }
            },
        }
    }
    Some(parts)
}
