//! Documents signed by openssl, as EC2 signs them and otherwise.

use std::{path::Path, process::Command};

use super::{
    Application, Denial,
    aws::{Keys, PapersError, Shown},
};

const DOCUMENT: &str = r#"{"accountId":"123456789012","imageId":"ami-1","instanceId":"i-0abc",
 "instanceType":"m7i.large","pendingTime":"2026-11-30T12:00:00Z","region":"eu-central-1","kernelId":null}"#;

struct Signer {
    home: tempfile::TempDir,
    certificate: String,
}

impl Signer {
    fn new(bits: u32) -> Self {
        let home = tempfile::tempdir().unwrap();
        let new = format!("req -x509 -newkey rsa:{bits} -nodes -keyout k -out c -subj /CN=x -days 9");
        openssl(home.path(), &new);
        let certificate = std::fs::read_to_string(home.path().join("c")).unwrap();
        Self { home, certificate }
    }

    fn rsa2048(&self, document: &str, options: &str) -> String {
        std::fs::write(self.home.path().join("d"), document).unwrap();
        openssl(
            self.home.path(),
            &format!("cms -sign -binary -in d -signer c -inkey k -md sha256 -outform PEM -out p {options}"),
        );
        std::fs::read_to_string(self.home.path().join("p")).unwrap()
    }

    fn signature(&self, document: &str) -> String {
        std::fs::write(self.home.path().join("d"), document).unwrap();
        openssl(self.home.path(), "dgst -sha256 -sign k -out s d");
        openssl(self.home.path(), "base64 -in s -out b");
        std::fs::read_to_string(self.home.path().join("b")).unwrap()
    }

    fn keys(&self, region: Option<&str>) -> Keys {
        let mut keys = Keys::default();
        keys.add(region, &self.certificate).unwrap();
        keys
    }
}

fn openssl(directory: &Path, arguments: &str) {
    let done = Command::new("openssl").args(arguments.split_whitespace()).current_dir(directory).output();
    let done = done.expect("openssl is needed");
    assert!(done.status.success(), "{arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

fn shown(document: &str, rsa2048: &str, signature: &str) -> Shown {
    Shown { document: document.into(), rsa2048: rsa2048.into(), signature: signature.into() }
}

#[test]
fn every_form_of_signature_is_taken() {
    let signer = Signer::new(2048);
    let keys = signer.keys(Some("eu-central-1"));
    for options in
        ["-nodetach", "-nodetach -noattr", "-nodetach -stream", "", "-noattr", "-nodetach -nocerts"]
    {
        let papers = shown(DOCUMENT, &signer.rsa2048(DOCUMENT, options), "").verify(&keys).expect(options);
        assert_eq!(
            (&*papers.machine, &*papers.kind, papers.started_at.epoch_seconds()),
            ("i-0abc", "m7i.large", 1_796_040_000)
        );
    }
    assert!(shown(DOCUMENT, "", &signer.signature(DOCUMENT)).verify(&keys).is_ok());
}

#[test]
fn what_was_not_signed_for_the_region_is_refused() {
    let (signer, stranger) = (Signer::new(2048), Signer::new(2048));
    let keys = signer.keys(Some("eu-central-1"));
    let forged = DOCUMENT.replace("i-0abc", "i-0abd");
    let good = signer.signature(DOCUMENT);
    let refused = |document: &str, rsa2048: &str, signature: &str, error: PapersError| {
        assert_eq!(shown(document, rsa2048, signature).verify(&keys), Err(error));
    };
    for options in ["-nodetach", "-noattr", "-nodetach -noattr"] {
        refused(&forged, &signer.rsa2048(DOCUMENT, options), "", PapersError::Signature);
        // What is there must be right, whatever else is.
        refused(DOCUMENT, &stranger.rsa2048(DOCUMENT, options), &good, PapersError::Signature);
    }
    refused(&forged, "", &good, PapersError::Signature);
    refused(DOCUMENT, "", "", PapersError::Signature);
    refused(DOCUMENT, "AAAA", &good, PapersError::Signature);
    refused(&DOCUMENT.replace("eu-central-1", "us-east-1"), "", &good, PapersError::Region);
    refused(&DOCUMENT.replace("imageId", "image"), "", &good, PapersError::Malformed);
    refused(&DOCUMENT.replace("i-0abc", "i 0"), "", &good, PapersError::Malformed);
    refused(&" ".repeat(20_000), "", &good, PapersError::Malformed);
    let weak = Keys::default().add(None, &Signer::new(1024).certificate);
    assert!(weak.is_err());
}

#[test]
fn what_aws_has_published_is_there() {
    let keys = Keys::built_in().unwrap();
    let known = shown(DOCUMENT, "AAAA", "").verify(&keys);
    assert_eq!(known, Err(PapersError::Signature), "the region is known");
    let unknown = shown(&DOCUMENT.replace("eu-central-1", "mars-1"), "AAAA", "").verify(&keys);
    assert_eq!(unknown, Err(PapersError::Region));
}

#[test]
fn applications_are_checked_and_secrets_not_repeated() {
    let signer = Signer::new(2048);
    let identity =
        serde_json::json!({"kind": "aws", "document": DOCUMENT, "signature": signer.signature(DOCUMENT)});
    let body = serde_json::json!({"version": 1, "pool": "linux", "token": "t", "identity": identity, "ticket": "hunter2"});
    let check = |body: &serde_json::Value, accounts: &[String]| {
        let application = Application::parse(body.to_string().as_bytes())?;
        assert!(!format!("{application:?}").contains("hunter2"));
        application.check("peer", &signer.keys(None), accounts)
    };
    assert!(check(&body, &[]).is_ok());
    assert!(check(&body, &["123456789012".to_owned()]).is_ok());
    assert!(matches!(check(&body, &["1".to_owned()]), Err(Denial::Refused { code: "account", .. })));
    for (field, value) in
        [("version", 2.into()), ("pool", "".into()), ("token", 7.into()), ("ticket", ().into())]
    {
        let mut body = body.clone();
        body[field] = value;
        assert!(matches!(check(&body, &[]), Err(Denial::Malformed(_))), "{field}");
    }
}

#[test]
fn who_asks_again_with_his_nonce_gets_the_same_password() {
    let password = |nonce: Option<&str>, secret: &str| {
        let body = serde_json::json!({
            "version": 1, "pool": "linux", "token": "t", "instance": 1, "secret": secret, "machine": "i-1", "nonce": nonce,
        });
        Application::parse(body.to_string().as_bytes()).and_then(|application| application.password())
    };
    let nonce = "n".repeat(32);
    let first = password(Some(&nonce), "s").unwrap();
    assert_eq!(password(Some(&nonce), "s").unwrap(), first);
    assert_ne!(password(Some(&nonce), "other").unwrap(), first);
    assert_ne!(password(Some(&"m".repeat(32)), "s").unwrap(), first);
    assert_ne!(password(None, "s").unwrap(), password(None, "s").unwrap());
    for nonce in ["", "short", &"n".repeat(257)] {
        assert!(matches!(password(Some(nonce), "s"), Err(Denial::Malformed(_))), "{nonce}");
    }
}
