#!/usr/bin/env python3
"""Tests images/cloud-init/user-data.yaml: the script in it, against a metadata service and a master of its own.

Needs the standard library, `openssl`, `bash` and iproute2. `cloud-init`, where it is there, says whether it would take the
file; the stock worker of `venvs.py worker-4.3.0`, where it is there, whether it takes the configuration.
"""

import base64
import hashlib
import http.server
import json
import os
import pathlib
import pwd
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
USER_DATA = REPOSITORY / "images/cloud-init/user-data.yaml"
TWISTD = pathlib.Path(os.environ.get("GANGER_VENVS", REPOSITORY / ".venvs")) / "worker-4.3.0/bin/twistd"
# A worker needs another user than root, and only root can become one.
USER = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
LIMIT = 30
NAME, PASSWORD = "linux@17", "hunter2"
IDENTITY = {
    "dynamic/instance-identity/document": '{\n  "instanceId" : "i-0abc"\n}',
    "dynamic/instance-identity/signature": "c2lnbmF0dXJl\nbW9yZQ==",
    "dynamic/instance-identity/rsa2048": "cnNhMjA0OA==",
}
# In place of twistd: says who it is, then does what a test wants, and stays.
WORKER = """#!/bin/bash
{ id -u; env; } > seen.new
mv seen.new seen
mkfifo "fifo.$$"
exec 4<> "fifo.$$"
%s
read -r -t 60 _ <&4
"""
CONNECTS = "exec 3<> /dev/tcp/127.0.0.1/%d; read -r _ <&3"


def file_in_user_data(path):
    """The text of one of `write_files`: the lines below its `content`, which are indented."""
    _, _, rest = USER_DATA.read_text().partition(f"- path: {path}\n")
    _, _, rest = rest.partition("  content: |\n")
    lines = rest.splitlines(keepends=True)
    end = next(n for n, line in enumerate(lines) if line.strip() and not line.startswith("   "))
    return textwrap.dedent("".join(lines[:end]))


