//! What only PostgreSQL knows: connections, the lock of the one that writes, sequences, and how values travel.
//!
//! A lost connection is made anew, and nothing is written twice for it. The writer holds an advisory lock as long as its
//! session lives. Who gets that lock again knows that the old session is over and its last transaction decided; and each
//! transaction writes its serial, so that one can see how.

use std::{borrow::Cow, collections::HashMap, path::PathBuf, sync::Arc, thread, time::Duration};

use bytes::BytesMut;
use postgres::{
    Client, NoTls, Statement,
    config::SslMode,
    types::{FromSql, IsNull, ToSql, Type},
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Error, Values};
use crate::{ids::Ids, sql::postgres as sql};

/// More statements than there are; those that are put together from filters could be many.
const MOST_STATEMENTS: usize = 512;
/// How far ahead sequences are set, so that it is done rarely. After a crash so many ids may be left out.
const AHEAD: i64 = 1000;
/// How long an attempt to connect takes at most, and how long the server may leave us without a sign of life.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(30);
/// How often, and after how long each time, the lock is asked for that an old session of ours still holds.
const ASK_FOR_LOCK: (u32, Duration) = (50, Duration::from_millis(100));

/// A database on a PostgreSQL server, from version 12 on.
#[derive(Clone, Debug)]
pub struct Server {
    /// Name or address of the server, or the directory of its Unix socket, which starts with a slash.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The role to log in as; it owns the tables, or may create them.
    pub user: String,
    /// The database.
    pub database: String,
    /// The role's password, where the server asks for one.
    pub password: Option<SecretString>,
    /// A PEM file with the authorities that the server's certificate may come from. With one, nothing is said without TLS, and
    /// the certificate must be that of `host`; without, nothing is said with it.
    pub root_certificate: Option<PathBuf>,
}

/// A connection, and what is needed to make it anew.
pub(crate) struct Session {
    client: Client,
    statements: HashMap<String, Statement>,
    server: Arc<Server>,
    application: String,
    /// Which of the server's processes speaks to us: its id, and when it started.
    backend: (i32, String),
    /// How far the sequences are set, in the order of [`Ids::TABLES`].
    reserved: Vec<i64>,
}

impl Session {
    /// Connects. `application` is what administrators see in the server's list of sessions.
    pub(crate) fn connect(server: &Arc<Server>, application: &str) -> Result<Self, Error> {
        let mut client = client(server, application)?;
        if !server.host.starts_with('/') {
            client.batch_execute(sql::KEEPALIVES)?;
        }
        let row = client.query_one(sql::BACKEND, &[])?;
        Ok(Self {
            client,
            statements: HashMap::new(),
            server: Arc::clone(server),
            application: application.to_owned(),
            backend: (row.try_get(0)?, row.try_get(1)?),
            reserved: vec![0; Ids::TABLES.len()],
        })
    }

