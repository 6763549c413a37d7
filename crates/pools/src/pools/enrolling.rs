//! Machines that ask who their worker is: who is told, who has to ask again, and who is turned away for good.
//!
//! What is signed was checked before it comes here; here it is compared with the ledger.

use std::time::Duration;

use model::{InstanceId, Time};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use super::{
    Pools,
    calling::{Call, CallStatus},
};
use crate::{Enrolled, Order, ReasonCode, State, Token, Verifier, provider::Machine};

/// How far the clock of a cloud and ours may differ.
const SKEW: Duration = Duration::from_mins(5);

/// What is kept of what a provider says of a machine.
const KEPT: [&str; 4] = ["account", "region", "image", "type"];

/// A machine that asks who its worker is.
#[derive(Clone, Debug)]
pub struct Applicant {
    /// The pool that it says it belongs to.
    pub pool: String,
    /// The call that it says it came from.
    pub token: Token,
    /// What it has to show for it.
    pub proof: Proof,
    /// Where it comes from, for people.
    pub peer: String,
    /// Whether it is put on record when it is refused.
    pub recorded: bool,
}

/// What a machine proves itself by.
#[derive(Clone, Debug)]
pub enum Proof {
    /// Papers that its cloud has signed, and the ticket of its call.
    Papers {
        /// The papers. Whoever makes this has checked the signature.
        papers: Papers,
        /// The ticket.
        ticket: SecretString,
    },
    /// A secret that was given to it alone.
    Secret {
        /// Which instance it says it is.
        instance: InstanceId,
        /// The secret.
        secret: SecretString,
        /// What the provider calls it, as it says itself.
        machine: String,
    },
}

/// What a cloud says of a machine, signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Papers {
    /// The provider's name of it.
    pub machine: String,
    /// Whose it is.
    pub account: String,
    /// Where it is.
    pub region: String,
    /// What it booted.
    pub image: String,
    /// What type it has.
    pub kind: String,
    /// When it was started (last), by the cloud's clock.
    pub started_at: Time,
}

/// A machine is not told who its worker is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrollError {
    /// Not for now: what must be known for it is on its way.
    #[error("not yet: {0}")]
    NotYet(&'static str),
    /// Not ever.
    #[error(transparent)]
    Refused(#[from] EnrollRefusal),
}

/// A machine is turned away for good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrollRefusal {
    /// No pool of this name takes machines that enroll.
    #[error("no pool {0:?} takes machines that enroll")]
    Pool(String),
    /// The secret is not that of the instance.
    #[error("wrong secret")]
    Secret,
    /// The ticket is not that of the call.
    #[error("the ticket is not of this call and this pool")]
    Ticket,
    /// The ticket is too old.
    #[error("the ticket is no longer good")]
    Expired,
    /// No row has this machine.
    #[error("no instance of the pool has machine {0:?}")]
    Unknown(String),
    /// The row of the machine came from another call.
    #[error("machine {0:?} did not come from this call")]
    OtherCall(String),
    /// It is not what was bought: `account`, `region`, `image` or `type`.
    #[error("its {what} is {said:?}, and should be {known:?}")]
    Unlike {
        /// What is another one.
        what: &'static str,
        /// What the cloud signed.
        said: String,
        /// What the provider says.
        known: String,
    },
    /// Its papers are older than its row, or of the future.
    #[error("it was started at {0}, which is not when the instance was")]
    Stale(Time),
    /// It has enrolled before.
    #[error("instance {0} has enrolled before")]
    Used(InstanceId),
    /// It is not in a state in which it may.
    #[error("instance {instance} is {}, and does not enroll", state.name())]
    State {
        /// The instance.
        instance: InstanceId,
        /// Its state.
        state: State,
    },
}

impl EnrollRefusal {
    /// The code that machines are told.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Pool(_) => "pool",
            Self::Secret => "secret",
            Self::Ticket | Self::Expired => "ticket",
            Self::Unknown(_) | Self::OtherCall(_) => "unknown",
            Self::Unlike { what, .. } => what,
            Self::Stale(_) => "stale",
            Self::Used(_) => "used",
            Self::State { .. } => "state",
        }
    }
}

/// It has shown a ticket of a call that is not settled.
const NOT_ANSWERED: EnrollError =
    EnrollError::NotYet("the provider has not yet said what machines came from the call");

