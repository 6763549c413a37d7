//! The machine's document as a file in a container.

use pools::{ProviderError, metadata::Document, provider::ErrorKind};
use secrecy::{ExposeSecret, SecretString};
use tar::{Builder, EntryType, Header};

/// Where it is, without the leading slash.
const PATH: &str = "run/ganger/document.json";

/// The document as text.
pub(crate) fn text(document: &Document) -> Result<SecretString, ProviderError> {
    document.to_json().map_err(|error| ProviderError {
        kind: ErrorKind::Config,
        code: "Document".to_owned(),
        text: error.to_string(),
    })
}

/// An archive with the document, that only its owner can read.
pub(crate) fn archive(text: &SecretString, (uid, gid): (u32, u32)) -> std::io::Result<Vec<u8>> {
    let bytes = text.expose_secret().as_bytes();
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
    let mut file = header(EntryType::Regular, 0o400, bytes.len() as u64);
    file.set_uid(uid.into());
    file.set_gid(gid.into());
    archive.append_data(&mut file, PATH, bytes)?;
    archive.into_inner()
}
