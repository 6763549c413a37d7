//! Who asks for a machine's password, and does not get it.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use testkit::ec2::lab::BROKEN;

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

/// Shows the same wrong claim again and again; prints what it was answered.
const STRANGER: &str = r#"
import http.client, json, ssl, sys
asked = json.load(sys.stdin)
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
statuses = []
for _ in range(asked["times"]):
    master = http.client.HTTPSConnection("127.0.0.1", asked["port"], timeout=20, context=context)
    master.request("POST", "/enroll", asked["body"])
    statuses.append(master.getresponse().status)
    master.close()
print(json.dumps(statuses))
"#;

/// Asks a master what machines ask it.
pub(super) fn ask(port: u16, method: &str, path: &str, user: &str, body: Option<&str>) -> (i64, Value) {
    let url = format!("https://127.0.0.1:{port}{path}");
    let asked = json!({"method": method, "url": url, "user": user, "body": body});
    let answer = python(CLIENT, &asked);
    let text = answer[1].as_str().unwrap_or_default();
    (answer[0].as_i64().expect("a status"), serde_json::from_str(text).unwrap_or_default())
}

/// Runs a program that reads a value and prints one.
pub(super) fn python(program: &str, input: &Value) -> Value {
    let mut client = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 can be run");
    let mut stdin = client.stdin.take().expect("it reads");
    stdin.write_all(input.to_string().as_bytes()).expect("it reads");
    drop(stdin);
    let output = client.wait_with_output().expect("it ends");
    serde_json::from_slice(&output.stdout).expect("an answer")
}

impl Site {
    fn ask(&self, method: &str, path: &str, user: &str, body: Option<&str>) -> (i64, Value) {
        ask(self.enroll, method, path, user, body)
    }

    /// What a machine of EC2 was told, and what it would show for itself.
    fn claim(&self, id: &str) -> (Value, Value) {
        let (instance, document, rsa2048) = self.lab.imds().identity(id).expect("it runs");
        let told: Value =
            serde_json::from_slice(&instance.user_data.expect("user data")).expect("the machine's document");
        let claim = json!({
            "version": 1, "pool": "p", "token": told["token"], "ticket": told["enroll"]["ticket"], "machine": id,
            "identity": {"kind": "aws", "document": document, "rsa2048": rsa2048},
        });
        (told, claim)
    }
}

/// A claim with another value at a place.
fn with(claim: &Value, place: &str, value: impl Into<Value>) -> String {
    let mut claim = claim.clone();
    match claim.pointer_mut(place) {
        Some(old) => *old = value.into(),
        None => claim[&place[1..]] = value.into(),
    }
    claim.to_string()
}

#[test]
fn only_the_machine_itself_enrolls_and_only_once() {
    let mut site =
        Site::start(&Wishes { max: 1, pool: "min = 1\nbuild_wait_timeout = -1", ..Wishes::default() });
    site.farm.ask("b", 1, &[]);
    site.farm.wait_succeeded("b", 1);
    let id = site.machines().into_iter().next().expect("a machine");
    let (told, claim) = site.claim(&id);
    assert!(told.get("worker").is_none(), "what all machines of a call are told has no password: {told}");
    let refused = |site: &Site, body: &str| {
        let (status, answer) = site.ask("POST", "/enroll", "", Some(body));
        assert_eq!(status, 403, "{answer}");
        assert!(answer.get("password").is_none());
        answer["error"].as_str().expect("a code").to_owned()
    };
    assert_eq!(refused(&site, &claim.to_string()), "used", "who comes second");
    let document = claim["identity"]["document"].as_str().expect("a document");
    let forged = with(&claim, "/identity/document", document.replace(&id, "i-00000000000000000"));
    assert_eq!(refused(&site, &forged), "signature");
    let ticket = claim["ticket"].as_str().expect("a ticket");
    assert_eq!(refused(&site, &with(&claim, "/ticket", ticket.replacen('1', "2", 1))), "ticket");
    let one_time = json!({
        "version": 1, "pool": "p", "token": claim["token"], "instance": 1, "secret": "0", "machine": id,
    });
    assert_eq!(refused(&site, &one_time.to_string()), "secret");
    // Who names a pool that is not there is found where all that was decided is.
    assert_eq!(refused(&site, &with(&claim, "/pool", "linx")), "pool");
    let decisions = site.farm.json(&["pool", "decisions"]).to_string();
    assert!(decisions.contains("no pool \\\"linx\\\" takes machines that enroll"), "{decisions}");
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
    assert!(!site.farm.log_text().contains(ticket), "a ticket is in the log");
}

#[test]
fn nobody_shuts_out_a_machine_behind_the_same_address() {
    let mut site = Site::start(&Wishes { max: 1, pool: "build_wait_timeout = 1", ..Wishes::default() });
    let wrong =
        json!({"version": 1, "pool": "p", "token": "t", "instance": 1, "secret": "0", "machine": "i-1"});
    let asked = json!({"port": site.enroll, "body": wrong.to_string(), "times": 25});
    let statuses = python(STRANGER, &asked);
    assert_eq!(statuses[0], 403, "{statuses}");
    assert_eq!(statuses[24], 429, "{statuses}");
    // Machines come from this address as well.
    site.farm.ask("b", 1, &[]);
    site.farm.wait_succeeded("b", 1);
    site.wait_for_nothing();
}

#[test]
fn an_answer_that_was_lost_is_given_again_to_who_asked() {
    let mut site = Site::start(&Wishes { max: 1, image: BROKEN, ..Wishes::default() });
    site.farm.ask("b", 1, &[]);
    site.wait_for_state("booting");
    let id = site.machines().into_iter().next().expect("a machine");
    let lab = &site.lab;
    site.farm.eventually("it boots", |_| lab.running().contains(&id).then_some(()));
    let (_, claim) = site.claim(&id);
    let (mine, other) = (with(&claim, "/nonce", "m".repeat(32)), with(&claim, "/nonce", "o".repeat(32)));
    let ask = |site: &Site, body: &str| site.ask("POST", "/enroll", "", Some(body));
    assert_eq!(ask(&site, &with(&claim, "/nonce", "short")).0, 400);
    let first = ask(&site, &mine);
    assert_eq!((first.0, &first.1["name"]), (200, &json!("p@1")), "{}", first.1);
    assert_eq!(ask(&site, &mine), first);
    assert_eq!(ask(&site, &other).1["error"], "used");
    assert_eq!(ask(&site, &claim.to_string()).1["error"], "used", "who says no nonce is somebody else");
    // The master may have died before it could answer.
    site.farm.kill();
    site.farm.restart();
    assert_eq!(ask(&site, &mine), first);
    let password = first.1["password"].as_str().expect("a password");
    let (status, state) = site.ask("GET", "/machine", &format!("p@1:{password}"), None);
    assert_eq!((status, &state["state"]), (200, &json!("booting")));
    // Nothing is built by it so far, so there is nothing to take up.
    assert_eq!(site.ask("POST", "/machine/resume", &format!("p@1:{password}"), None).0, 409);
}