    pub(crate) fn execute(&mut self, statement: &str, values: Values<'_>) -> Result<usize, Error> {
        let statement = self.prepare(statement)?;
        let values = parameters(values)?;
        let changed = self.client.execute(&statement, &borrowed(&values))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    pub(crate) fn query(&mut self, query: &str, values: Values<'_>) -> Result<Vec<postgres::Row>, Error> {
        let statement = self.prepare(query)?;
        let values = parameters(values)?;
        match self.client.query(&statement, &borrowed(&values)) {
            // No row has a number that its column cannot hold.
            Err(error) if TooLarge::is_cause_of(&error) => Ok(Vec::new()),
            answer => Ok(answer?),
        }
    }

    pub(crate) fn batch(&mut self, statements: &str) -> Result<(), Error> {
        Ok(self.client.batch_execute(statements)?)
    }

    fn prepare(&mut self, statement: &str) -> Result<Statement, Error> {
        if let Some(known) = self.statements.get(statement) {
            return Ok(known.clone());
        }
        let prepared = self.client.prepare(statement)?;
        if self.statements.len() >= MOST_STATEMENTS {
            self.statements.clear();
        }
        self.statements.insert(statement.to_owned(), prepared.clone());
        Ok(prepared)
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.client.is_closed()
    }

    /// Becomes the one that writes, unless another session is. Says who.
    pub(crate) fn lock(&mut self) -> Result<Result<(), String>, Error> {
        if self.client.query_one(sql::LOCK, &[])?.try_get(0)? {
            return Ok(Ok(()));
        }
        let holder = self.client.query_opt(sql::LOCK_HOLDER, &[])?;
        Ok(Err(match holder {
            Some(row) => format!("{} on {}", row.try_get::<_, String>(2)?, row.try_get::<_, String>(3)?),
            None => "a session that has just ended".to_owned(),
        }))
    }

    /// See [`super::Connection::reconnect`].
    pub(crate) fn reconnect(&mut self) -> Result<i64, Error> {
        let mut new = Self::connect(&self.server, &self.application)?;
        new.reserved = self.reserved.clone();
        let (times, after) = ASK_FOR_LOCK;
        let mut attempt = 0;
        while let Err(holder) = new.lock()? {
            // Only the server has not noticed yet that our old connection is gone.
            let row = new.client.query_opt(sql::LOCK_HOLDER, &[])?;
            let held_by = row.map(|row| {
                Ok::<_, postgres::Error>((row.try_get::<_, i32>(0)?, row.try_get::<_, String>(1)?))
            });
            match held_by.transpose()? {
                Some(backend) if backend != self.backend => {
                    return Err(Error::Taken(format!(
                        "while it could not be reached, {holder} has taken it"
                    )));
                }
                Some((process, _)) if attempt < times => {
                    new.client.execute(sql::TERMINATE, &[&process])?;
                }
                None if attempt < times => {}
                _ => return Err(Error::Taken(format!("{holder} does not let go of it"))),
            }
            attempt += 1;
            thread::sleep(after);
        }
        *self = new;
        let row = self.client.query_opt(sql::SERIAL, &[])?;
        row.map_or(Ok(0), |row| Ok(row.try_get(0)?))
    }

    /// See [`super::Connection::mark`].
    pub(crate) fn mark(&mut self, serial: i64) -> Result<(), Error> {
        self.execute(sql::MARK, super::params![serial]).map(drop)
    }

    /// Sets sequences above the ids that were given out, as the rows with these ids do not come from them: Buildbot's rows do.
    pub(crate) fn reserve(&mut self, ids: &Ids) -> Result<(), Error> {
        for (index, used) in ids.given().into_iter().enumerate() {
            if used > self.reserved[index] {
                self.set_sequence(index, used + AHEAD)?;
                self.reserved[index] = used + AHEAD;
            }
        }
        Ok(())
    }

    /// Sets sequences to exactly what was given out.
    pub(crate) fn settle(&mut self, ids: &Ids) -> Result<(), Error> {
        ids.given().into_iter().enumerate().try_for_each(|(index, used)| self.set_sequence(index, used))
    }

    fn set_sequence(&mut self, index: usize, used: i64) -> Result<(), Error> {
        let (table, column) = Ids::TABLES[index];
        self.query(sql::SET_SEQUENCE, super::params![table, column, used.max(1), used > 0]).map(drop)
    }
}

fn client(server: &Server, application: &str) -> Result<Client, Error> {
    let mut config = postgres::Config::new();
    config
        .host(&server.host)
        .port(server.port)
        .user(&server.user)
        .dbname(&server.database)
        .application_name(application)
        .connect_timeout(CONNECT_WITHIN)
        .keepalives_idle(SILENCE)
        .tcp_user_timeout(SILENCE);
    if let Some(password) = &server.password {
        config.password(password.expose_secret());
    }
    Ok(match &server.root_certificate {
        None => config.ssl_mode(SslMode::Disable).connect(NoTls)?,
        Some(path) => {
            let tls = tls(path).map_err(|reason| Error::Trust(format!("{}: {reason}", path.display())))?;
            config.ssl_mode(SslMode::Require).connect(MakeRustlsConnect::new(tls))?
        }
    })
}

/// TLS with a server whose certificate comes from the authorities in a file.
fn tls(path: &std::path::Path) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())? {
        roots.add(certificate.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth())
}

