//! Where the databases of these tests are: on a PostgreSQL server that all of them share.

use std::path::Path;

use storage::{Location, Server};
use testkit::postgres::{Cluster, SHARED, USER};

/// The database of a directory.
pub(crate) fn location(directory: &Path) -> Location {
    let cluster = Cluster::shared().unwrap();
    let database = name(directory);
    cluster.database(&database).unwrap();
    server(&cluster, &database).into()
}

/// A database of a server, by its socket.
pub(crate) fn server(cluster: &Cluster, database: &str) -> Server {
    Server {
        host: cluster.socket().display().to_string(),
        port: 5432,
        user: USER.to_owned(),
        database: database.to_owned(),
        password: None,
        root_certificate: None,
    }
}

/// The same for Buildbot.
pub(crate) fn url(directory: &Path) -> String {
    location(directory);
    let socket = Cluster::shared().unwrap().socket().display().to_string();
    format!("postgresql+psycopg2://{USER}@/{}?host={socket}", name(directory))
}

/// What a process needs to find it.
pub(crate) fn environment() -> Option<(String, String)> {
    Some((SHARED.to_owned(), Cluster::shared().unwrap().socket().display().to_string()))
}

/// As though the last to have it was not a Ganger.
pub(crate) fn forget_last_master(directory: &Path) {
    sql(directory, "UPDATE ganger_writer SET master = NULL");
}

/// That the database is sound.
pub(crate) fn check(_: &Path) {}

/// What statements answer.
pub(crate) fn sql(directory: &Path, statements: &str) -> String {
    Cluster::shared().unwrap().sql(&name(directory), statements).unwrap()
}

/// Directories of tests have names that no other has.
pub(crate) fn name(directory: &Path) -> String {
    let name = directory.file_name().unwrap().to_string_lossy();
    name.chars().filter(char::is_ascii_alphanumeric).collect()
}
