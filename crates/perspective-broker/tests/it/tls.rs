//! TLS: who is believed, and who is not.

use crate::peers;
use perspective_broker::tls::{self, TlsError, Trust};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::time::Duration;
use tokio::io::{AsyncWriteExt, duplex};

const LIMIT: Duration = Duration::from_secs(60);

/// A certificate authority and a server's certificate that it signed, PEM all of them.
struct Identity {
    authority: String,
    chain: String,
    key: String,
}

impl Identity {
    fn of(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        Self { authority: authority.pem(), chain: certificate.pem(), key: key.serialize_pem() }
    }

    fn roots(&self) -> Trust {
        Trust::Roots(self.authority.clone().into_bytes())
    }

    fn pin(&self) -> Trust {
        Trust::Fingerprint(tls::fingerprint(self.chain.as_bytes()).unwrap())
    }
}

/// A visit to a server with this identity.
async fn visit(server: &Identity, name: &str, trust: &Trust) -> Result<(), TlsError> {
    let config = tls::server_config(server.chain.as_bytes(), server.key.as_bytes()).unwrap();
    let (here, there) = duplex(4096);
    let serving = async {
        match tls::accept(here, config, LIMIT).await {
            Ok(io) => drop(peers::serve(io).await),
            Err(error) => assert!(matches!(error, TlsError::Handshake(_)), "{error:?}"),
        }
    };
    let visiting = async {
        let io = tls::connect(there, name, tls::client_config(trust)?, LIMIT).await?;
        peers::visit(io).await;
        Ok(())
    };
    tokio::join!(serving, visiting).1
}

#[tokio::test]
async fn the_right_server_is_believed() {
    let server = Identity::of("master.example.org");
    visit(&server, "master.example.org", &server.roots()).await.unwrap();
    visit(&server, "master.example.org", &server.pin()).await.unwrap();
    visit(&server, "10.0.0.1", &server.pin()).await.unwrap();
}

#[tokio::test]
async fn any_other_server_is_refused() {
    let (server, other) = (Identity::of("master.example.org"), Identity::of("master.example.org"));
    for (name, trust) in [
        ("master.example.org", other.roots()),
        ("master.example.org", other.pin()),
        ("elsewhere.example.org", server.roots()),
        ("10.0.0.1", server.roots()),
    ] {
        let error = visit(&server, name, &trust).await.unwrap_err();
        let TlsError::Handshake(cause) = &error else { panic!("{error:?}") };
        assert!(cause.to_string().contains("certificate"), "{cause}");
    }
}

#[tokio::test]
async fn a_stolen_certificate_is_of_no_use_without_its_key() {
    let (server, thief) = (Identity::of("master.example.org"), Identity::of("master.example.org"));
    let error = tls::server_config(server.chain.as_bytes(), thief.key.as_bytes()).unwrap_err();
    assert!(matches!(error, TlsError::Configuration(_)), "{error:?}");
}

#[test]
fn what_is_not_pem_is_told_apart() {
    let server = Identity::of("master.example.org");
    let (chain, key) = (server.chain.as_bytes(), server.key.as_bytes());
    assert!(matches!(tls::server_config(b"", key), Err(TlsError::Certificate(_))));
    assert!(matches!(tls::server_config(key, key), Err(TlsError::Certificate(_))));
    assert!(matches!(tls::server_config(chain, chain), Err(TlsError::PrivateKey(_))));
    assert!(matches!(tls::client_config(&Trust::Roots(vec![])), Err(TlsError::Certificate(_))));
    assert!(tls::fingerprint(b"nothing").is_err());
    let damaged = server.chain.replace("MII", "!!!");
    assert!(matches!(tls::fingerprint(damaged.as_bytes()), Err(TlsError::Certificate(_))));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_an_end() {
    let server = Identity::of("master.example.org");
    let config = tls::server_config(server.chain.as_bytes(), server.key.as_bytes()).unwrap();
    let (here, mut there) = duplex(4096);
    there.write_all(b"\x16").await.unwrap();
    let error = tls::accept(here, config, LIMIT).await.unwrap_err();
    assert!(matches!(error, TlsError::Timeout(LIMIT)), "{error:?}");

    let (here, _there) = duplex(4096);
    let config = tls::client_config(&server.pin()).unwrap();
    let error = tls::connect(here, "master.example.org", config.clone(), LIMIT).await.unwrap_err();
    assert!(matches!(error, TlsError::Timeout(LIMIT)), "{error:?}");
    let (here, _there) = duplex(4096);
    let error = tls::connect(here, "not a name", config, LIMIT).await.unwrap_err();
    assert!(matches!(error, TlsError::ServerName(_)), "{error:?}");
}
