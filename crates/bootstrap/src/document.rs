//! What a machine is told when it starts. The master's crates have their own, stricter side of it; this program is in images
//! that are older or newer than the master, so it takes what it needs and skips the rest.

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

/// The longest document: what EC2 takes as user data.
pub(crate) const LIMIT: usize = 16 * 1024;

/// What the master wrote for this machine.
#[derive(Debug, Deserialize)]
pub(crate) struct Document {
    version: u32,
    pub(crate) pool: String,
    pub(crate) token: String,
    pub(crate) instance: Option<i64>,
    pub(crate) worker: Option<Worker>,
    pub(crate) master: Master,
    pub(crate) enroll: Option<Enroll>,
    #[serde(default)]
    pub(crate) settings: Settings,
}

/// Who its worker is.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Worker {
    pub(crate) name: String,
    #[serde(deserialize_with = "secret")]
    pub(crate) password: SecretString,
}

/// Where its master is.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Master {
    pub(crate) address: String,
}

/// Where it asks who its worker is.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Enroll {
    pub(crate) address: String,
    pub(crate) fingerprint: String,
    #[serde(default, deserialize_with = "maybe_secret")]
    pub(crate) ticket: Option<SecretString>,
    #[serde(default, deserialize_with = "maybe_secret")]
    pub(crate) secret: Option<SecretString>,
}

/// How it behaves.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    /// Seconds between the worker's signs of life; 0 is none.
    pub(crate) keepalive: u32,
    /// Seconds without a master after which the machine ends; 0 is never.
    pub(crate) silence: u32,
    pub(crate) clean: Clean,
}

impl Default for Settings {
    fn default() -> Self {
        Self { keepalive: 600, silence: 1800, clean: Clean::Never }
    }
}

/// When the workspace is emptied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Clean {
    #[default]
    Never,
    Start,
    Idle,
}

/// Why a document is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error(
        "the machine's document is not what a master writes, at line {line} column {column}: is it this machine's user data?"
    )]
    Malformed { line: usize, column: usize },
    #[error("the machine's document has version {0}; this program knows version 1: build the image again")]
    Version(u32),
    #[error("`{0}` of the machine's document is not of the form HOST:PORT")]
    Address(&'static str),
    #[error("the machine's document says neither who its worker is nor where to enroll")]
    Nothing,
}

impl Document {
    pub(crate) fn parse(text: &[u8]) -> Result<Self, DocumentError> {
        // Not the error's own words: they quote values, and one of them may be a secret.
        let malformed = |error: serde_json::Error| DocumentError::Malformed {
            line: error.line(),
            column: error.column(),
        };
        let document: Self = serde_json::from_slice(text).map_err(malformed)?;
        if document.version != 1 {
            return Err(DocumentError::Version(document.version));
        }
        split(&document.master.address).ok_or(DocumentError::Address("master.address"))?;
        if let Some(enroll) = &document.enroll {
            split(&enroll.address).ok_or(DocumentError::Address("enroll.address"))?;
        } else if document.worker.is_none() {
            return Err(DocumentError::Nothing);
        }
        Ok(document)
    }
}

/// The host, without brackets, and the port.
pub(crate) fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then_some((host, port))
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

fn maybe_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::InstanceId;
    use pools::{Token, metadata};
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn what_masters_write_is_read_here() {
        let written = metadata::Document {
            version: metadata::Document::VERSION,
            deployment: "d".into(),
            pool: "linux".into(),
            instance: Some(InstanceId(17)),
            token: Token("t".into()),
            template: String::new(),
            worker: None,
            master: metadata::Master { address: "[::1]:9989".into() },
            enroll: Some(metadata::Enroll {
                address: "ci.example.org:9990".into(),
                fingerprint: "00".repeat(32),
                ticket: None,
                secret: Some("sekrit".into()),
            }),
            settings: metadata::Settings {
                keepalive: 1,
                silence: u32::try_from(Duration::from_mins(1).as_secs()).unwrap(),
                clean: metadata::Clean::Idle,
            },
        };
        let read = Document::parse(written.to_json().unwrap().expose_secret().as_bytes()).unwrap();
        assert_eq!((&*read.pool, &*read.token, read.instance), ("linux", "t", Some(17)));
        assert_eq!(read.enroll.as_ref().unwrap().secret.as_ref().unwrap().expose_secret(), "sekrit");
        assert_eq!((read.settings.keepalive, read.settings.silence), (1, 60));
        assert_eq!(read.settings.clean, Clean::Idle);
        assert!(!format!("{read:?}").contains("sekrit"));
        assert_eq!(LIMIT, metadata::Document::LIMIT);
    }

    #[test]
    fn what_is_no_document_is_told_without_its_values() {
        let said = |text: &[u8]| Document::parse(text).unwrap_err().to_string();
        assert!(said(b"#!/bin/sh\n").contains("line 1"));
        assert!(
            said(br#"{"version":2,"pool":"p","token":"t","master":{"address":"a:1"}}"#).contains("version 2")
        );
        let without = br#"{"version":1,"pool":"p","token":"t","master":{"address":"a:1"}}"#;
        assert!(said(without).contains("neither"));
        let no_port = br#"{"version":1,"pool":"p","token":"t","master":{"address":"a"}}"#;
        assert!(said(no_port).contains("`master.address`"));
        let misplaced =
            br#"{"version":1,"pool":"p","token":"t","worker":"hunter2","master":{"address":"a:1"}}"#;
        assert!(!said(misplaced).contains("hunter2"));
    }
}