impl Pools {
    /// See [`Pools::enroll`].
    pub(super) fn admit_machine(
        &mut self,
        now: Time,
        applicant: &Applicant,
        verifier: Verifier,
    ) -> Result<InstanceId, EnrollError> {
        let known = self.names.get(&applicant.pool).copied();
        let Some(at) = known.filter(|at| self.pools[*at].spec.enrolls) else {
            let refusal = EnrollRefusal::Pool(applicant.pool.clone());
            if applicant.recorded {
                let text = format!("an enrollment from {} was refused: {refusal}", applicant.peer);
                self.stranger(now, applicant.pool.clone(), text);
            }
            return Err(refusal.into());
        };
        if !self.pools[at].owned() {
            return Err(EnrollError::NotYet("the pool is not this master's for now"));
        }
        let mut about = None;
        let id = self.find(now, at, applicant, &verifier, &mut about).inspect_err(|error| {
            let EnrollError::Refused(refusal) = error else {
                return self.look_for(now, at, &applicant.token, error);
            };
            if applicant.recorded {
                let text = format!("an enrollment from {} was refused: {refusal}", applicant.peer);
                self.turned_away(now, at, about, text);
            }
            if let (EnrollRefusal::Unlike { .. } | EnrollRefusal::Stale(_), Some(id)) = (refusal, about)
                && self.is_awaited(id)
            {
                // It is the machine that it says it is, and that is not what it should be.
                let text = format!("its machine is not what it should be: {refusal}");
                self.let_go(now, id, ReasonCode::WrongIdentity, text);
            }
        })?;
        if self.has_enrolled_by(id, &verifier) {
            // Who knows what is right may ask as often as it likes, not fill the tables with that.
            if self.pools[at].refusals.take(now, 1) {
                let text =
                    format!("its machine asks again who it is, from {}: the answer was lost", applicant.peer);
                self.note(now, id, ReasonCode::Enrolled, text);
            }
            return Ok(id);
        }
        self.change(now, id, |entry| {
            entry.spent = entry.row.verifier.replace(verifier.clone());
            entry.row.enrolled = Enrolled::At(now);
            entry.details.clear();
        });
        let pool = applicant.pool.clone();
        self.order(Order::Credential { instance: id, pool, verifier: Some(verifier) });
        let text = format!("its machine has proved what it is, from {}", applicant.peer);
        self.note(now, id, ReasonCode::Enrolled, text);
        Ok(id)
    }

    /// The instance that a machine is, when all is as it should be. `about` is whom it is about once that is proved.
    fn find(
        &self,
        now: Time,
        at: usize,
        applicant: &Applicant,
        verifier: &Verifier,
        about: &mut Option<InstanceId>,
    ) -> Result<InstanceId, EnrollError> {
        let token = &applicant.token;
        match &applicant.proof {
            Proof::Papers { papers, ticket } => {
                let id = self.by_papers(now, at, token, papers, ticket, about)?;
                self.once(id, verifier)?;
                self.may_enroll(id)
            }
            Proof::Secret { instance, secret, machine } => {
                let id = self.by_secret(at, token, *instance, secret, verifier, about)?;
                self.once(id, verifier)?;
                let known = self.entries.get(&id).and_then(|entry| entry.row.provider_id.as_ref());
                match known {
                    Some(known) if known != machine => Err(EnrollRefusal::Unknown(machine.clone()).into()),
                    Some(_) => self.may_enroll(id),
                    None => Err(EnrollError::NotYet("the provider has not yet said what machine it is")),
                }
            }
        }
    }

    fn by_papers(
        &self,
        now: Time,
        at: usize,
        token: &Token,
        papers: &Papers,
        ticket: &SecretString,
        about: &mut Option<InstanceId>,
    ) -> Result<InstanceId, EnrollError> {
        let pool = &self.pools[at];
        let ticket = ticket.expose_secret();
        let expires = expiry(ticket).ok_or(EnrollRefusal::Ticket)?;
        let right = self.mint.ticket(pool.name(), token, expires);
        if !bool::from(right.expose_secret().as_bytes().ct_eq(ticket.as_bytes())) {
            return Err(EnrollRefusal::Ticket.into());
        }
        let Some(id) = pool.by_provider_id.get(&papers.machine).copied() else {
            // A machine may be faster than the answer to the call that it came from.
            return Err(if !pool.listing.complete {
                EnrollError::NotYet("the ledger was not yet compared with the provider's machines")
            } else if self.calls.get(token).is_some_and(|call| call.pool == at) && expires > now {
                NOT_ANSWERED
            } else {
                EnrollRefusal::Unknown(papers.machine.clone()).into()
            });
        };
        *about = Some(id);
        let entry = self.entries.get(&id).filter(|entry| entry.row.token == *token);
        let entry = entry.ok_or_else(|| EnrollRefusal::OtherCall(papers.machine.clone()))?;
        // A listing may have named it before; what it is made from is said with the answer to the call at the latest.
        let said = [&papers.account, &papers.region, &papers.image, &papers.kind];
        for (what, said) in KEPT.into_iter().zip(said) {
            if let Some(known) = entry.details.get(what).filter(|known| *known != said) {
                return Err(EnrollRefusal::Unlike { what, said: said.clone(), known: known.clone() }.into());
            }
        }
        if expires <= now {
            return Err(EnrollRefusal::Expired.into());
        }
        let from = entry.row.requested_at.unwrap_or(entry.row.planned_at);
        if papers.started_at + SKEW < from || papers.started_at > now + SKEW {
            return Err(EnrollRefusal::Stale(papers.started_at).into());
        }
        Ok(id)
    }

