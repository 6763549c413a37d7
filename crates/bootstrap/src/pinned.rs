//! TLS to a master whose certificate is known by its digest, and by nothing else.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Takes one certificate, whoever it names and however old it is: its digest came by a way that is trusted.
#[derive(Debug)]
struct Pinned {
    digest: [u8; 32],
    crypto: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if Sha256::digest(certificate)[..] == self.digest {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::General(
            "the certificate is not the master's: somebody is in between, or it was changed".into(),
        ))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.crypto.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.crypto.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.crypto.signature_verification_algorithms.supported_schemes()
    }
}

/// Why there is no connection that can be trusted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PinError {
    #[error("the fingerprint in the machine's document is not 64 hexadecimal digits")]
    Fingerprint,
    #[error("TLS cannot be had")]
    Tls(#[source] Error),
    #[error("{0:?} is no name of a host")]
    Host(String),
    #[error("no TLS with the master")]
    Handshake(#[source] std::io::Error),
}

/// Speaks TLS with whoever shows the certificate of this digest.
pub(crate) async fn wrap(
    stream: TcpStream,
    host: &str,
    fingerprint: &str,
) -> Result<TlsStream<TcpStream>, PinError> {
    let digest = digest(fingerprint).ok_or(PinError::Fingerprint)?;
    let crypto = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&crypto))
        .with_safe_default_protocol_versions()
        .map_err(PinError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { digest, crypto }))
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|_| PinError::Host(host.to_owned()))?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(PinError::Handshake)
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let text = text.as_bytes();
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}
