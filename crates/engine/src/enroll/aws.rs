//! EC2's instance identity documents: JSON that says what an instance is, and EC2's signature of it
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html>).
//!
//! A signature is taken only by a key of 2048 bits or more that is pinned to the region that the document names. EC2's
//! `signature` is made with 1024 bits in most regions, which is too few; it counts where the pinned key is longer. A
//! `rsa2048` that is there must be right, whatever else is.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cms::{
    content_info::ContentInfo,
    signed_data::{SignedData, SignerInfo},
};
use der::{
    Decode as _, Encode as _,
    asn1::{ObjectIdentifier, OctetStringRef},
};
use model::Time;
use pools::Papers;
use ring::{
    digest,
    signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
};
use serde::Deserialize;
use x509_cert::Certificate;

use super::ber;

/// The longest document, and the longest signature of either kind: several times EC2's.
const DOCUMENT: usize = 16 << 10;
const SIGNATURE: usize = 32 << 10;
/// The longest value in a document.
const TEXT: usize = 256;
/// Signatures in one `rsa2048`. EC2 makes one.
const SIGNERS: usize = 4;

// RFC 5652 and RFC 8017.
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");

/// Why a file of certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// There is none in it.
    #[error("there is no certificate in it")]
    None,
    /// One of them is damaged.
    #[error("its certificate {0} cannot be read")]
    Damaged(usize),
    /// One of them has another kind of key, or one that is too short.
    #[error("its certificate {0} has no RSA key of 2048 bits or more")]
    Key(usize),
}

/// Public keys (PKCS #1) that documents are signed with.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    regions: BTreeMap<String, Vec<Vec<u8>>>,
    /// For all regions.
    any: Vec<Vec<u8>>,
}

impl Keys {
    /// Those that AWS has published, by region.
    ///
    /// # Errors
    /// Never: tests see to that.
    pub fn built_in() -> Result<Self, CertificateError> {
        let mut keys = Self::default();
        for part in include_str!("aws.pem").split("\n# ").skip(1) {
            if let Some((region, pem)) = part.split_once('\n').filter(|(_, pem)| pem.starts_with("-----")) {
                keys.add(Some(region), pem)?;
            }
        }
        Ok(keys)
    }

    /// Adds the certificates of a PEM text for a region, or for all.
    ///
    /// # Errors
    /// One of them cannot be used, or there is none.
    pub fn add(&mut self, region: Option<&str>, pem: &str) -> Result<(), CertificateError> {
        let keys = match region {
            Some(region) => self.regions.entry(region.to_owned()).or_default(),
            None => &mut self.any,
        };
        let blocks = pem.split("-----BEGIN CERTIFICATE-----").skip(1);
        let mut count = 0;
        for block in blocks {
            count += 1;
            let text = block.split_once("-----END CERTIFICATE-----").map(|(text, _)| text);
            let der = text.and_then(decoded).ok_or(CertificateError::Damaged(count))?;
            let certificate = Certificate::from_der(&der).map_err(|_| CertificateError::Damaged(count))?;
            let info = &certificate.tbs_certificate.subject_public_key_info;
            let key = info.subject_public_key.as_bytes().filter(|_| info.algorithm.oid == RSA);
            // A modulus of 2048 bits has 256 bytes, and there is an exponent beside it.
            let key = key.filter(|key| key.len() > 256).ok_or(CertificateError::Key(count))?;
            keys.push(key.to_vec());
        }
        if count == 0 { Err(CertificateError::None) } else { Ok(()) }
    }

    fn of<'a>(&'a self, region: &str) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        self.regions.get(region).into_iter().flatten().chain(&self.any).map(Vec::as_slice)
    }
}

/// What a machine shows, as its metadata service gave it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Shown {
    /// `dynamic/instance-identity/document`.
    pub document: String,
    /// `dynamic/instance-identity/signature`.
    #[serde(default)]
    pub signature: String,
    /// `dynamic/instance-identity/rsa2048`.
    #[serde(default)]
    pub rsa2048: String,
}

/// Why papers are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PapersError {
    /// The document is too long, no JSON, or lacks something.
    #[error("the identity document is none")]
    Malformed,
    /// No certificate of its region is known.
    #[error("no certificate is known of the region that the identity document names")]
    Region,
    /// Nothing was signed by a key that is trusted.
    #[error("the identity document was not signed by EC2 in its region")]
    Signature,
}

/// What counts of a document. Others are skipped.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    instance_id: String,
    account_id: String,
    region: String,
    image_id: String,
    instance_type: String,
    pending_time: String,
}