    fn by_secret(
        &self,
        at: usize,
        token: &Token,
        id: InstanceId,
        secret: &SecretString,
        verifier: &Verifier,
        about: &mut Option<InstanceId>,
    ) -> Result<InstanceId, EnrollRefusal> {
        let entry = self.entries.get(&id).filter(|entry| entry.pool == at && entry.row.token == *token);
        let entry = entry.ok_or(EnrollRefusal::Secret)?;
        let known = match entry.row.enrolled {
            Enrolled::Awaited => entry.row.verifier.as_ref(),
            Enrolled::At(_) => entry.spent.as_ref(),
            Enrolled::Never => None,
        };
        let given = self.mint.verifier(secret);
        // The secret is in what whoever asks again proves.
        if !known.is_some_and(|known| is_same(known, &given)) && !self.has_enrolled_by(id, verifier) {
            return Err(EnrollRefusal::Secret);
        }
        *about = Some(id);
        Ok(id)
    }

    /// Whether a machine has enrolled with just this verifier, and its worker was not there yet: only who had the answer, or
    /// should have had it, comes with it.
    fn has_enrolled_by(&self, id: InstanceId, verifier: &Verifier) -> bool {
        let entry = self.entries.get(&id).filter(|entry| {
            matches!(entry.row.enrolled, Enrolled::At(_)) && entry.row.connected_at.is_none()
        });
        entry.and_then(|entry| entry.row.verifier.as_ref()).is_some_and(|known| is_same(known, verifier))
    }

    /// Nobody enrolls twice, unless the answer was lost.
    fn once(&self, id: InstanceId, verifier: &Verifier) -> Result<(), EnrollRefusal> {
        if self.is_awaited(id) || self.has_enrolled_by(id, verifier) {
            Ok(())
        } else {
            Err(EnrollRefusal::Used(id))
        }
    }

    fn is_awaited(&self, id: InstanceId) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.row.enrolled == Enrolled::Awaited)
    }

    /// A machine of a call is there, and the answer to the call was lost: a listing names it.
    fn look_for(&mut self, now: Time, at: usize, token: &Token, error: &EnrollError) {
        let is_lost = |call: &Call| matches!(call.status, CallStatus::Unknown(_));
        if *error == NOT_ANSWERED && self.calls.get(token).is_some_and(is_lost) {
            let going = self.look(at).going;
            self.list_by(at, now + going);
        }
    }

    /// Whether it is the time for it.
    fn may_enroll(&self, id: InstanceId) -> Result<InstanceId, EnrollError> {
        match self.state_of(id) {
            State::Booting | State::Suspect => Ok(id),
            State::Planned | State::Requested => {
                Err(EnrollError::NotYet("the provider has not yet answered the call"))
            }
            state => Err(EnrollRefusal::State { instance: id, state }.into()),
        }
    }

    /// Keeps what a provider says of a machine that has to enroll.
    pub(super) fn remember(&mut self, id: InstanceId, machine: &Machine) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.row.enrolled == Enrolled::Awaited {
            let details = machine.details.iter().filter(|(name, _)| KEPT.contains(&name.as_str()));
            entry.details.extend(details.map(|(name, value)| (name.clone(), value.clone())));
        }
    }
}

fn is_same(known: &Verifier, given: &Verifier) -> bool {
    known.0.as_bytes().ct_eq(given.0.as_bytes()).into()
}

/// When a ticket is no longer good, by its own words.
fn expiry(ticket: &str) -> Option<Time> {
    let (before, _) = ticket.rsplit_once('.')?;
    let (_, seconds) = before.rsplit_once('.')?;
    let seconds: i64 = seconds.parse().ok()?;
    // Later than any that was ever made: and no overflow.
    (0..1 << 40).contains(&seconds).then(|| Time::from_epoch_seconds(seconds))
}
