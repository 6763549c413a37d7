//! `[master]`.

use std::path::{Path, PathBuf};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{choice, database, endpoint, secret};
use crate::{
    model::{CollapseRequests, Endpoint, Enroll, LogCompression, Master, NextWorker, Web},
    schema::{Fallback, Key, Kind},
    table::{Keys, Table},
    value::{Reading, Value},
};

/// The longest path of a Unix socket, one byte below what Linux holds.
pub(super) const MAX_SOCKET_PATH: usize = 107;

const PASSWORD: [&str; 3] = ["change-password", "change-password-file", "change-password-env"];

pub(super) const KEYS: Keys = Keys {
    what: "`[master]`",
    groups: &[&[
        Key::new("title", Kind::Text, "the name of the installation, for users")
            .default(Fallback::Text("Ganger")),
        Key::new("url", Kind::Text, "where users reach the web interface")
            .default(Fallback::Text("http://localhost:8010/")),
        Key::new(
            "database",
            Kind::Text,
            "where state is kept (see [storage](storage.md)): a path, Buildbot's `sqlite:///path`, or \
             `postgresql://USER@HOST/DATABASE`",
        )
        .default(Fallback::Text("state.sqlite")),
        Key::new(database::PASSWORD[0], Kind::Text, "the password of that user of PostgreSQL"),
        Key::new(database::PASSWORD[1], Kind::Text, "a file with it"),
        Key::new(database::PASSWORD[2], Kind::Text, "an environment variable with it"),
        Key::new(
            "listen",
            Kind::Special(&endpoint::ENDPOINTS),
            "where workers and clients connect, see below",
        )
        .default(Fallback::Texts(&["tcp:9989"])),
        Key::new(
            "web",
            Kind::Special(&endpoint::ENDPOINT),
            "where metrics are served over HTTP, to anybody who asks; only of type `tcp`, such as \
             `\"tcp:127.0.0.1:8010\"`. Left out, they are not",
        ),
        Key::new(
            "enroll",
            Kind::Special(&endpoint::ENDPOINT),
            "where machines of pools ask who their workers are (see [enrollment](enrollment.md)); only of type `tls`, \
             such as `\"tls:9990\"`. Certificate and key may be left out: they are made once then, and kept in \
             `enroll.pem` beside the database",
        ),
        Key::new(
            "enroll-address",
            Kind::Text,
            "where machines find that, `HOST:PORT`. Left out, it is what is bound; where that is every address of this \
             machine, it must be said",
        ),
        Key::new(
            "aws-certificates",
            Kind::Text,
            "what instance identity documents are signed with, in place of what AWS has published: a PEM file, or a \
             directory with a `REGION.pem` for each region",
        ),
        Key::new(
            "aws-accounts",
            Kind::Texts,
            "the accounts on AWS that machines may be of; left out, it is what the provider says of each machine",
        ),
        Key::new("control-socket", Kind::Text, "the socket for the command line")
            .default(Fallback::Text("ganger.sock")),
        Key::new(
            "log-compression",
            Kind::Choice(&["none", "gz", "lz4", "zstd"]),
            "how logs are kept; Buildbot reads `lz4` and `zstd` only with its extra packages of these names",
        )
        .default(Fallback::Text("gz")),
        Key::new(
            "secrets-directory",
            Kind::Text,
            "a directory with one file for each secret, named as the secret",
        ),
        Key::new("change-user", Kind::Text, "the user that `buildbot sendchange` logs in as")
            .default(Fallback::Text("change")),
        Key::new(PASSWORD[0], Kind::Text, "its password; without one, no changes are taken"),
        Key::new(PASSWORD[1], Kind::Text, "a file with that password"),
        Key::new(PASSWORD[2], Kind::Text, "an environment variable with that password"),
    ], choice::OF_MASTER],
    hints: &[
        ("buildbotURL", "it is called `url`"),
        ("db_url", "it is called `database`"),
        ("db", "it is called `database`"),
        ("logCompressionMethod", "it is called `log-compression`"),
        ("protocols", "it is called `listen`"),
        ("www", "its port is called `web`"),
    ],
};

/// The master, and where secrets are.
pub(super) fn read<'a>(
    reading: &'a Reading<'a>,
    value: Option<Value<'a>>,
) -> (Option<Master>, Option<PathBuf>) {
    let nothing = Spanned::new(0..0, DeValue::Table(DeTable::new()));
    match value {
        Some(value) => table(reading, value),
        None => {
            // Left out, it is all defaults; they take no part in what is reported.
            let quiet = Reading {
                sink: crate::diagnostic::Sink::new("", ""),
                base_dir: reading.base_dir,
                secrets: Default::default(),
                triggered: Default::default(),
                readable_by_others: false,
            };
            table(&quiet, Value::new(&quiet, &nothing, false))
        }
    }
}

