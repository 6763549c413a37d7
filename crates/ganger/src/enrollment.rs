//! Where machines of pools ask who their workers are: its certificate, and what it trusts.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use config::{Config, Database, Enroll};
use engine::enroll::aws::Keys;
use perspective_broker::tls;
use rustls::ServerConfig;

/// What TLS shows there.
pub(crate) struct Face {
    /// For the listener.
    pub(crate) tls: Arc<ServerConfig>,
    /// The SHA-256 digest of the certificate, in hexadecimal digits.
    pub(crate) fingerprint: String,
}

/// The certificate as it is configured, or the one that was made once.
pub(crate) fn face(config: &Config, enroll: &Enroll) -> anyhow::Result<Face> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let (certificate, key) = match &enroll.identity {
        Some((certificate, key)) => (read(certificate)?, read(key)?),
        None => {
            let path = beside_the_database(config);
            let both = match fs::read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    make(&path).with_context(|| format!("cannot make {}", path.display()))?
                }
                read => read.with_context(|| format!("cannot read {}", path.display()))?,
            };
            (both.clone(), both)
        }
    };
    let fingerprint = tls::fingerprint(&certificate).context("the certificate for `enroll` is of no use")?;
    let tls = tls::server_config(&certificate, &key).context("the certificate for `enroll` is of no use")?;
    let fingerprint = fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Face { tls, fingerprint })
}

/// What EC2 signs with, as it is configured.
pub(crate) fn keys(enroll: &Enroll) -> anyhow::Result<Keys> {
    let Some(path) = &enroll.aws_certificates else { return Ok(Keys::built_in()?) };
    let mut keys = Keys::default();
    let mut add = |region: Option<&str>, path: &Path| {
        let shown = path.display();
        let pem = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
        keys.add(region, &pem).with_context(|| format!("{shown} cannot be used"))
    };
    if !path.is_dir() {
        add(None, path)?;
        return Ok(keys);
    }
    for entry in fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
        let path = entry?.path();
        let region = path.file_stem().and_then(|name| name.to_str());
        if let Some(region) = region.filter(|_| path.extension().is_some_and(|end| end == "pem")) {
            add(Some(region), &path)?;
        }
    }
    Ok(keys)
}

fn beside_the_database(config: &Config) -> PathBuf {
    match &config.master.database {
        Database::Sqlite(path) => path.with_file_name("enroll.pem"),
        Database::Server(_) => config.base_dir.join("enroll.pem"),
    }
}

/// A key and a certificate that nobody else has signed. It is there whole or not at all.
fn make(path: &Path) -> anyhow::Result<Vec<u8>> {
    let made = rcgen::generate_simple_self_signed(["ganger".to_owned()])?;
    let pem = format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem()).into_bytes();
    let new = path.with_extension("pem.new");
    fs::remove_file(&new).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&pem)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    Ok(pem)
}
