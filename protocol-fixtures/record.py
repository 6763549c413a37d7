#!/usr/bin/env python3
"""Records conversations between stock Buildbot programs.

    record.py                      everything: all workers, all cases, and the clients
    record.py --worker NAME...     only these environments of tests/python/venvs.py (or `clients`)
    record.py --case NAME...       only these cases

Starts a Buildbot 4.3 master and one worker or client per case, joined by a proxy on the loopback interface, and writes
`conversations/WORKER/CASE.pbc` and Twisted's decoding of it, `CASE.sexp`.

Everything a worker sends about its machine (environment, directories, tracebacks) comes from the neutral place /tmp/gf,
where the programs run with a small fixed environment; nothing is rewritten afterwards. Before a conversation is kept it
is searched for the names of the machine and of whoever records, and refused when it holds one.
"""

import argparse
import asyncio
import getpass
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import conversation

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent
VENVS = pathlib.Path(os.environ.get("GANGER_VENVS") or REPOSITORY / ".venvs").absolute()
STAGE = pathlib.Path("/tmp/gf")
MARKER = STAGE / "made-by-record.py"
NEUTRAL = {
    "PATH": "/usr/bin:/bin", "HOME": "/tmp/gf/home", "USER": "builder", "LOGNAME": "builder", "LANG": "C.UTF-8",
    "TZ": "UTC", "SHELL": "/bin/sh",
}
PASSWORD = "sekrit"
SECRET = "hunter2"

# A current Twisted on the master's side drops Python 2 workers at their first error.
MASTER_3, MASTER_2 = "master-4.3.0", "master-4.3.0-tw23.10"
WORKERS_3 = ["worker-4.3.0", "worker-4.0.4", "worker-3.11.9", "worker-2.10.5", "worker-1.8.2", "worker-0.9.15",
             "worker-0.9.12", "worker-0.9.4"]
WORKERS_2 = ["worker-3.11.9-py27", "worker-2.10.5-py27", "worker-0.9.15-py27", "worker-0.9.0-py27", "slave-0.8.14",
             "slave-0.8.12", "slave-0.8.8", "slave-0.8.1"]

# Runs a program from another environment's packages with an interpreter named by a neutral path.
LAUNCH = """
import sys
import site
place, module = sys.argv[1:3]
sys.path[:0] = [place]
site.addsitedir(place)
del sys.argv[1:3]
sys.argv[0] = module
run = __import__(module, None, None, ["run"]).run
sys.exit(run())
"""


class Refused(Exception):
    """A recording that must not be kept, or that could not be made."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def prepare_stage():
    if STAGE.exists() and not MARKER.exists():
        raise Refused(f"{STAGE} exists and is not ours; move it away")
    shutil.rmtree(STAGE, ignore_errors=True)
    for name in ("home", "python", "site", "log"):
        (STAGE / name).mkdir(parents=True)
    MARKER.touch()
    (STAGE / "down.bin").write_bytes(bytes(range(256)) * 8)


def stage_environment(name):
    """Makes an environment's interpreter and packages reachable by neutral paths; gives back how to start a program."""
    made = VENVS / name
    if not (made / "bin" / "python").exists():
        raise Refused(f"no environment {name}; run: python3 tests/python/venvs.py {name}")
    config = dict(line.split(" = ", 1) for line in (made / "pyvenv.cfg").read_text().splitlines() if " = " in line)
    base = pathlib.Path(config["home"]).parent
    packages = next(made.glob("lib/python*/site-packages"))
    version = packages.parent.name
    for link, target in ((STAGE / "python" / version, base), (STAGE / "site" / name, packages)):
        if not link.is_symlink():
            link.symlink_to(target)
    return [f"{STAGE}/python/{version}/bin/{version}", "-S", "-c", LAUNCH, f"{STAGE}/site/{name}"]


def describe(name):
    """`worker 4.3.0 (Python 3.11.7, Twisted 26.10.0)` for the head of a fixture."""
    code = "import sys, twisted; print('Python %d.%d.%d, Twisted %s' % (sys.version_info[:3] + (twisted.__version__,)))"
    done = subprocess.run([VENVS / name / "bin" / "python", "-c", code], capture_output=True, text=True, check=True)
    return f"{name} ({done.stdout.strip()})"


