//! The one document that a machine of a pool gets: what it needs to become a worker of this master, and nothing else.
//!
//! It is JSON, the same everywhere: a file in the directory of a local machine, the user data of a cloud's instance
//! (hence [`Document::LIMIT`]). Readers skip fields that they do not know, and refuse another [`Document::VERSION`].

use std::time::Duration;

use model::InstanceId;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Token;

/// What a machine is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Document {
    /// [`Document::VERSION`].
    pub version: u32,
    /// Names the installation that the machine belongs to.
    pub deployment: String,
    /// Its pool.
    pub pool: String,
    /// Its row in the ledger, when it is the only machine that reads this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// The call that it came from.
    pub token: Token,
    /// A digest of what it was made from.
    pub template: String,
    /// Who its worker is; `None` when it has to ask for that first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Worker>,
    /// Where its master is.
    pub master: Master,
    /// Where it asks who its worker is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enroll: Option<Enroll>,
    /// How it behaves.
    #[serde(default)]
    pub settings: Settings,
}

/// Who a machine's worker is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Worker {
    /// What it logs in as: `POOL@ID`.
    pub name: String,
    /// What it proves to know.
    #[serde(serialize_with = "expose", deserialize_with = "conceal")]
    pub password: SecretString,
}

/// Where a machine's master is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Master {
    /// Host and port: `ci.example.org:9989`, `[2001:db8::1]:9989`.
    pub address: String,
}

/// Where and how a machine asks who its worker is: over HTTPS.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Enroll {
    /// Host and port.
    pub address: String,
    /// The SHA-256 digest of the certificate (DER) that is shown there, in hexadecimal digits. Nothing else is trusted.
    pub fingerprint: String,
    /// Proves that the machine came from this call. It takes more than that to be let in.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "expose_any",
        deserialize_with = "conceal_any"
    )]
    pub ticket: Option<SecretString>,
    /// A secret that is good for one enrollment.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "expose_any",
        deserialize_with = "conceal_any"
    )]
    pub secret: Option<SecretString>,
}

/// How a machine behaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Seconds between the worker's signs of life; 0 is none.
    pub keepalive: u32,
    /// A machine that has no master for so many seconds ends by itself; 0 is never.
    pub silence: u32,
    /// When the workspace is cleaned.
    pub clean: Clean,
}

/// When a machine's workspace is cleaned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clean {
    /// Never.
    #[default]
    Never,
    /// When its worker starts.
    Start,
    /// When its worker starts, and whenever it has no build after some.
    Idle,
}

impl Settings {
    /// Half an hour: a master that is down for an upgrade finds its machines again.
    pub const SILENCE: Duration = Duration::from_mins(30);
}

impl Default for Settings {
    /// Buildbot's ten minutes between signs of life (`buildbot_worker/scripts/runner.py`, 4.3.0), and
    /// [`Settings::SILENCE`].
    fn default() -> Self {
        Self { keepalive: 600, silence: 1800, clean: Clean::Never }
    }
}

/// Why a document is not one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// It would not fit where clouds keep it.
    #[error("the machine's document has {0} bytes; clouds take at most {limit}", limit = Document::LIMIT)]
    TooLong(usize),
    /// It is not JSON, or lacks something.
    #[error("the machine's document cannot be read: {0}")]
    Malformed(String),
    /// It comes from another time.
    #[error(
        "the machine's document has version {0}; this program knows version {known}",
        known = Document::VERSION
    )]
    Version(u32),
    /// A field holds what cannot be true.
    #[error("`{field}` of the machine's document is {problem}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// The longest text in a field.
const TEXT: usize = 1024;

impl Document {
    /// The only version that there is.
    pub const VERSION: u32 = 1;

    /// The most bytes: what EC2 takes as user data.
    pub const LIMIT: usize = 16 * 1024;

