//! By which number the user of a container is known.

use std::io::{self, Read as _};

use bollard::{Docker, query_parameters::DownloadFromContainerOptions};
use futures_util::StreamExt as _;
use pools::ProviderError;

use crate::engine::explain;

/// Where names have their numbers.
const PASSWD: &str = "/etc/passwd";

/// The most bytes of it that are read.
const LIMIT: usize = 1 << 20;

/// The number of a user, as images and `docker run --user` name it: `USER`, `UID`, either with `:GROUP`; empty is root.
/// A name is looked up in the container, which need not run.
pub(crate) async fn of(engine: &Docker, container: &str, user: &str) -> Result<u32, ProviderError> {
    let name = user.split_once(':').map_or(user, |(name, _)| name);
    if let Some(uid) = number(name) {
        return Ok(uid);
    }
    let options = DownloadFromContainerOptions { path: PASSWD.to_owned() };
    let mut stream = std::pin::pin!(engine.download_from_container(container, Some(options)));
    let mut archive = Vec::new();
    while let Some(piece) = stream.next().await {
        archive.extend_from_slice(&piece.map_err(explain)?);
        if archive.len() > LIMIT {
            return Err(unknown(name, "and its /etc/passwd is too long"));
        }
    }
    let passwd = unpack(&archive).map_err(|_| unknown(name, "and its /etc/passwd cannot be read"))?;
    lookup(&passwd, name).ok_or_else(|| unknown(name, "whom its /etc/passwd does not have"))
}

fn number(name: &str) -> Option<u32> {
    if name.is_empty() { Some(0) } else { name.parse().ok() }
}

fn unpack(archive: &[u8]) -> io::Result<String> {
    let mut archive = tar::Archive::new(archive);
    let mut entry = archive.entries()?.next().ok_or(io::ErrorKind::UnexpectedEof)??;
    let mut text = Vec::new();
    entry.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn lookup(passwd: &str, name: &str) -> Option<u32> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

fn unknown(name: &str, problem: &str) -> ProviderError {
    let text = format!("the image runs as user {name:?}, {problem}: say with `user` by which number");
    ProviderError::config("User", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_number_of_its_line() {
        let passwd = "root:x:0:0::/root:/bin/sh\n\nbad\nbuildbot:x:1000:1001::/:/bin/sh\nodd:x:many:1::/:\n";
        assert_eq!(lookup(passwd, "buildbot"), Some(1000));
        assert_eq!(lookup(passwd, "build"), None);
        assert_eq!(lookup(passwd, "odd"), None);
        assert_eq!(lookup(passwd, "bad"), None);
        assert_eq!((number(""), number("7"), number("nobody")), (Some(0), Some(7), None));
    }
}