impl Shown {
    /// What EC2 has signed of it.
    ///
    /// # Errors
    /// It is malformed, or was not signed by one of these keys.
    pub fn verify(&self, keys: &Keys) -> Result<Papers, PapersError> {
        if self.document.len() > DOCUMENT || self.signature.len().max(self.rsa2048.len()) > SIGNATURE {
            return Err(PapersError::Malformed);
        }
        let claimed = papers(self.document.as_bytes())?;
        let keys = keys.of(&claimed.region);
        if keys.clone().next().is_none() {
            return Err(PapersError::Region);
        }
        if !self.rsa2048.trim().is_empty() {
            let content = signed_content(&self.rsa2048, self.document.as_bytes(), keys);
            // What counts is what was signed. It may be beside the document, not the same.
            let signed = papers(&content.ok_or(PapersError::Signature)?)?;
            return if signed == claimed { Ok(signed) } else { Err(PapersError::Signature) };
        }
        let signature = decoded(&self.signature).ok_or(PapersError::Signature)?;
        let right = keys.clone().any(|key| is_signed(key, self.document.as_bytes(), &signature));
        if right { Ok(claimed) } else { Err(PapersError::Signature) }
    }
}

fn papers(document: &[u8]) -> Result<Papers, PapersError> {
    let said: Document = serde_json::from_slice(document).map_err(|_| PapersError::Malformed)?;
    let started: jiff::Timestamp = said.pending_time.parse().map_err(|_| PapersError::Malformed)?;
    let papers = Papers {
        machine: said.instance_id,
        account: said.account_id,
        region: said.region,
        image: said.image_id,
        kind: said.instance_type,
        started_at: Time::from_epoch_seconds(started.as_second()),
    };
    let texts = [&papers.machine, &papers.account, &papers.region, &papers.image, &papers.kind];
    let is_fine =
        |text: &&String| (1..=TEXT).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
    if texts.iter().all(is_fine) { Ok(papers) } else { Err(PapersError::Malformed) }
}

/// What a PKCS #7 text has signed: its own content, or the document that it goes with.
fn signed_content<'a>(
    text: &str,
    document: &[u8],
    keys: impl Iterator<Item = &'a [u8]> + Clone,
) -> Option<Vec<u8>> {
    let lines = text.lines().filter(|line| !line.starts_with("-----")).collect::<String>();
    let info = ContentInfo::from_der(&ber::to_der(&decoded(&lines)?)?).ok()?;
    if info.content_type != SIGNED_DATA {
        return None;
    }
    let data = info.content.decode_as::<SignedData>().ok()?;
    let own = data.encap_content_info.econtent;
    let content = match &own {
        Some(content) => content.decode_as::<OctetStringRef<'_>>().ok()?.as_bytes(),
        None => document,
    };
    let kind = data.encap_content_info.econtent_type;
    let mut signers = data.signer_infos.0.iter().take(SIGNERS);
    let right = signers.any(|signer| {
        signed_bytes(signer, kind, content)
            .is_some_and(|bytes| keys.clone().any(|key| is_signed(key, &bytes, signer.signature.as_bytes())))
    });
    right.then(|| content.to_vec())
}

/// What a signer has put his name to (RFC 5652, 5.4): the content, or attributes that have its digest.
fn signed_bytes(signer: &SignerInfo, kind: ObjectIdentifier, content: &[u8]) -> Option<Vec<u8>> {
    if signer.digest_alg.oid != SHA_256 || ![RSA, RSA_SHA_256].contains(&signer.signature_algorithm.oid) {
        return None;
    }
    let Some(attributes) = &signer.signed_attrs else { return Some(content.to_vec()) };
    let only = |wanted| {
        let mut found = attributes.iter().filter(|attribute| attribute.oid == wanted);
        let attribute = found.next().filter(|_| found.next().is_none())?;
        attribute.values.get(0).filter(|_| attribute.values.len() == 1)
    };
    let said = only(MESSAGE_DIGEST)?.decode_as::<OctetStringRef<'_>>().ok()?;
    let is_of_kind = only(CONTENT_TYPE)?.decode_as::<ObjectIdentifier>().ok()? == kind;
    let digest = digest::digest(&digest::SHA256, content);
    (is_of_kind && said.as_bytes() == digest.as_ref()).then(|| attributes.to_der().ok())?
}

fn is_signed(key: &[u8], bytes: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(bytes, signature).is_ok()
}

/// Base64, broken into lines or not.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(text).ok()
}