    /// What a machine said, or was told.
    ///
    /// # Errors
    /// It is none, with the field that is at fault where there is one. Never names the password.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        /// Looked at first: another version may have other fields.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        if bytes.len() > Self::LIMIT {
            return Err(DocumentError::TooLong(bytes.len()));
        }
        let Versioned { version } = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
        if version != Self::VERSION {
            return Err(DocumentError::Version(version));
        }
        let document: Self = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
        document.check()?;
        Ok(document)
    }

    /// As text, for where the machine will find it. Holds the password.
    ///
    /// # Errors
    /// A field holds what cannot be true, or all of it is too long.
    pub fn to_json(&self) -> Result<SecretString, DocumentError> {
        self.check()?;
        let text = serde_json::to_string(self).map_err(|error| malformed(&error))?;
        if text.len() > Self::LIMIT {
            return Err(DocumentError::TooLong(text.len()));
        }
        Ok(text.into())
    }

    fn check(&self) -> Result<(), DocumentError> {
        let mut fields = vec![
            ("deployment", &*self.deployment),
            ("pool", &self.pool),
            ("token", &self.token.0),
            ("master.address", &self.master.address),
        ];
        if let Some(worker) = &self.worker {
            fields.push(("worker.name", &worker.name));
            fields.push(("worker.password", worker.password.expose_secret()));
        }
        if let Some(enroll) = &self.enroll {
            fields.push(("enroll.address", &enroll.address));
            fields.push(("enroll.fingerprint", &enroll.fingerprint));
            fields.extend(enroll.ticket.iter().map(|ticket| ("enroll.ticket", ticket.expose_secret())));
            fields.extend(enroll.secret.iter().map(|secret| ("enroll.secret", secret.expose_secret())));
        } else if self.worker.is_none() {
            return Err(DocumentError::Field {
                field: "worker",
                problem: "missing, and there is no `enroll`",
            });
        }
        for (field, text) in fields {
            let problem = if text.is_empty() {
                "empty"
            } else if text.len() > TEXT {
                "longer than 1024 bytes"
            } else if text.contains(char::is_control) {
                "not one line of text"
            } else {
                continue;
            };
            return Err(DocumentError::Field { field, problem });
        }
        if self.master.host_and_port().is_none() {
            return Err(DocumentError::Field {
                field: "master.address",
                problem: "not of the form HOST:PORT",
            });
        }
        Ok(())
    }
}

impl Master {
    /// The host, without brackets, and the port.
    pub fn host_and_port(&self) -> Option<(&str, u16)> {
        let (host, port) = self.address.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (!host.is_empty()).then_some((host, port))
    }
}

/// Without the values that the error may quote: one of them may be the password.
fn malformed(error: &serde_json::Error) -> DocumentError {
    let text = error.to_string();
    let what = if text.starts_with("missing field") {
        text
    } else {
        let what = if error.is_data() { "a field holds what it cannot hold" } else { "it is not JSON" };
        format!("{what}, at line {} column {}", error.line(), error.column())
    };
    DocumentError::Malformed(what)
}

fn expose_any<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|secret| secret.expose_secret()).serialize(serializer)
}

fn conceal_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
}

fn expose<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

fn conceal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        Document {
            version: Document::VERSION,
            deployment: "d1".into(),
            pool: "linux".into(),
            instance: Some(InstanceId(17)),
            token: Token("t-1".into()),
            template: "0123".into(),
            worker: Some(Worker { name: "linux@17".into(), password: "sekrit".into() }),
            master: Master { address: "127.0.0.1:9989".into() },
            enroll: None,
            settings: Settings::default(),
        }
    }

    #[test]
    fn a_document_is_read_as_it_was_written() {
        let text = document().to_json().unwrap();
        let read = Document::parse(text.expose_secret().as_bytes()).unwrap();
        let worker = read.worker.as_ref().unwrap();
        assert_eq!(worker.name, "linux@17");
        assert_eq!(worker.password.expose_secret(), "sekrit");
        assert_eq!(read.instance, Some(InstanceId(17)));
        assert_eq!(read.settings, Settings { keepalive: 600, silence: 1800, clean: Clean::Never });
        assert!(!format!("{read:?}").contains("sekrit"), "{read:?}");
    }

    #[test]
    fn fields_of_later_programs_are_skipped_and_settings_may_be_left_out() {
        let read = Document::parse(
            br#"{"version":1,"deployment":"d","pool":"p","instance":3,"token":"t","template":"","colour":"red",
                 "worker":{"name":"p@3","password":"x","shell":"sh"},"master":{"address":"[::1]:9989","via":[1]}}"#,
        )
        .unwrap();
        assert_eq!(read.master.host_and_port(), Some(("::1", 9989)));
        assert_eq!(read.settings, Settings::default());
    }

    #[test]
    fn what_is_no_document_is_refused_with_the_reason() {
        let refused = |change: fn(&mut serde_json::Value)| {
            let mut value = serde_json::from_str(document().to_json().unwrap().expose_secret()).unwrap();
            change(&mut value);
            Document::parse(value.to_string().as_bytes()).unwrap_err().to_string()
        };
        assert!(refused(|value| value["version"] = 2.into()).contains("version 2"));
        assert!(refused(|value| value["master"]["address"] = "::1".into()).contains("HOST:PORT"));
        assert!(refused(|value| value["worker"]["name"] = "a\nb".into()).contains("`worker.name`"));
        assert!(refused(|value| value["worker"]["password"] = "".into()).contains("`worker.password`"));
        assert!(
            refused(|value| value["more"] = "x".repeat(Document::LIMIT).into()).contains("at most 16384")
        );
        let lacking = refused(|value| value["worker"] = serde_json::json!({"password": "hunter2"}));
        assert!(lacking.contains("name") && !lacking.contains("hunter2"), "{lacking}");
        let misplaced = refused(|value| value["worker"] = "hunter2".into());
        assert!(misplaced.contains("column") && !misplaced.contains("hunter2"), "{misplaced}");
        assert!(Document::parse(b"\xff").is_err());
    }
}
