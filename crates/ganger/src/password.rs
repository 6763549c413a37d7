//! Passwords that nobody has to remember.

use std::io;

use secrecy::SecretString;

/// So many random bytes, in hexadecimal.
///
/// # Errors
/// The system has no random numbers.
pub(crate) fn random<const N: usize>() -> io::Result<SecretString> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| io::Error::other(format!("the system has no random numbers: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
}
