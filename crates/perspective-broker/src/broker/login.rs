//! Name and password, by challenge and response (`twisted.spread.pb`: `_PortalWrapper`, `_PortalAuthChallenger`,
//! `respond`).
//!
//! The response is `MD5(MD5(password) + challenge)`: the side that checks needs the password or its MD5. This is what
//! the protocol prescribes; it protects the password from nobody who can also guess. Use TLS.

use bytes::Bytes;
use bytestring::ByteString;
use md5::{Digest, Md5};
use std::fmt;
use subtle::ConstantTimeEq;

/// A challenge that was given to the peer.
#[derive(Debug)]
pub(super) struct Challenge {
    pub(super) user: ByteString,
    pub(super) bytes: [u8; 16],
}

/// What a peer answered to a challenge: it shows knowledge of a password without telling it.
#[derive(Clone)]
pub struct Proof {
    pub(super) challenge: Bytes,
    pub(super) response: Bytes,
}

/// The MD5 of a password, which is as good as the password.
#[derive(Clone, Copy)]
pub(super) struct PasswordDigest([u8; 16]);

impl Proof {
    /// Whether the peer knows this password. Takes the same time whatever the answer.
    pub fn verify(&self, password: &[u8]) -> bool {
        self.matches(PasswordDigest::of(password))
    }

    /// Whether the peer knows the password with this MD5. Takes the same time whatever the answer.
    pub fn verify_digest(&self, md5: &[u8; 16]) -> bool {
        self.matches(PasswordDigest(*md5))
    }

    fn matches(&self, digest: PasswordDigest) -> bool {
        digest.respond(&self.challenge).ct_eq(&self.response).into()
    }
}

impl PasswordDigest {
    pub(super) fn of(password: &[u8]) -> Self {
        Self(Md5::digest(password).into())
    }

    pub(super) fn respond(self, challenge: &[u8]) -> [u8; 16] {
        Md5::new().chain_update(self.0).chain_update(challenge).finalize().into()
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(..)")
    }
}

impl fmt::Debug for PasswordDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordDigest(..)")
    }
}
