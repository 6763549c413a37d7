//! Keeps builds away from the metadata service: whoever reads it can say that he is this machine, and has its role.

use std::{
    io,
    net::{TcpStream, ToSocketAddrs},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use crate::{document::split, say, user::User};

/// The addresses of the service, for both versions of IP (the second one only on instances that have it).
const ADDRESSES: [(&str, &str); 2] = [("-4", "169.254.169.254/32"), ("-6", "fd00:ec2::254/128")];

/// Before any other rule of the system.
const PREFERENCE: &str = "10";

/// How long the service may take to be reached when it is tried.
const TRY: Duration = Duration::from_secs(2);

/// How an attempt ends that did not reach it.
const UNREACHABLE: u8 = 3;

/// Why the worker is not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GuardError {
    #[error(
        "builds could read this machine's metadata at {0}: `ip rule` could not forbid it. Install iproute2 in the image, or say --allow-metadata"
    )]
    Open(String),
    #[error("cannot try whether builds can reach the metadata service")]
    Unknown(#[source] io::Error),
}

/// Forbids a user the metadata service, and makes sure of it. `address` is where the service was read.
pub(crate) fn forbid(user: User, address: &str) -> Result<(), GuardError> {
    let range = format!("{0}-{0}", user.uid);
    let host = split(address).map_or(address, |(host, _)| host);
    let own = if host.contains(':') { ("-6", format!("{host}/128")) } else { ("-4", format!("{host}/32")) };
    let known = ADDRESSES.map(|(family, to)| (family, to.to_owned()));
    for (family, to) in known.into_iter().chain([own]) {
        let rule = ["uidrange", &range, "to", &to, "prohibit", "pref", PREFERENCE];
        // An earlier life of this program may have made the same rule; a second one would do no harm but grow.
        for action in ["del", "add"] {
            let made = Command::new("ip")
                .args([family, "rule", action])
                .args(rule)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if action == "add" && !made.is_ok_and(|status| status.success()) {
                say::line(format_args!("`ip {family} rule` cannot forbid {to}"));
            }
        }
    }
    if can_reach(user, address).map_err(GuardError::Unknown)? {
        return Err(GuardError::Open(address.to_owned()));
    }
    Ok(())
}

/// Whether a user can reach an address: tried by this program, as that user.
fn can_reach(user: User, address: &str) -> io::Result<bool> {
    let status = user.runs_this()?.args(["reach", address]).status()?;
    match status.code() {
        Some(0) => Ok(true),
        Some(code) if code == i32::from(UNREACHABLE) => Ok(false),
        _ => Err(io::Error::other(format!("the attempt ended with {status}"))),
    }
}

/// Says by the exit code whether an address can be reached.
pub(crate) fn reach(address: &str) -> ExitCode {
    let Ok(mut addresses) = address.to_socket_addrs() else { return ExitCode::FAILURE };
    if addresses.any(|address| TcpStream::connect_timeout(&address, TRY).is_ok()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(UNREACHABLE)
    }
}
