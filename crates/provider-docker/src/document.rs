//! What a container finds in `/run/ganger`: the machine's document, and a `buildbot.tac` that starts a worker by it.

use pools::{ProviderError, metadata::Document};
use secrecy::{ExposeSecret, SecretString};
use tar::{Builder, EntryType, Header};

/// Where the document is, without the leading slash.
const DOCUMENT: &str = "run/ganger/document.json";

/// Where the worker's start is. It holds no secret.
const TAC: &str = "run/ganger/buildbot.tac";

/// The document as text.
pub(crate) fn text(document: &Document) -> Result<SecretString, ProviderError> {
    document.to_json().map_err(|error| ProviderError::config("Document", error.to_string()))
}

/// An archive with both, of which only its owner can read the document.
pub(crate) fn archive(text: &SecretString, owner: u32) -> std::io::Result<Vec<u8>> {
    let document = text.expose_secret().as_bytes();
    let tac = include_bytes!("buildbot.tac");
    let header = |kind, mode, size| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header
    };
    let mut archive = Builder::new(Vec::new());
    for directory in ["run/", "run/ganger/"] {
        archive.append_data(&mut header(EntryType::Directory, 0o755, 0), directory, std::io::empty())?;
    }
    archive.append_data(&mut header(EntryType::Regular, 0o444, tac.len() as u64), TAC, &tac[..])?;
    let mut file = header(EntryType::Regular, 0o400, document.len() as u64);
    file.set_uid(owner.into());
    archive.append_data(&mut file, DOCUMENT, document)?;
    archive.into_inner()
}