class Quiet(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, text, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


def serve(handler, context=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def certificate(directory, name):
    """A key and a certificate; its fingerprint."""
    pem = directory / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        + ["-subj", f"/CN={name}", "-keyout", pem, "-out", directory / f"{name}.crt"],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    shown = (directory / f"{name}.crt").read_text()
    with open(pem, "a") as file:
        file.write(shown)
    return pem, hashlib.sha256(ssl.PEM_cert_to_DER_cert(shown)).hexdigest()


class Machine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        keys = pathlib.Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, keys)
        cls.pem, cls.fingerprint = certificate(keys, "master")

    def setUp(self):
        self.home = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home)
        self.home.chmod(0o755)
        self.directory = self.home / "worker"
        self.directory.mkdir(0o700)
        os.chown(self.directory, USER.pw_uid, USER.pw_gid)
        (self.home / "script").write_text(file_in_user_data("/usr/local/sbin/ganger-worker"))
        self.metadata = {"meta-data/instance-id": "i-0abc", **IDENTITY}
        self.asked, self.claims = [], []
        self.answers = [(200, {"version": 1, "instance": 17, "name": NAME, "password": PASSWORD}, ())]
        self.imds = serve(self.metadata_service())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem)
        self.enroll = serve(self.master(), context)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(LIMIT)
        for server in self.imds, self.enroll:
            self.addCleanup(server.server_close)
            self.addCleanup(server.shutdown)
        self.addCleanup(self.listener.close)

    def metadata_service(test):
        class Service(Quiet):
            def do_PUT(self):
                asked = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
                self.answer(200 if asked and self.path == "/latest/api/token" else 400, "sesame")

            def do_GET(self):
                path = self.path.removeprefix("/latest/")
                test.asked.append(path)
                if self.headers.get("X-aws-ec2-metadata-token") != "sesame":
                    return self.answer(401, "")
                if path not in test.metadata:
                    # Tags come a moment after the machine.
                    test.metadata.update(getattr(test, "late", {}))
                    return self.answer(404, "")
                self.answer(200, test.metadata[path])

        return Service

    def master(test):
        class Master(Quiet):
            def do_POST(self):
                claim = self.rfile.read(int(self.headers["Content-Length"]))
                test.claims.append((self.path, json.loads(claim)))
                answer = test.answers.pop(0) if len(test.answers) > 1 else test.answers[0]
                self.answer(answer[0], json.dumps(answer[1]), answer[2])

        return Master

    def document(self, instance=None, fingerprint=None, silence=0.4, **enroll):
        address = f"127.0.0.1:{self.enroll.server_port}"
        document = {
            "version": 1,
            "pool": "linux",
            "token": "call-1",
            "template": "",
            "deployment": "d",
            "master": {"address": f"127.0.0.1:{self.listener.getsockname()[1]}"},
            "enroll": {"address": address, "fingerprint": fingerprint or self.fingerprint, **enroll},
            "settings": {"keepalive": 0, "silence": silence, "clean": "start"},
        }
        return {**document, "instance": instance} if instance else document

    def start(self, document, does="", **variables):
        (self.home / "document.json").write_text(json.dumps(document))
        worker = self.home / "twistd"
        worker.write_text(WORKER % does)
        worker.chmod(0o755)
        environment = {
            **os.environ,
            "GANGER_METADATA": f"http://127.0.0.1:{self.imds.server_port}",
            "GANGER_DOCUMENT": self.home / "document.json",
            "GANGER_STATE": self.home / "state",
            "GANGER_DIRECTORY": self.directory,
            "GANGER_TWISTD": worker,
            "GANGER_USER": USER.pw_name,
            "GANGER_ALLOW_METADATA": "yes",
            "GANGER_LINGER": "0",
            "GANGER_LOOK": "0.1",
            "GANGER_WITHIN": "20",
            **variables,
        }
        process = subprocess.Popen(
            [sys.executable, "-I", self.home / "script"],
            env=environment,
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def ends(self, process):
        """What it said; a failure is what systemd powers the machine off for."""
        said, _ = process.communicate(timeout=LIMIT)
        self.assertEqual(process.returncode, 1, said)
        self.assertNotIn("Traceback", said)
        self.assertNotIn(PASSWORD, said)
        return said

    def enrolls(self, document):
        """Runs it until the master is gone; what the master was told."""
        process = self.start(document, CONNECTS % self.listener.getsockname()[1])
        connection, _ = self.listener.accept()
        connection.close()
        said = self.ends(process)
        self.assertIn("no master for too long", said)
        return self.claims[-1]

    def test_by_identity_once_the_master_knows_it(self):
        stale = self.directory / "linux"
        stale.mkdir()
        os.chown(stale, USER.pw_uid, USER.pw_gid)
        self.answers.insert(0, (503, {"error": "later", "message": "not yet"}, [("Retry-After", "1")]))
        self.answers.insert(0, (409, {"error": "state", "message": "not yet"}, [("Retry-After", "1")]))
        path, claim = self.enrolls(self.document(ticket="ticket-1"))
        self.assertEqual(len(self.claims), 3)
        # It is the same who asks again.
        self.assertEqual({json.dumps(claim) for _, claim in self.claims}, {json.dumps(claim)})
        self.assertEqual(len(claim.pop("nonce")), 64)
        self.assertEqual(path, "/enroll")
        expected = {"version": 1, "pool": "linux", "token": "call-1", "ticket": "ticket-1", "machine": "i-0abc"}
        identity = {path.rpartition("/")[2]: text for path, text in IDENTITY.items()}
        self.assertEqual(claim, {**expected, "identity": {"kind": "aws", **identity}})
        said = self.directory / "worker.json"
        host, port = self.listener.getsockname()
        worker = {"host": host, "port": port, "name": NAME, "password": PASSWORD, "keepalive": None}
        self.assertEqual(json.loads(said.read_text()), worker)
        for file in said, self.directory / "buildbot.tac":
            self.assertEqual((file.stat().st_uid, stat.S_IMODE(file.stat().st_mode)), (USER.pw_uid, 0o600))
        kept = self.home / "state"
        self.assertEqual(stat.S_IMODE(kept.stat().st_mode), 0o700)
        self.assertFalse(stale.exists())
        seen = (self.directory / "seen").read_text()
        self.assertEqual(seen.splitlines()[0], str(USER.pw_uid))
        self.assertNotIn("GANGER_STATE", seen)

        # Stopped and started again: the master would not let it enroll twice.
        self.enrolls(self.document(ticket="ticket-1"))
        self.assertEqual(len(self.claims), 3)
        # Another machine, made from its disk.
        self.metadata["meta-data/instance-id"] = "i-0def"
        self.enrolls(self.document(ticket="ticket-1"))
        self.assertEqual(len(self.claims), 4)

    def test_by_secret(self):
        _, claim = self.enrolls(self.document(instance=17, secret="once"))
        expected = {"version": 1, "pool": "linux", "token": "call-1", "instance": 17, "secret": "once", "machine": "i-0abc"}
        self.assertEqual(len(claim.pop("nonce")), 64)
        self.assertEqual(claim, expected)

    def test_by_tags_that_come_late(self):
        tags = "meta-data/tags/instance/ganger:"
        self.late = {tags + "secret": "once", tags + "instance": "17"}
        _, claim = self.enrolls(self.document())
        self.assertEqual((claim["instance"], claim["secret"]), (17, "once"))
        self.assertNotIn("dynamic/instance-identity/document", self.asked)

    def test_another_certificate_is_told_nothing(self):
        _, other = certificate(self.home, "other")
        said = self.ends(self.start(self.document(ticket="t", fingerprint=other), GANGER_WITHIN="1"))
        self.assertIn("somebody else's certificate", said)
        self.assertEqual(self.claims, [])

    def test_a_refusal_is_final(self):
        self.answers = [(403, {"error": "used", "message": "somebody has enrolled as it\x1b[2J"}, ())]
        said = self.ends(self.start(self.document(ticket="t")))
        self.assertIn("somebody has enrolled as it", said)
        self.assertIn("(used)", said)
        self.assertNotIn("\x1b", said)
        self.assertEqual(len(self.claims), 1)
        self.assertFalse((self.directory / "worker.json").exists())

    def test_no_worker_where_builds_reach_the_metadata(self):
        programs = self.home / "bin"
        programs.mkdir()
        (programs / "ip").write_text(f'#!/bin/sh\necho "$@" >> {self.home}/rules\n')
        (programs / "ip").chmod(0o755)
        path = f"{programs}:{os.environ['PATH']}"
        said = self.ends(self.start(self.document(ticket="t"), GANGER_ALLOW_METADATA="", PATH=path))
        self.assertIn("builds could read the machine's metadata", said)
        rule = f"-4 rule add uidrange {USER.pw_uid}-{USER.pw_uid} to 169.254.169.254/32 prohibit pref 10"
        self.assertIn(rule, (self.home / "rules").read_text().splitlines())
        self.assertFalse((self.directory / "seen").exists())

    def test_a_build_keeps_the_machine(self):
        begun = time.monotonic()
        self.ends(self.start(self.document(ticket="t"), "sleep 1"))
        self.assertGreater(time.monotonic() - begun, 1.4)

    def test_a_worker_that_is_connected_keeps_the_machine_and_comes_back(self):
        process = self.start(self.document(ticket="t"), CONNECTS % self.listener.getsockname()[1] + "; exit")
        first, _ = self.listener.accept()
        # Longer than the silence.
        first.settimeout(1)
        with self.assertRaises(TimeoutError):
            first.recv(1)
        self.assertIsNone(process.poll())
        first.close()
        second, _ = self.listener.accept()
        second.close()
        process.terminate()

    def test_the_stock_worker_takes_the_configuration(self):
        if not TWISTD.exists():
            self.skipTest(f"there is no {TWISTD}")
        self.enrolls(self.document(instance=17, secret="once"))
        worker = subprocess.Popen(
            [TWISTD, "--nodaemon", "--pidfile=", "--python=buildbot.tac"], cwd=self.directory, stdout=subprocess.DEVNULL
        )
        self.addCleanup(worker.wait)
        self.addCleanup(worker.kill)
        connection, _ = self.listener.accept()
        connection.close()


class Text(unittest.TestCase):
    def rendered(self):
        text = USER_DATA.read_text()
        self.assertEqual(text.count("@DOCUMENT@"), 1)
        # Longer than documents are: names of 60 letters, an address of 100.
        return text.replace("@DOCUMENT@", base64.b64encode(b'{"version":1}'.ljust(1500)).decode())

    def test_it_fits(self):
        self.assertLessEqual(USER_DATA.stat().st_size, 12 * 1024)
        self.assertLessEqual(len(self.rendered()), 16 * 1024)

    def test_cloud_init_takes_it(self):
        if not shutil.which("cloud-init"):
            self.skipTest("there is no cloud-init")
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(self.rendered())
            file.flush()
            ran = subprocess.run(["cloud-init", "schema", "-c", file.name], capture_output=True, text=True)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)

    def test_a_failure_powers_off(self):
        self.assertIn("FailureAction=poweroff", file_in_user_data("/etc/systemd/system/ganger-worker.service").splitlines())

    def test_the_installation_is_shell(self):
        _, _, commands = USER_DATA.read_text().partition("runcmd:\n- |\n")
        subprocess.run(["sh", "-n"], input=textwrap.dedent(commands), text=True, check=True)


if __name__ == "__main__":
    # Says what is skipped, and why.
    unittest.main(verbosity=2)
