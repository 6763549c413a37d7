//! What Linux shows of the worker's process: its connections, and whether anything runs below it.

use std::{collections::HashSet, fs, path::Path};

/// Established, in `/proc/net/tcp`.
const ESTABLISHED: &str = "01";

/// Whether a process has a connection to this port of somebody.
pub(crate) fn is_connected(pid: u32, port: u16) -> bool {
    let sockets = sockets(pid);
    ["tcp", "tcp6"].iter().any(|table| {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        connections(&text, port).any(|inode| sockets.contains(inode))
    })
}

/// Whether a process has children: a worker has some while a command of a build runs.
pub(crate) fn has_children(pid: u32) -> bool {
    let Ok(entries) = fs::read_dir("/proc") else { return false };
    entries.filter_map(Result::ok).any(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name may hold anything, also brackets.
        let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        fields.next().is_some_and(|state| state != "Z")
            && fields.next().and_then(|parent| parent.parse().ok()) == Some(pid)
    })
}

/// Free MiB where a directory is.
pub(crate) fn free(directory: &Path) -> Option<u64> {
    let output = std::process::Command::new("df").arg("-Pm").arg(directory).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

fn sockets(pid: u32) -> HashSet<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return HashSet::new() };
    let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets
        .filter_map(|target| {
            let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect()
}

/// Inodes of established connections to a port, of a table of `/proc/net`.
fn connections(table: &str, port: u16) -> impl Iterator<Item = &str> {
    table.lines().skip(1).filter_map(move |line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (_, remote) = fields.get(2)?.rsplit_once(':')?;
        let to = u16::from_str_radix(remote, 16).ok()?;
        (to == port && *fields.get(3)? == ESTABLISHED).then(|| fields.get(9).copied()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_established_connections_to_the_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:9C40 0100007F:2705 01 00000000:00000000 00:00000000 00000000  1000        0 111 1 0 20 4 30 10 -1\n\
            1: 0100007F:9C42 0100007F:2705 06 00000000:00000000 00:00000000 00000000  1000        0 222 1 0 20 4 30 10 -1\n\
            2: 0100007F:9C44 0100007F:0050 01 00000000:00000000 00:00000000 00000000  1000        0 333 1 0 20 4 30 10 -1\n";
        assert_eq!(connections(table, 9989).collect::<Vec<_>>(), ["111"]);
    }

    #[test]
    fn a_connection_and_a_child_of_this_process_are_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let me = std::process::id();
        assert!(!is_connected(me, port));
        let stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert!(is_connected(me, port));
        drop(stream);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(has_children(me));
        assert!(!has_children(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
