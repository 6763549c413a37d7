//! Machines that ask who their worker is.
//!
//! What they show is checked here; whether the ledger has such a machine is for the pools to say. `docs/enrollment.md` has
//! the contract.

pub mod aws;
mod ber;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use md5::{Digest as _, Md5};
use model::{InstanceId, Time};
use pools::{Applicant, EnrollError, Proof, Token, Verifier, Warning};
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};

use crate::{
    Refusal,
    master::{Master, MasterError},
    worker::Sessions,
};

/// The longest name or token of a machine.
const TEXT: usize = 256;

/// The shortest nonce: 128 bits in hexadecimal digits.
const NONCE: usize = 32;

/// What a machine asks with: the body of `POST /enroll`.
#[derive(Clone, Debug, Deserialize)]
pub struct Application {
    version: u32,
    pool: String,
    token: String,
    identity: Option<Identity>,
    #[serde(default, deserialize_with = "conceal")]
    ticket: Option<SecretString>,
    instance: Option<i64>,
    #[serde(default, deserialize_with = "conceal")]
    secret: Option<SecretString>,
    machine: Option<String>,
    #[serde(default, deserialize_with = "conceal")]
    nonce: Option<SecretString>,
}

/// What its cloud has signed.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Identity {
    Aws(aws::Shown),
}

/// Who a machine's worker is.
#[derive(Debug)]
pub struct Welcome {
    /// The instance.
    pub instance: InstanceId,
    /// What the worker logs in as.
    pub name: String,
    /// What it proves to know. Nobody else has it.
    pub password: SecretString,
}

/// Why a machine does not get what it asks for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Denial {
    /// What it says is malformed.
    #[error("{0}")]
    Malformed(&'static str),
    /// It is turned away for good.
    #[error("{message}")]
    Refused {
        /// The reason as a word.
        code: &'static str,
        /// In a sentence.
        message: String,
    },
    /// It is to ask again.
    #[error("{0}")]
    NotYet(String),
}

/// Checks machines, and does what they ask for.
#[derive(Clone, Debug)]
pub struct Registrar {
    /// The engine.
    pub master: Master,
    /// Knows what workers prove.
    pub sessions: Sessions,
    /// What EC2 signs with.
    pub keys: aws::Keys,
    /// The accounts on AWS that machines may be of; none is any.
    pub accounts: Vec<String>,
}

impl Registrar {
    /// A machine asks who its worker is. What is answered is durable. A refusal is put on record where that is wanted.
    ///
    /// # Errors
    /// See [`Denial`].
    pub async fn enroll(&self, peer: &str, body: &[u8], recorded: bool) -> Result<Welcome, Denial> {
        let application = Application::parse(body)?;
        let pool = application.pool.clone();
        let password = application.password()?;
        let applicant = match application.check(peer, &self.keys, &self.accounts) {
            Ok(applicant) => Applicant { recorded, ..applicant },
            Err(denial) => {
                if let Denial::Refused { message, .. } = &denial
                    && recorded
                {
                    let why = format!("an enrollment from {peer}: {message}");
                    self.sessions.turned_away(pool, why).await;
                }
                return Err(denial);
            }
        };
        let verifier = Verifier(hexadecimal(&Md5::digest(password.as_bytes())));
        let instance = match self.master.enroll(applicant, verifier).await {
            Ok(Ok(instance)) => instance,
            Ok(Err(EnrollError::Refused(refusal))) => {
                return Err(Denial::Refused { code: refusal.code(), message: refusal.to_string() });
            }
            Ok(Err(error @ EnrollError::NotYet(_))) => return Err(Denial::NotYet(error.to_string())),
            Err(error) => return Err(Denial::NotYet(error.to_string())),
        };
        Ok(Welcome { instance, name: format!("{pool}@{instance}"), password: password.into() })
    }

    /// The instance whose worker has this name and password. Takes as long for one that does not exist.
    pub fn machine(&self, name: &str, password: &SecretString) -> Option<InstanceId> {
        let (pool, id) = name.split_once('@')?;
        let instance = id.parse().ok().map(InstanceId).filter(|instance| instance.to_string() == id)?;
        self.sessions.knows(pool, instance, password.expose_secret()).then_some(instance)
    }

    /// Its state, and how many builds it has finished. `None` when it is gone.
    ///
    /// # Errors
    /// The master does not answer now.
    pub async fn look(&self, instance: InstanceId) -> Result<Option<(&'static str, u32)>, Denial> {
        let row = self.master.instance(instance).await.map_err(|error| Denial::NotYet(error.to_string()))?;
        Ok(row.map(|row| (row.state.name(), row.builds)))
    }