def forbidden():
    """What no fixture may hold: names of the machine and of whoever records."""
    names = {socket.gethostname(), socket.getfqdn(), str(pathlib.Path.home()), os.getcwd(), str(REPOSITORY), str(VENVS), str(HERE)}
    # "root" is also a word of the protocol.
    names |= {getpass.getuser()} - {"root"}
    for link in (*(STAGE / "python").iterdir(), *(STAGE / "site").iterdir()):
        names.add(str(link.resolve()))
    names |= {f"{name}=" for name in os.environ if name not in {*NEUTRAL, "PWD", "_"}}
    names |= {value for name, value in os.environ.items() if len(value) > 7 and value not in NEUTRAL.values()}
    for extra in ("PIP_CONFIG_FILE", "PIP_FIND_LINKS"):
        names.add(os.environ.get(extra, ""))
    return {name.encode() for name in names if len(name) > 3 and name not in {"localhost", "localhost.localdomain"}}


def check(path, events, words):
    for side in "CS":
        stream = b"".join(data for kind, data in events if kind == side)
        for word in words:
            if word in stream:
                raise Refused(f"{path} would hold {word!r}")
    environment = b"".join(data for kind, data in events if kind == "C")
    for name in re.findall(rb"^  ([A-Za-z_][A-Za-z_0-9]*)=", environment, re.MULTILINE):
        if name.decode() not in {*NEUTRAL, "PWD", "GREETING", "NOWHERE", "LC_CTYPE"}:
            raise Refused(f"{path} would hold the environment variable {name!r}")


class Proxy:
    """Passes bytes on and keeps them."""

    def __init__(self, to):
        self.to = to
        self.conversations = []
        self.port = None

    async def start(self):
        server = await asyncio.start_server(self.accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]

    async def accept(self, reader, writer):
        events = []
        self.conversations.append(events)
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self.pump(events, "C", reader, up_writer), self.pump(events, "S", up_reader, writer))
        for one in (writer, up_writer):
            one.close()

    async def pump(self, events, kind, reader, writer):
        try:
            while data := await reader.read(65536):
                events.append((kind, data))
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except OSError:
            writer.transport.abort()
        events.append((kind.lower(), b""))

    def sent(self, kind, number=0):
        """All bytes that one side has sent in a conversation so far."""
        events = self.conversations[number] if number < len(self.conversations) else []
        return b"".join(data for one, data in events if one == kind)

    def ended(self, number=0):
        return number < len(self.conversations) and any(kind in "cs" for kind, _ in self.conversations[number])

    def size(self):
        return sum(len(events) for events in self.conversations)


async def until(condition, limit=20, what="something"):
    """Waits for a condition; gives back whether it came true in time."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            print(f"    (waited {limit} s in vain for {what})")
            return False
        await asyncio.sleep(0.03)
    return True


async def quiet(proxy, seconds=0.4, limit=10):
    """Until nothing has been said for a while."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        before = proxy.size()
        await asyncio.sleep(seconds)
        if proxy.size() == before:
            return


class Process:
    """A stock program in the neutral environment."""

    def __init__(self, name, command, cwd):
        self.log = open(STAGE / "log" / f"{name}.log", "ab")
        self.process = subprocess.Popen(command, cwd=cwd, env=NEUTRAL, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, start_new_session=True)

    def signal(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)

    async def exited(self, limit):
        return await until(lambda: self.process.poll() is not None, limit, "a program to exit")

    async def stop(self):
        self.signal(signal.SIGTERM)
        if not await self.exited(10):
            self.signal(signal.SIGKILL)
            self.process.wait()
        self.log.close()