fn table(reading: &Reading<'_>, value: Value<'_>) -> (Option<Master>, Option<PathBuf>) {
    let Some(table) = Table::of(value, KEYS) else { return (None, None) };
    let text = |name, default: &str| {
        table.text(name).map_or_else(|| default.to_owned(), |(text, _)| text.to_owned())
    };
    let base_dir = reading.base_dir;
    let (database, database_password) = database::read(&table, base_dir);
    let master = Master {
        title: text("title", "Ganger"),
        url: url(&table),
        database,
        database_password,
        listen: match table.value("listen") {
            Some(listen) => endpoint::read_all(listen),
            None => vec![Endpoint::Tcp { host: endpoint::ANY.into(), port: 9989 }],
        },
        web: web(&table),
        enroll: enroll(&table, base_dir),
        control_socket: socket(&table, base_dir),
        log_compression: compression(&table),
        collapse_requests: choice::collapse(&table).unwrap_or(CollapseRequests::Compatible),
        select_next_worker: choice::next_worker(&table, "select_next_worker")
            .unwrap_or(NextWorker::LeastLoaded),
        prioritize_builders: choice::prioritize(&table),
        changes: match secret::password(&table, PASSWORD) {
            (Some(password), _) => Some((text("change-user", "change"), password)),
            (None, given) => {
                if let Some(user) = table.value("change-user").filter(|_| !given) {
                    user.error("`change-user` has no password").help(format!("set `{}`", PASSWORD[1]));
                }
                None
            }
        },
    };
    let secrets = table.text("secrets-directory").map(|(path, span)| {
        let path = base_dir.join(path);
        if !path.is_dir() {
            reading.sink.error(span, format!("{} is no directory", path.display()));
        }
        path
    });
    (Some(master), secrets)
}

fn enroll(table: &Table<'_>, base_dir: &Path) -> Option<Enroll> {
    let address = table.text("enroll-address").map(|(address, span)| {
        let port = address
            .rsplit_once(':')
            .filter(|(host, _)| !host.is_empty())
            .map(|(_, port)| port.parse::<u16>());
        if !port.is_some_and(|port| port.is_ok_and(|port| port != 0)) {
            table.reading().sink.error(span, format!("{address:?} is not of the form HOST:PORT"));
        }
        address.to_owned()
    });
    let aws_certificates = table.text("aws-certificates").map(|(path, span)| {
        let path = base_dir.join(path);
        if let Err(error) = std::fs::metadata(&path) {
            table.reading().sink.error(span, format!("cannot read {}: {error}", path.display()));
        }
        path
    });
    let aws_accounts = table.texts("aws-accounts").unwrap_or_default();
    let aws_accounts = aws_accounts.into_iter().map(|(account, _)| account.to_owned()).collect();
    let Some(value) = table.value("enroll") else {
        for key in ["enroll-address", "aws-certificates", "aws-accounts"] {
            if let Some(value) = table.value(key) {
                value.error(format!("`{key}` is of no use without `enroll`")).help("enroll = \"tls:9990\"");
            }
        }
        return None;
    };
    let endpoint::Tls { host, port, identity } = endpoint::read_tls(value)?;
    let is_wildcard = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let bound = (!is_wildcard && port != 0).then(|| format!("{bracketed}:{port}"));
    Some(Enroll { host, port, identity, address: address.or(bound), aws_certificates, aws_accounts })
}

fn web(table: &Table<'_>) -> Option<Web> {
    let value = table.value("web")?;
    match endpoint::read(value)? {
        Endpoint::Tcp { host, port } => Some(Web { host, port }),
        Endpoint::Tls { .. } | Endpoint::Unix(_) => {
            value
                .error("`web` takes only an endpoint of type `tcp`")
                .help("\"tcp:127.0.0.1:8010\", with a proxy before it that speaks TLS");
            None
        }
    }
}

fn url(table: &Table<'_>) -> String {
    let Some((url, span)) = table.text("url") else { return "http://localhost:8010/".into() };
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    if host.is_none_or(|host| host.is_empty() || host.starts_with('/') || host.contains(char::is_whitespace))
    {
        table
            .reading()
            .sink
            .error(span, format!("{url:?} is no web address"))
            .help("such as \"https://ci.example.org/\"");
    }
    if url.ends_with('/') { url.to_owned() } else { format!("{url}/") }
}

fn socket(table: &Table<'_>, base_dir: &Path) -> PathBuf {
    let Some((path, span)) = table.text("control-socket") else { return base_dir.join("ganger.sock") };
    let path = base_dir.join(path);
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        table.reading().sink.error(
            span,
            format!("the path of a socket has at most {MAX_SOCKET_PATH} bytes: {}", path.display()),
        );
    }
    path
}

fn compression(table: &Table<'_>) -> LogCompression {
    match table.choice("log-compression") {
        Some("none") => LogCompression::None,
        Some("lz4") => LogCompression::Lz4,
        Some("zstd") => LogCompression::Zstd,
        _ => LogCompression::Gz,
    }
}