    /// A machine was warned. Done when it is durable.
    ///
    /// # Errors
    /// It is malformed, or the master does not answer now.
    pub async fn warn(&self, instance: InstanceId, body: &[u8]) -> Result<(), Denial> {
        /// The body of `POST /machine/warning`.
        #[derive(Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        enum Warned {
            Interruption { at: String },
            Rebalance,
        }
        let warned = serde_json::from_slice(body).map_err(|_| Denial::Malformed("this is no warning"))?;
        let warning = match warned {
            Warned::Interruption { at } => {
                let at: jiff::Timestamp = at
                    .parse()
                    .map_err(|_| Denial::Malformed("`at` is no time such as 2026-11-30T12:00:00Z"))?;
                Warning::Interruption(Time::from_epoch_seconds(at.as_second()))
            }
            Warned::Rebalance => Warning::Rebalance,
        };
        self.master.warn(instance, warning).await.map_err(|error| Denial::NotYet(error.to_string()))
    }

    /// A machine wants no builds for a while. Done when it has none.
    ///
    /// # Errors
    /// `Refused` when it has some, or has no worker; it is malformed, or the master does not answer now.
    pub async fn pause(&self, instance: InstanceId, body: &[u8]) -> Result<(), Denial> {
        /// The body of `POST /machine/pause`.
        #[derive(Deserialize)]
        struct Pause {
            seconds: u32,
            why: String,
        }
        let malformed = |_| Denial::Malformed("this is no pause");
        let Pause { seconds, why } = serde_json::from_slice(body).map_err(malformed)?;
        let why: String = why.chars().filter(|c| !c.is_control()).take(200).collect();
        self.rest(instance, Some((seconds, why))).await
    }

    /// A machine takes builds again.
    ///
    /// # Errors
    /// It has no worker, or the master does not answer now.
    pub async fn resume(&self, instance: InstanceId) -> Result<(), Denial> {
        self.rest(instance, None).await
    }

    async fn rest(&self, instance: InstanceId, rest: Option<(u32, String)>) -> Result<(), Denial> {
        self.master.rest(instance, rest).await.map_err(|error| match error {
            MasterError::Refused(refusal @ (Refusal::Builds(_) | Refusal::NoSuchInstance(_))) => {
                Denial::Refused { code: "busy", message: refusal.to_string() }
            }
            error => Denial::NotYet(error.to_string()),
        })
    }
}

impl Application {
    /// What a machine sent.
    ///
    /// # Errors
    /// It is none. Never repeats what was sent: there is a secret in it.
    pub fn parse(body: &[u8]) -> Result<Self, Denial> {
        let application: Self =
            serde_json::from_slice(body).map_err(|_| Denial::Malformed("this is no application"))?;
        if application.version != 1 {
            return Err(Denial::Malformed("this master knows only version 1"));
        }
        let texts = [Some(&application.pool), Some(&application.token), application.machine.as_ref()];
        let is_fine = |text: &String| (1..=TEXT).contains(&text.len()) && !text.chars().any(char::is_control);
        if texts.into_iter().flatten().all(is_fine) {
            Ok(application)
        } else {
            Err(Denial::Malformed("`pool`, `token` or `machine` is empty, too long, or not one line"))
        }
    }

    /// What the worker will prove to know. The same for who asks the same again: should the answer be lost, he is given it
    /// once more. Nobody else has the nonce, so for nobody else it is the same.
    fn password(&self) -> Result<String, Denial> {
        let Some(nonce) = &self.nonce else {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes).map_err(|_| Denial::NotYet("there is no randomness".to_owned()))?;
            return Ok(hexadecimal(&bytes));
        };
        let nonce = nonce.expose_secret();
        if !(NONCE..=TEXT).contains(&nonce.len()) {
            return Err(Denial::Malformed("`nonce` has not 32 to 256 characters"));
        }
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, nonce.as_bytes()));
        let shown = match &self.identity {
            Some(Identity::Aws(shown)) => &*shown.document,
            None => "",
        };
        let secret = self.secret.as_ref().map_or("", |secret| secret.expose_secret());
        let machine = self.machine.as_deref().unwrap_or_default();
        for text in [&*self.pool, &self.token, machine, shown, secret] {
            context.update(&text.len().to_be_bytes());
            context.update(text.as_bytes());
        }
        Ok(hexadecimal(context.sign().as_ref()))
    }

    /// Looks at what was signed.
    ///
    /// # Errors
    /// Something is missing, or was not signed by whom it should.
    pub fn check(self, peer: &str, keys: &aws::Keys, accounts: &[String]) -> Result<Applicant, Denial> {
        let proof = match (self.identity, self.ticket, self.instance, self.secret, self.machine) {
            (Some(Identity::Aws(shown)), Some(ticket), ..) => {
                let papers = shown.verify(keys).map_err(|error| match error {
                    aws::PapersError::Malformed => Denial::Malformed("the identity document is none"),
                    error => Denial::Refused { code: "signature", message: error.to_string() },
                })?;
                if !accounts.is_empty() && !accounts.contains(&papers.account) {
                    let message = format!("machines of account {} are not taken", papers.account);
                    return Err(Denial::Refused { code: "account", message });
                }
                Proof::Papers { papers, ticket }
            }
            (None, None, Some(instance), Some(secret), Some(machine)) => {
                Proof::Secret { instance: InstanceId(instance), secret, machine }
            }
            _ => {
                return Err(Denial::Malformed(
                    "there must be `identity` and `ticket`, or `instance`, `secret` and `machine`",
                ));
            }
        };
        Ok(Applicant {
            pool: self.pool,
            token: Token(self.token),
            proof,
            peer: peer.to_owned(),
            recorded: true,
        })
    }
}

fn conceal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}
