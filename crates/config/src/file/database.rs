//! `database` of `[master]`: a path, or a URL as Buildbot and PostgreSQL's own programs write it.

use std::{borrow::Cow, path::Path};

use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use super::secret;
use crate::{
    diagnostic::Span,
    model::{Database, Server},
    table::Table,
};

pub(super) const PASSWORD: [&str; 3] =
    ["database-password", "database-password-file", "database-password-env"];

/// Where PostgreSQL's own programs look for its socket on Debian and its like.
const SOCKETS: &str = "/var/run/postgresql";
const PORT: u16 = 5432;

/// The database, and the password of a server's.
pub(super) fn read(table: &Table<'_>, base_dir: &Path) -> (Database, Option<SecretString>) {
    let file = |path: &str| Database::Sqlite(base_dir.join(path));
    let (password, given) = secret::password(table, PASSWORD);
    let database = match table.text("database") {
        None => file("state.sqlite"),
        Some((database, span)) => match database.split_once("://") {
            None => file(database),
            // As Buildbot has it: after the third slash stands the path, which may start with a fourth.
            Some(("sqlite", path)) if path.len() > 1 && path.starts_with('/') => file(&path[1..]),
            Some((scheme, rest)) if is_postgresql(scheme) => {
                match server(rest, base_dir) {
                    Ok(server) => return (Database::Server(server), password),
                    Err((what, help)) => {
                        let wrong = table.reading().sink.error(span, what);
                        if !help.is_empty() {
                            wrong.help(help);
                        }
                    }
                }
                return (file(database), None);
            }
            Some((scheme, _)) => {
                unknown(table, span, scheme);
                file(database)
            }
        },
    };
    if given && let Some(key) = PASSWORD.iter().find_map(|key| table.value(key)) {
        key.error("a file has no password")
            .help("`database` names the database of a PostgreSQL server that has one");
    }
    (database, None)
}

/// Buildbot's URLs may name the Python library that is to be used, which is of no matter here.
fn is_postgresql(scheme: &str) -> bool {
    matches!(scheme.split('+').next(), Some("postgresql" | "postgres"))
}

fn unknown(table: &Table<'_>, span: Span, scheme: &str) {
    table.reading().sink.error(span, format!("there is no database {scheme:?} of this form")).help(
        "a path, \"sqlite:///relative/path\", \"sqlite:////absolute/path\" or \"postgresql://USER@HOST/DATABASE\"",
    );
}

/// What is wrong with a URL, and what helps.
type Wrong = (String, &'static str);

fn server(rest: &str, base_dir: &Path) -> Result<Server, Wrong> {
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = place.split_once('/').unwrap_or((place, ""));
    let (user, address) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.contains(':') {
        return Err((
            "a password does not belong into a URL".to_owned(),
            "set `database-password-file` or `database-password-env`",
        ));
    }
    let (host, port) = match address.rsplit_once(':') {
        // The colons of an address of IPv6 stand in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (address, None),
    };
    let port = port.map(number).transpose()?;
    let mut server = Server {
        host: decoded(host.trim_start_matches('[').trim_end_matches(']'))?.into_owned(),
        port: port.unwrap_or(PORT),
        user: decoded(user)?.into_owned(),
        database: decoded(database)?.into_owned(),
        root_certificate: None,
    };
    let (mut verify, mut root) = (false, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "host" => server.host = value.into_owned(),
            "port" => server.port = number(&value)?,
            "user" => server.user = value.into_owned(),
            "dbname" => server.database = value.into_owned(),
            "sslmode" => match &*value {
                "disable" => verify = false,
                "verify-full" => verify = true,
                other => {
                    return Err((
                        format!("there is no sslmode {other:?} here"),
                        "`verify-full` (with `sslrootcert=FILE`), or `disable`; what lies between protects from nobody",
                    ));
                }
            },
            "sslrootcert" => root = Some(base_dir.join(&*value)),
            "password" => {
                let help = "set `database-password-file` or `database-password-env`";
                return Err(("a password does not belong into a URL".to_owned(), help));
            }
            other => {
                return Err((
                    format!("there is no {other:?} in the URL of a database"),
                    "there are host, port, user, dbname, sslmode and sslrootcert",
                ));
            }
        }
    }
    server.root_certificate = match (verify, root) {
        (true, Some(root)) => match std::fs::metadata(&root) {
            Ok(_) => Some(root),
            Err(error) => return Err((format!("cannot read {}: {error}", root.display()), "")),
        },
        (true, None) => {
            let help = "add `&sslrootcert=FILE`: PEM, with the authorities that the server's certificate may come from";
            return Err(("`sslmode=verify-full` needs somebody to believe".to_owned(), help));
        }
        (false, Some(_)) => {
            return Err(("`sslrootcert` is of no use without TLS".to_owned(), "add `&sslmode=verify-full`"));
        }
        (false, None) => None,
    };
    if server.host.is_empty() {
        SOCKETS.clone_into(&mut server.host);
    }
    if server.user.is_empty() || server.database.is_empty() {
        let help = "\"postgresql://USER@HOST/DATABASE\", or \"postgresql://USER@/DATABASE?host=/var/run/postgresql\"";
        return Err(("the URL names no user or no database".to_owned(), help));
    }
    Ok(server)
}

fn number(text: &str) -> Result<u16, Wrong> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| (format!("{text:?} is no port"), ""))
}

fn decoded(text: &str) -> Result<Cow<'_, str>, Wrong> {
    percent_decode_str(text).decode_utf8().map_err(|_| (format!("{text:?} is no UTF-8"), ""))
}
