//! That builds cannot reach the metadata service. Takes root: it makes two network namespaces, one is the machine.

use std::process::Command;

/// The machine's part: an answer comes from the service to root, and none to the worker's user.
const SCRIPT: &str = r#"
set -eu
unshare --net sleep 600 >/dev/null 2>&1 &
service=$!
trap 'kill $service' EXIT
until [ "$(readlink /proc/$service/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
at_service() { nsenter --target $service --net "$@"; }
ip link set lo up
ip link add machine type veth peer name service netns $service
ip addr add 169.254.1.1/16 dev machine
ip link set machine up
at_service ip link set lo up
at_service ip addr add 169.254.169.254/16 dev service
at_service ip link set service up
nsenter --target $service --net python3 -c '
import http.server, sys
class Service(http.server.BaseHTTPRequestHandler):
    def answer(self):
        text = b"the-token" if self.path.endswith("token") else open(sys.argv[1], "rb").read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    do_PUT = do_GET = answer
    def log_message(self, *words): pass
http.server.HTTPServer(("169.254.169.254", 80), Service).serve_forever()
' "$HOME/document" >/dev/null 2>&1 &
server=$!
trap 'kill $server $service' EXIT
# While the network comes up, the program itself tries again.
cat > "$HOME/twistd" <<'END'
#!/bin/sh
"$PROGRAM" reach 169.254.169.254:80
echo "reach: $?"
touch tried
exec sleep 600
END
sed -i "s|\$PROGRAM|$PROGRAM|" "$HOME/twistd"
chmod 755 "$HOME" "$HOME/twistd"
"$PROGRAM" --user nobody --directory "$HOME/worker" --state "$HOME/state" --twistd "$HOME/twistd" \
    --linger 0 --power-off true "$@" &
program=$!
trap 'kill $program $server $service' EXIT
for _ in $(seq 300); do
    [ -e "$HOME/worker/tried" ] && exit 0
    kill -0 $program 2>/dev/null || exit 1
    sleep 0.1
done
exit 1
"#;

fn run(prelude: &str, args: &[&str]) -> (bool, String) {
    let home = tempfile::tempdir().unwrap();
    let document = super::told(600, "never").0;
    std::fs::copy(document.path(), home.path().join("document")).unwrap();
    let output = Command::new("unshare")
        .args(["--net", "sh", "-c", &format!("{prelude}\n{SCRIPT}"), "sh"])
        .args(args)
        .env("HOME", home.path())
        .env("PROGRAM", env!("CARGO_BIN_EXE_ganger-bootstrap"))
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("Operation not permitted"), "this test has to run as root: {said}");
    (output.status.success(), said)
}

#[test]
fn builds_cannot_reach_the_metadata_service() {
    let (is_up, said) = run("", &[]);
    assert!(is_up && said.contains("reach: 3"), "{said}");
    // It is there for whoever is not kept away.
    let (is_up, said) = run("", &["--allow-metadata"]);
    assert!(is_up && said.contains("reach: 0"), "{said}");
}

#[test]
fn no_worker_starts_where_the_metadata_service_cannot_be_forbidden() {
    // Here `ip rule` is a program that does nothing.
    let without = r#"mkdir "$HOME/bin"
printf '#!/bin/sh\n[ "$2" = rule ] && exit 0\nexec /usr/sbin/ip "$@"\n' > "$HOME/bin/ip"
chmod 755 "$HOME/bin/ip"
export PATH="$HOME/bin:$PATH""#;
    let (is_up, said) = run(without, &[]);
    assert!(!is_up && said.contains("builds could read this machine's metadata"), "{said}");
}