class Master:
    """The recorded master, and the line to its control service."""

    def __init__(self, environment, clients):
        self.clients = clients
        self.environment = environment
        self.launch = stage_environment(environment)
        self.directory = STAGE / "m"
        self.port, self.control = free_port(), free_port()

    async def start(self):
        shutil.rmtree(self.directory, ignore_errors=True)
        subprocess.run([*self.launch, "buildbot.scripts.runner", "create-master", "-q", "m"], cwd=STAGE, env=NEUTRAL, check=True)
        (self.directory / "up").mkdir()
        for name in ("farm.py", "master.cfg"):
            shutil.copy(HERE / "recording" / name, self.directory)
        settings = {"port": self.port, "control": self.control, "password": PASSWORD, "secret": SECRET,
                    "flag": str(STAGE / "flag"), "master_file": str(STAGE / "down.bin"), "upload_to": str(self.directory / "up"),
                    "clients": self.clients}
        (self.directory / "settings.json").write_text(json.dumps(settings))
        tac = self.directory / "buildbot.tac"
        tac.write_text("import sys; sys.path.insert(0, '.')\n" + tac.read_text())
        self.process = Process(self.environment, [*self.launch, "twisted.scripts.twistd", "-ny", "buildbot.tac", "--pidfile=", "-l", "-"], self.directory)
        for _ in range(600):
            try:
                self.line = await Line.open(self)
                return
            except OSError:
                if self.process.process.poll() is not None:
                    raise Refused(f"the master did not start, see {self.directory}/twistd.log") from None
                await asyncio.sleep(0.1)
        raise Refused("the master did not start in a minute")

    async def ask(self, order, **arguments):
        return await self.line.ask(order, **arguments)

    async def stop(self):
        self.line.writer.close()
        await self.process.stop()


class Line:
    """One more line to a master."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, master):
        return cls(*await asyncio.open_connection("127.0.0.1", master.control))

    async def ask(self, order, **arguments):
        self.writer.write(json.dumps({"do": order, **arguments}).encode() + b"\n")
        reply = json.loads(await self.reader.readline())
        if "error" in reply:
            print(f"    {order} {arguments or ''}: {reply['error'].strip().splitlines()[-1]}")
        return reply


class Stage:
    """What a case works with."""

    def __init__(self, master, environment):
        self.master = master
        self.environment = environment
        self.launch = stage_environment(environment)
        self.flag = STAGE / "flag"
        self.programs = []

    async def begin(self):
        self.proxy = Proxy(self.master.port)
        await self.proxy.start()
        self.flag.unlink(missing_ok=True)

    def worker(self, directory="w", name="w1", password=PASSWORD, keepalive=600, port=None):
        home = STAGE / directory
        shutil.rmtree(home, ignore_errors=True)
        (home / "info").mkdir(parents=True)
        (home / "info" / "admin").write_text("Builder <builder@buildbot.example>\n")
        (home / "info" / "host").write_text("a build host\n")
        shutil.copy(HERE / "recording" / "worker.tac", home)
        settings = {"host": "127.0.0.1", "port": port or self.proxy.port, "name": name, "password": password, "keepalive": keepalive}
        (home / "settings.json").write_text(json.dumps(settings))
        started = Process(self.environment, [*self.launch, "twisted.scripts.twistd", "-ny", "worker.tac", "--pidfile=", "-l", "-"], home)
        self.programs.append(started)
        return started

    async def attach(self, **arguments):
        started = self.worker(**arguments)
        await self.master.ask("wait", attached=True)
        await quiet(self.proxy)
        return started

    async def client(self, *arguments, limit=20):
        started = Process("clients", [*self.launch, "buildbot.scripts.runner", *arguments], STAGE / "home")
        self.programs.append(started)
        await started.exited(limit)

    async def end(self):
        for program in self.programs:
            await program.stop()
        self.programs.clear()
        await self.master.ask("cancel")
        await self.master.ask("wait", attached=False)
        await until(lambda: all(self.proxy.ended(i) for i in range(len(self.proxy.conversations))), 5, "the connections to end")


async def idle(stage):
    await stage.attach(keepalive=3)
    await until(lambda: stage.proxy.sent("C").count(b"keepalive") >= 2 and stage.proxy.sent("S").count(b"keepalive") >= 2,
                15, "keepalives from both sides")
    await quiet(stage.proxy, 0.2)


def build(*names):
    async def case(stage):
        await stage.attach()
        for name in names:
            await stage.master.ask("force", builder=name)
        await quiet(stage.proxy, 0.2)
    return case


def interrupted(name):
    async def case(stage):
        await stage.attach()
        build = asyncio.create_task(stage.master.ask("force", builder=name))
        if not await until(stage.flag.exists, 20, "the command to start"):
            return
        # The first line to the master waits for the build.
        await (await Line.open(stage.master)).ask("stop_build")
        await build
    return case


async def disconnected(stage):
    """The worker's process is stopped while a command runs."""
    program = await stage.attach()
    build = asyncio.create_task(stage.master.ask("force", builder="interrupt", limit=6))
    if await until(stage.flag.exists, 20, "the command to start"):
        program.signal(signal.SIGTERM)
        await program.exited(10)
    await build


