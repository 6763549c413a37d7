//! What must be new each time, and what nobody may guess.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};
use model::InstanceId;
use pools::{Mint, Token, Verifier};
use secrecy::{ExposeSecret as _, SecretString};
use storage::Store;

/// Ids from the tables, randomness from the operating system.
#[derive(Clone, Debug)]
pub(super) struct StoreMint {
    store: Store,
}

impl StoreMint {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
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
