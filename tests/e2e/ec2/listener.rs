//! Who connects where machines enroll, and does not do as they do.

use serde_json::json;

use super::enrollment::{ask, python};
use crate::{farm::Farm, pools::builder};

/// Does all that at once, each on a connection of its own; prints what came back and after how many seconds.
const CLIENTS: &str = r#"
import json, socket, ssl, sys, threading, time
port = json.load(sys.stdin)
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

def connect(tls=True):
    plain = socket.create_connection(("127.0.0.1", port), 30)
    return context.wrap_socket(plain) if tls else plain

def rest(connection):
    said = b""
    try:
        while part := connection.recv(4096):
            said += part
    except OSError:
        pass
    return said.decode("latin-1")

def drip(connection, text, each):
    """Sends it bit by bit until nobody listens."""
    try:
        for at in range(0, len(text)):
            connection.send(text[at:at + 1])
            time.sleep(each)
    except OSError:
        pass

HEAD = b"POST /enroll HTTP/1.1\r\nHost: x\r\n"
def silent():
    return rest(connect(tls=False))
def slow_head():
    connection = connect()
    threading.Thread(target=drip, args=(connection, HEAD + b"X: " + b"x" * 1000, 0.5), daemon=True).start()
    return rest(connection)
def slow_body():
    connection = connect()
    connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
    threading.Thread(target=drip, args=(connection, b"x" * 1000, 0.5), daemon=True).start()
    return rest(connection)
def long_head():
    connection = connect()
    connection.sendall(HEAD + b"X: " + b"x" * 40000)
    return rest(connection)
def broken_body():
    connection = connect()
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
    return rest(connection)
def long_body():
    connection = connect()
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n11170\r\n" + b"x" * 70000)
    return rest(connection)

found = {}
def run(client):
    begun = time.monotonic()
    said = client()
    found[client.__name__] = said.split("\r\n")[0], time.monotonic() - begun
threads = [threading.Thread(target=run, args=(client,))
           for client in (silent, slow_head, slow_body, long_head, broken_body, long_body)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps(found))
"#;

/// Opens so many connections that say nothing; prints how many are ended at once.
const CROWD: &str = r#"
import json, select, socket, sys, time
port = json.load(sys.stdin)
crowd = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(100)]
begun, ended = time.monotonic(), set()
while len(ended) < 36 and time.monotonic() - begun < 8:
    ended.update(c for c in select.select(crowd, [], [], 0.1)[0])
print(json.dumps(len(ended)))
"#;

/// A master whose EC2 does not answer, and where machines enroll.
fn master() -> (Farm, u16) {
    let port = {
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        free.local_addr().expect("an address").port()
    };
    let settings = format!("enroll = \"tls:127.0.0.1:{port}\"\nenroll-address = \"127.0.0.1:{port}\"\n");
    let objects = format!(
        "[[pool]]\nname = \"p\"\nmax = 1\nmax_builds = 1\nmaster = \"127.0.0.1:9\"\n\
         [pool.ec2]\nendpoint = \"http://127.0.0.1:9\"\nidentifier = \"lab\"\nsecret_identifier = \"lab\"\n\
         region = \"us-east-1\"\nami = \"ami-12c6146b\"\ninstance_type = \"c5.large\"\nprice = 0.085\n{}",
        builder("b", "true")
    );
    (Farm::start_with(&settings, &objects), port)
}

#[test]
fn who_takes_his_time_is_cut_off_and_who_says_nonsense_is_told() {
    let (_farm, port) = master();
    let found = python(CLIENTS, &json!(port));
    let of = |client: &str| {
        let said =
            found[client][0].as_str().expect("a line").split(' ').nth(1).unwrap_or_default().to_owned();
        (said, found[client][1].as_f64().expect("seconds"))
    };
    for (client, status, within) in [
        ("silent", "", 15.0),
        ("slow_head", "", 20.0),
        ("slow_body", "408", 25.0),
        ("long_head", "431", 10.0),
        ("broken_body", "400", 10.0),
        ("long_body", "413", 10.0),
    ] {
        let (said, took) = of(client);
        assert!(said == status && took < within, "{client}: {found}");
    }
}

#[test]
fn an_address_has_only_so_many_connections_that_show_nothing() {
    let (_farm, port) = master();
    assert_eq!(python(CROWD, &json!(port)), 36);
    // They are gone, and so is what they held.
    assert_eq!(ask(port, "POST", "/enroll", "", Some("{}")).0, 400);
}
