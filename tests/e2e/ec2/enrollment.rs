//! Who asks for a machine's password, and does not get it.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::{Site, Wishes};

/// A client that trusts any certificate: reads the method, the address, the credentials and the body as JSON, and prints the
/// status and what was answered.
const CLIENT: &str = r#"
import base64, json, ssl, sys, urllib.error, urllib.request
asked = json.load(sys.stdin)
body = asked["body"].encode() if asked["body"] is not None else None
request = urllib.request.Request(asked["url"], data=body, method=asked["method"])
request.add_header("Content-Type", "application/json")
if asked["user"]:
    request.add_header("Authorization", "Basic " + base64.b64encode(asked["user"].encode()).decode())
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
try:
    answer = urllib.request.urlopen(request, context=context, timeout=20)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps([answer.status, answer.read().decode("utf-8", "replace")]))
"#;

impl Site {
    /// Asks the master what machines ask it.
    fn ask(&self, method: &str, path: &str, user: &str, body: Option<&str>) -> (i64, Value) {
        let url = format!("https://127.0.0.1:{}{path}", self.enroll);
        let asked = json!({"method": method, "url": url, "user": user, "body": body});
        let mut client = Command::new("python3")
            .args(["-c", CLIENT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 can be run");
        let mut input = client.stdin.take().expect("it reads");
        input.write_all(asked.to_string().as_bytes()).expect("it reads");
        drop(input);
        let output = client.wait_with_output().expect("it ends");
        let answer: Value = serde_json::from_slice(&output.stdout).expect("an answer");
        let text = answer[1].as_str().unwrap_or_default();
        (answer[0].as_i64().expect("a status"), serde_json::from_str(text).unwrap_or_default())
    }
}

#[test]
fn only_the_machine_itself_enrolls_and_only_once() {
    let mut site =
        Site::start(&Wishes { max: 1, pool: "min = 1\nbuild_wait_timeout = -1", ..Wishes::default() });
    site.farm.ask("b", 1, &[]);
    site.farm.wait_succeeded("b", 1);
    let id = site.machines().into_iter().next().expect("a machine");
    let (instance, document, rsa2048) = site.lab.imds().identity(&id).expect("it runs");
    let told: Value =
        serde_json::from_slice(&instance.user_data.expect("user data")).expect("the machine's document");
    assert!(told.get("worker").is_none(), "what all machines of a call are told has no password: {told}");
    let claim = |document: &str, rsa2048: &str, token: &Value, ticket: &Value| {
        json!({
            "version": 1, "pool": "p", "token": token, "ticket": ticket, "machine": id,
            "identity": {"kind": "aws", "document": document, "rsa2048": rsa2048},
        })
        .to_string()
    };
    let (token, ticket) = (&told["token"], &told["enroll"]["ticket"]);
    let refused = |site: &Site, body: &str| {
        let (status, answer) = site.ask("POST", "/enroll", "", Some(body));
        assert_eq!(status, 403, "{answer}");
        assert!(answer.get("password").is_none());
        answer["error"].as_str().expect("a code").to_owned()
    };
    assert_eq!(refused(&site, &claim(&document, &rsa2048, token, ticket)), "used", "who comes second");
    let forged = document.replace(&id, "i-00000000000000000");
    assert_eq!(refused(&site, &claim(&forged, &rsa2048, token, ticket)), "signature");
    let late = ticket.as_str().expect("a ticket").replacen('1', "2", 1);
    assert_eq!(refused(&site, &claim(&document, &rsa2048, token, &json!(late))), "ticket");
    let one_time =
        json!({"version": 1, "pool": "p", "token": token, "instance": 1, "secret": "0", "machine": id});
    assert!(["used", "secret"].contains(&&*refused(&site, &one_time.to_string())));
    // What is no claim at all, and what is too long to be one.
    assert_eq!(site.ask("POST", "/enroll", "", Some("{}")).0, 400);
    assert_eq!(site.ask("POST", "/enroll", "", Some(&"x".repeat(100_000))).0, 413);
    // What only a machine may ask.
    assert_eq!(site.ask("GET", "/machine", "", None).0, 401);
    assert_eq!(site.ask("GET", "/machine", "p@1:guess", None).0, 401);
    assert_eq!(site.ask("POST", "/machine/warning", "p@1:guess", Some(r#"{"kind":"rebalance"}"#)).0, 401);
    // The machine is not harmed by any of that.
    site.farm.ask("b", 1, &[]);
    site.farm.wait_succeeded("b", 2);
    let log = site.farm.log_text();
    assert!(!log.contains(ticket.as_str().expect("a ticket")), "a ticket is in the log");
}