async def bad_password(stage):
    stage.worker(password="wrong")
    await until(lambda: stage.proxy.ended(0), 8, "the worker to leave")


async def bad_name(stage):
    stage.worker(name="nobody")
    await until(lambda: stage.proxy.ended(0), 8, "the worker to leave")


async def duplicate(stage):
    await stage.attach()
    stage.worker(directory="w2")
    await until(lambda: stage.proxy.ended(1), 6, "the second worker to be refused")


async def graceful(stage):
    program = await stage.attach()
    program.signal(signal.SIGHUP)
    await program.exited(8)


async def master_stops(stage):
    program = await stage.attach()
    await stage.master.ask("stop_worker")
    await program.exited(8)


async def reconfigured(stage):
    changed = STAGE / "m" / "changed"
    await stage.attach()
    changed.touch()
    await stage.master.ask("reconfigure")
    await quiet(stage.proxy)
    await stage.master.ask("force", builder="added", limit=20)
    changed.unlink()
    await stage.master.ask("reconfigure")
    await quiet(stage.proxy)


CASES = {
    "idle": idle,
    "shell": build("shell"),
    "bytes": build("bytes"),
    "volume": build("volume"),
    "timeout": build("timeout"),
    "interrupt": interrupted("interrupt"),
    "interrupt-term": interrupted("interrupt-term"),
    "transfer": build("transfer"),
    "files": build("files"),
    "unicode": build("unicode"),
    "disconnected": disconnected,
    "bad-password": bad_password,
    "bad-name": bad_name,
    "duplicate": duplicate,
    "graceful": graceful,
    "master-stops": master_stops,
    "reconfigured": reconfigured,
}
# Python 2 workers of the 4.3 master never end a command with non-ASCII arguments or cut characters.
NOT_ON_PYTHON_2 = {"unicode", "bytes"}
# The whole output of a large log once for each way of buffering is enough.
VOLUME_WORKERS = {"worker-4.3.0", "worker-2.10.5", "slave-0.8.14"}
# One conversation is enough to know that these speak like their neighbours.
FEW_CASES = {"idle", "shell", "transfer", "interrupt"}
FEW_CASES_WORKERS = {"worker-4.0.4", "worker-0.9.12", "worker-2.10.5-py27", "slave-0.8.12"}


async def sendchange(stage):
    await stage.client("sendchange", f"--master=127.0.0.1:{stage.proxy.port}", "--auth=change:changepw", "--who=B\u00e4uerin <b@buildbot.example>",
                       "--branch=main", "--revision=4711", "--revlink=http://buildbot.example/4711", "--comments=gr\u00fc\u00dfe \u2603",
                       "--category=test", "--project=demo", "--repository=git://buildbot.example/demo", "--codebase=web", "--when=1700000000",
                       "--property=reason:because", "--property=level:2", "src/a.c", "doc/\u00e9.txt")


async def sendchange_bare(stage):
    await stage.client("sendchange", f"--master=127.0.0.1:{stage.proxy.port}", "--auth=change:changepw", "--who=bare")


async def sendchange_refused(stage):
    await stage.client("sendchange", f"--master=127.0.0.1:{stage.proxy.port}", "--auth=change:wrong", "--who=x", "f")


def try_arguments(stage, password="devpw"):
    patch = STAGE / "home" / "try.patch"
    patch.write_text("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-old\n+gr\u00fc\u00dfe\n")
    return ("try", "--connect=pb", f"--master=127.0.0.1:{stage.proxy.port}", "--username=dev", f"--passwd={password}", f"--diff={patch}",
            "--patchlevel=1", "--baserev=4711", "--branch=main", "--repository=git://buildbot.example/demo",
            "--who=dev", "--comment=please", "--property=reason=because")


