//! What must be new each time, and what nobody may guess.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};
use model::{InstanceId, Time};
use pools::{Mint, Token, Verifier};
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use storage::Store;

/// Ids from the tables, randomness from the operating system.
#[derive(Clone, Debug)]
pub(super) struct StoreMint {
    store: Store,
    /// What tickets are made with.
    key: hmac::Key,
}

impl StoreMint {
    pub(super) fn new(store: Store) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, store.ticket_key());
        Self { store, key }
    }
}

impl Mint for StoreMint {
    fn next_instance(&mut self) -> InstanceId {
        self.store.ids().next_instance()
    }

    fn token(&mut self) -> Token {
        Token(hexadecimal(&random::<16>()))
    }

    fn secret(&mut self) -> SecretString {
        hexadecimal(&random::<32>()).into()
    }

    fn verifier(&self, secret: &SecretString) -> Verifier {
        Verifier(hexadecimal(&Md5::digest(secret.expose_secret().as_bytes())))
    }

    fn ticket(&self, pool: &str, token: &Token, expires: Time) -> SecretString {
        let expires = expires.epoch_seconds().to_string();
        let mut mac = hmac::Context::with_key(&self.key);
        for part in [self.store.deployment(), pool, &token.0, &expires] {
            // No two different tuples are the same text.
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part.as_bytes());
        }
        format!("1.{expires}.{}", hexadecimal(mac.sign().as_ref())).into()
    }
}

/// # Panics
/// When the operating system has no randomness: then nothing here is safe.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has randomness");
    bytes
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}
