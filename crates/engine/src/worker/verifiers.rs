//! What the workers of pools must prove.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use md5::{Digest as _, Md5};
use model::InstanceId;
use perspective_broker::Proof;
use pools::Verifier;
use subtle::ConstantTimeEq as _;

/// The digests of the secrets of all instances that may log in. The secrets themselves are nowhere.
#[derive(Default)]
pub(super) struct Verifiers(Mutex<HashMap<InstanceId, (String, [u8; 16])>>);

impl Verifiers {
    /// From now on this is what an instance must prove; nothing lets nobody in.
    pub(super) fn set(&self, instance: InstanceId, pool: String, verifier: Option<&Verifier>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match verifier.and_then(digest) {
            Some(digest) => known.insert(instance, (pool, digest)),
            None => known.remove(&instance),
        };
    }

    /// Whether somebody knows the secret of this instance of this pool. Takes as long for one that does not exist.
    pub(super) fn verify(&self, pool: &str, instance: InstanceId, proof: &Proof) -> Result<(), &'static str> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&instance).cloned();
        let digest = known.as_ref().map_or([0; 16], |(_, digest)| *digest);
        let right = proof.verify_digest(&digest);
        match known {
            None => Err("no worker of this instance is expected"),
            Some(_) if !right => Err("wrong secret"),
            Some((owner, _)) if owner != pool => Err("the instance is of another pool"),
            Some(_) => Ok(()),
        }
    }
}

impl Verifiers {
    /// Whether this is the secret of this instance of this pool. Takes as long for one that does not exist.
    pub(super) fn knows(&self, pool: &str, instance: InstanceId, secret: &str) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&instance).cloned();
        let digest = known.as_ref().map_or([0; 16], |(_, digest)| *digest);
        let given: [u8; 16] = Md5::digest(secret.as_bytes()).into();
        let right = bool::from(digest.ct_eq(&given));
        right && known.is_some_and(|(owner, _)| owner == pool)
    }
}

impl std::fmt::Debug for Verifiers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifiers")
    }
}

/// 32 hexadecimal digits.
fn digest(verifier: &Verifier) -> Option<[u8; 16]> {
    let text = verifier.0.as_bytes();
    let mut digest = [0; 16];
    if text.len() != 32 {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_32_hexadecimal_digits() {
        let digest = |text: &str| digest(&Verifier(text.to_owned()));
        assert_eq!(digest("000102030405060708090a0b0c0d0eFF").unwrap()[15], 255);
        assert_eq!(digest("000102030405060708090a0b0c0d0e"), None);
        assert_eq!(digest("000102030405060708090a0b0c0d0eäf"), None);
        assert_eq!(digest("000102030405060708090a0b0c0d0egg"), None);
    }
}
