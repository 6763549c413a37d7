"""The stage that conversations are recorded on: neutral places, a proxy that listens, and stock programs on both sides."""

import asyncio
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent
VENVS = pathlib.Path(os.environ.get("GANGER_VENVS") or REPOSITORY / ".venvs").absolute()
STAGE = pathlib.Path("/tmp/gf")
MARKER = STAGE / "made-by-record.py"
NEUTRAL = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp/gf/home",
    "USER": "builder",
    "LOGNAME": "builder",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "SHELL": "/bin/sh",
}
PASSWORD = "sekrit"
SECRET = "hunter2"

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
    code = (
        "import sys, twisted; print('Python %d.%d.%d, Twisted %s' % (sys.version_info[:3] + (twisted.__version__,)))"
    )
    done = subprocess.run([VENVS / name / "bin" / "python", "-c", code], capture_output=True, text=True, check=True)
    return f"{name} ({done.stdout.strip()})"


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
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=NEUTRAL,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

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
        subprocess.run(
            [*self.launch, "buildbot.scripts.runner", "create-master", "-q", "m"], cwd=STAGE, env=NEUTRAL, check=True
        )
        (self.directory / "up").mkdir()
        for name in ("farm.py", "master.cfg"):
            shutil.copy(HERE / "recording" / name, self.directory)
        settings = {
            "port": self.port,
            "control": self.control,
            "password": PASSWORD,
            "secret": SECRET,
            "flag": str(STAGE / "flag"),
            "master_file": str(STAGE / "down.bin"),
            "upload_to": str(self.directory / "up"),
            "clients": self.clients,
        }
        (self.directory / "settings.json").write_text(json.dumps(settings))
        tac = self.directory / "buildbot.tac"
        tac.write_text("import sys; sys.path.insert(0, '.')\n" + tac.read_text())
        self.process = Process(
            self.environment,
            [*self.launch, "twisted.scripts.twistd", "-ny", "buildbot.tac", "--pidfile=", "-l", "-"],
            self.directory,
        )
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
        settings = {
            "host": "127.0.0.1",
            "port": port or self.proxy.port,
            "name": name,
            "password": password,
            "keepalive": keepalive,
        }
        (home / "settings.json").write_text(json.dumps(settings))
        started = Process(
            self.environment,
            [*self.launch, "twisted.scripts.twistd", "-ny", "worker.tac", "--pidfile=", "-l", "-"],
            home,
        )
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
        await until(
            lambda: all(self.proxy.ended(i) for i in range(len(self.proxy.conversations))),
            5,
            "the connections to end",
        )