/// A value on its way to the server.
#[derive(Debug)]
enum Parameter<'a> {
    Null,
    Integer(i64),
    Text(Cow<'a, str>),
    Blob(Cow<'a, [u8]>),
}

/// A number that its column cannot hold.
#[derive(Debug, thiserror::Error)]
#[error("{0} is too large for its column")]
pub(crate) struct TooLarge(i64);

impl TooLarge {
    pub(super) fn is_cause_of(error: &postgres::Error) -> bool {
        std::error::Error::source(error).is_some_and(|source| source.is::<Self>())
    }
}

fn parameters<'a>(values: Values<'a>) -> Result<Vec<Parameter<'a>>, Error> {
    use rusqlite::types::{ToSqlOutput, Value, ValueRef};
    let unsupported = || Error::Sqlite(rusqlite::Error::InvalidQuery);
    values
        .iter()
        .map(|value| {
            Ok(match value.to_sql()? {
                ToSqlOutput::Borrowed(ValueRef::Null) | ToSqlOutput::Owned(Value::Null) => Parameter::Null,
                ToSqlOutput::Borrowed(ValueRef::Integer(number))
                | ToSqlOutput::Owned(Value::Integer(number)) => Parameter::Integer(number),
                ToSqlOutput::Borrowed(ValueRef::Text(text)) => {
                    Parameter::Text(without_nul(String::from_utf8_lossy(text)))
                }
                ToSqlOutput::Owned(Value::Text(text)) => Parameter::Text(without_nul(text.into())),
                ToSqlOutput::Borrowed(ValueRef::Blob(bytes)) => Parameter::Blob(bytes.into()),
                ToSqlOutput::Owned(Value::Blob(bytes)) => Parameter::Blob(bytes.into()),
                _ => return Err(unsupported()),
            })
        })
        .collect()
}

/// PostgreSQL's texts have every character but this one.
fn without_nul(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text }
}

fn borrowed<'a>(values: &'a [Parameter<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    values.iter().map(|value| value as _).collect()
}

impl ToSql for Parameter<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) => match *kind {
                Type::BOOL => (*number != 0).to_sql(kind, out),
                Type::INT2 => i16::try_from(*number).map_err(|_| TooLarge(*number))?.to_sql(kind, out),
                Type::INT4 => i32::try_from(*number).map_err(|_| TooLarge(*number))?.to_sql(kind, out),
                _ => number.to_sql_checked(kind, out),
            },
            Self::Text(text) => text.as_ref().to_sql_checked(kind, out),
            Self::Blob(bytes) => bytes.as_ref().to_sql_checked(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        // What a column does not take is found in `to_sql`.
        true
    }

    postgres::types::to_sql_checked!();
}

/// A value as it came from the server.
struct Cell<'a>(rusqlite::types::ValueRef<'a>);

impl<'a> FromSql<'a> for Cell<'a> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        use rusqlite::types::ValueRef;
        Ok(Self(match *kind {
            Type::BOOL => ValueRef::Integer(bool::from_sql(kind, raw)?.into()),
            Type::INT2 => ValueRef::Integer(i16::from_sql(kind, raw)?.into()),
            Type::INT4 => ValueRef::Integer(i32::from_sql(kind, raw)?.into()),
            Type::INT8 => ValueRef::Integer(i64::from_sql(kind, raw)?),
            Type::BYTEA => ValueRef::Blob(raw),
            _ => ValueRef::Text(raw),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(rusqlite::types::ValueRef::Null))
    }

    fn accepts(kind: &Type) -> bool {
        matches!(
            *kind,
            Type::BOOL
                | Type::INT2
                | Type::INT4
                | Type::INT8
                | Type::BYTEA
                | Type::TEXT
                | Type::VARCHAR
                | Type::NAME
        )
    }
}

/// The value of a column, in SQLite's terms.
pub(super) fn value(row: &postgres::Row, column: usize) -> Result<rusqlite::types::ValueRef<'_>, Error> {
    Ok(row.try_get::<_, Cell<'_>>(column)?.0)
}
