//! TLS for [`Transport`](crate::Transport): rustls with *ring*, TLS 1.2 and 1.3.
//!
//! Certificates and keys are PEM. A client either trusts certificate authorities and checks the server's name, or
//! trusts exactly one certificate by its fingerprint.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
};
use sha2::{Digest, Sha256};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// TLS could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A certificate is not readable PEM, or there is none.
    #[error("certificate is not readable")]
    Certificate(#[source] PemError),
    /// A private key is not readable PEM, or there is none.
    #[error("private key is not readable")]
    PrivateKey(#[source] PemError),
    /// Certificate and key do not belong together, or cannot be used.
    #[error("certificate or key cannot be used")]
    Configuration(#[source] rustls::Error),
    /// A server's name that is neither a DNS name nor an IP address.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    ServerName(String),
    /// The peers did not come to terms. The cause says whose fault it is.
    #[error("TLS handshake failed")]
    Handshake(#[source] io::Error),
    /// The peer took too long.
    #[error("TLS handshake took longer than {0:?}")]
    Timeout(Duration),
}

/// What was wrong with a PEM text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// It has no section of the kind that was looked for.
    #[error("no such section")]
    Missing,
    /// It is damaged.
    #[error("damaged: {0}")]
    Damaged(String),
}

/// Whom a client believes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Trust {
    /// Servers whose certificate was signed by one of these authorities (PEM) and bears the right name.
    Roots(Vec<u8>),
    /// The server whose certificate has this SHA-256, whatever its name and age.
    Fingerprint([u8; 32]),
}

/// The configuration of a server: its certificate, followed by those that signed it, and its key.
///
/// # Errors
///
/// When one of them is not readable, or they do not belong together.
pub fn server_config(chain_pem: &[u8], key_pem: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(chain_pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| TlsError::PrivateKey(error.into()))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(TlsError::Configuration)?;
    Ok(Arc::new(config))
}

/// The configuration of a client. It always verifies its server.
///
/// # Errors
///
/// When an authority's certificate cannot be used.
pub fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider();
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Roots(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(pem)? {
                roots.add(certificate).map_err(TlsError::Configuration)?;
            }
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(|error| TlsError::Configuration(rustls::Error::General(error.to_string())))?
        }
        Trust::Fingerprint(sha256) => Arc::new(Pinned { sha256: *sha256, provider: provider.clone() }),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Configuration)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The SHA-256 of the first certificate in a PEM text, for [`Trust::Fingerprint`].
///
/// # Errors
///
/// When there is none.
pub fn fingerprint(pem: &[u8]) -> Result<[u8; 32], TlsError> {
    let first = certificates(pem)?.into_iter().next();
    first.map(|certificate| sha256(&certificate)).ok_or(TlsError::Certificate(PemError::Missing))
}

/// The server's part of a TLS handshake; the peer has `limit` for it.
///
/// # Errors
///
/// When the handshake fails or takes too long.
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    io: S,
    config: Arc<ServerConfig>,
    limit: Duration,
) -> Result<server::TlsStream<S>, TlsError> {
    match timeout(limit, TlsAcceptor::from(config).accept(io)).await {
        Ok(accepted) => accepted.map_err(TlsError::Handshake),
        Err(_) => Err(TlsError::Timeout(limit)),
    }
}

/// The client's part of a TLS handshake with the server called `name`; the peer has `limit` for it.
///
/// # Errors
///
/// When the server is not the one that is trusted, or the handshake fails or takes too long.
pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    io: S,
    name: &str,
    config: Arc<ClientConfig>,
    limit: Duration,
) -> Result<client::TlsStream<S>, TlsError> {
    let name = ServerName::try_from(name.to_owned()).map_err(|_| TlsError::ServerName(name.to_owned()))?;
    match timeout(limit, TlsConnector::from(config).connect(name, io)).await {
        Ok(connected) => connected.map_err(TlsError::Handshake),
        Err(_) => Err(TlsError::Timeout(limit)),
    }
}

/// Believes one certificate. The handshake's signature shows that the server has its key.
#[derive(Debug)]
struct Pinned {
    sha256: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if sha256(end_entity).ct_eq(&self.sha256).into() {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl From<rustls::pki_types::pem::Error> for PemError {
    fn from(error: rustls::pki_types::pem::Error) -> Self {
        match error {
            rustls::pki_types::pem::Error::NoItemsFound => Self::Missing,
            other => Self::Damaged(other.to_string()),
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| TlsError::Certificate(error.into()))?;
    if certificates.is_empty() {
        return Err(TlsError::Certificate(PemError::Missing));
    }
    Ok(certificates)
}

fn sha256(certificate: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(certificate).into()
}