async def try_wait(stage):
    stage.environment = "worker-4.3.0"
    launch, stage.launch = stage.launch, stage_environment("worker-4.3.0")
    stage.worker(port=stage.master.port)
    stage.launch = launch
    await stage.master.ask("wait", attached=True)
    await stage.client(*try_arguments(stage), "--builder=quick", "--wait", limit=30)


async def try_at_once(stage):
    await stage.client(*try_arguments(stage), "--builder=quick")


async def try_names(stage):
    await stage.client("try", "--connect=pb", f"--master=127.0.0.1:{stage.proxy.port}", "--username=dev", "--passwd=devpw", "--get-builder-names")


async def try_refused(stage):
    await stage.client(*try_arguments(stage, "wrong"), limit=4)


CLIENT_CASES = {
    "sendchange": sendchange, "sendchange-bare": sendchange_bare, "sendchange-refused": sendchange_refused,
    "try-wait": try_wait, "try": try_at_once, "try-builder-names": try_names, "try-refused": try_refused,
}


async def record(master, environment, name, case):
    label = "client-4.3.0" if environment.startswith("master") else environment
    stage = Stage(master, environment)
    await stage.begin()
    try:
        await case(stage)
    finally:
        await stage.end()
    # A refused worker comes back for ever; the first time says it all.
    kept = stage.proxy.conversations[:2 if name == "duplicate" else 1]
    if not kept:
        raise Refused(f"{label}/{name}: nobody connected, see {STAGE}/log")
    words = forbidden()
    directory = HERE / "conversations" / label
    directory.mkdir(parents=True, exist_ok=True)
    for number, events in enumerate(kept, 1):
        path = directory / (f"{name}.pbc" if len(kept) == 1 else f"{name}-{number}.pbc")
        check(path, events, words)
        remarks = [f"{describe(environment)} with {describe(master.environment)}: {name}"]
        conversation.write(path, remarks, events)
        subprocess.run([sys.executable, HERE / "decode.py", path], check=True)
        print(f"  {label}/{path.name}: {sum(len(data) for _, data in events)} bytes", flush=True)


def cases_of(worker):
    for name, case in CASES.items():
        if name in NOT_ON_PYTHON_2 and worker in WORKERS_2:
            continue
        if name == "volume" and worker not in VOLUME_WORKERS:
            continue
        if worker in FEW_CASES_WORKERS and name not in FEW_CASES:
            continue
        yield name, case


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker", nargs="+", metavar="NAME", choices=[*WORKERS_3, *WORKERS_2, "clients"])
    parser.add_argument("--case", nargs="+", metavar="NAME", choices=[*CASES, *CLIENT_CASES])
    arguments = parser.parse_args()
    wanted = set(arguments.worker or [*WORKERS_3, *WORKERS_2, "clients"])
    subprocess.run([sys.executable, REPOSITORY / "tests" / "python" / "venvs.py", MASTER_3, MASTER_2, *sorted(wanted - {"clients"})])
    failed = False
    for master_name, workers in ((MASTER_3, WORKERS_3), (MASTER_2, WORKERS_2), (MASTER_3, ["clients"])):
        plan = []
        for worker in workers:
            if worker in wanted:
                listed = CLIENT_CASES.items() if worker == "clients" else cases_of(worker)
                plan += [(MASTER_3 if worker == "clients" else worker, name, case) for name, case in listed
                         if not arguments.case or name in arguments.case]
        if plan:
            failed |= await record_all(master_name, workers == ["clients"], plan)
    return 1 if failed else 0


async def record_all(master_name, clients, plan):
    """Records with one master; gives back whether something could not be recorded."""
    prepare_stage()
    master = Master(master_name, clients)
    await master.start()
    failed = False
    try:
        for environment, name, case in plan:
            try:
                await record(master, environment, name, case)
            except Refused as refusal:
                print(f"  {refusal}", flush=True)
                failed = True
    finally:
        await master.stop()
    return failed



if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except Refused as refusal:
        sys.exit(f"record.py: {refusal}")
