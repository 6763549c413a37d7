"""The two masters: how each is set up, started, watched and ended."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
VENVS = pathlib.Path(os.environ.get("GANGER_VENVS") or REPOSITORY / ".venvs").absolute()
PASSWORD = "sekrit"
# What a `shell` of workers.py that does nothing is told.
NOTHING = 5


class Failed(Exception):
    """The load could not be applied."""


def python(environment):
    found = VENVS / environment / "bin" / "python"
    if not found.exists():
        raise Failed(f"no environment {environment}; run: python3 tests/python/venvs.py {environment}")
    return str(found)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def process_clock(pid):
    """The number that Linux gives the CPU clock of a process (`clock_getcpuclockid`)."""
    return (~pid << 3) | 2


def wait(condition, limit, what, pause=0.1):
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"waited {limit:.0f} s in vain for {what}")
        time.sleep(pause)


class Settings:
    """What both masters are told: `builders` builders of five steps that do nothing, one that prints, and workers that
    may build all of them."""

    def __init__(self, workers=100, builders=20, lines=100_000, size=80, compression="gz"):
        self.workers, self.builders, self.lines, self.size = workers, builders, lines, size
        self.compression = compression

    def table(self, port):
        return {**vars(self), "password": PASSWORD, "port": port, "nothing": NOTHING}


class Master:
    """What the two have in common."""

    name = ""

    def __init__(self, directory, settings):
        self.directory = pathlib.Path(directory) / self.name
        self.directory.mkdir(parents=True)
        self.settings = settings
        self.port = free_port()
        self.database = self.directory / "state.sqlite"

    def start(self):
        """Starts it and waits until it listens; how long that took."""
        self.log = open(self.directory.parent / f"{self.name}.log", "ab")
        began = time.monotonic()
        self.process = subprocess.Popen(
            self.command(), cwd=self.directory, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        wait(self.listens, 3600, f"{self.name} to listen; see {self.directory}", 0.02)
        return time.monotonic() - began

    def listens(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended with status {self.process.returncode}; see {self.log.name}")
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def stop(self, limit=60):
        """Asks it to end; how long that took, `None` when it had to be killed."""
        began = time.monotonic()
        self.process.terminate()
        try:
            self.process.wait(limit)
            return time.monotonic() - began
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None
        finally:
            self.log.close()

    def cpu(self):
        """CPU seconds so far, of all threads, ended ones too.

        The process's own clock, in nanoseconds: the ticks of /proc are a hundredth of a second, which is more than one of
        the masters needs for some of this.
        """
        return time.clock_gettime(process_clock(self.process.pid))

    def memory(self):
        """Resident bytes now."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def settle(self):
        """Until the master does nothing to speak of for two seconds."""
        while True:
            before = self.cpu()
            time.sleep(2)
            if self.cpu() - before <= 0.1:
                return

    def count(self, query):
        # Closed at once: a database that somebody has open is not written back from its journal when the master ends.
        with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)) as database:
            return database.execute(query).fetchone()[0]

    def finished(self):
        return self.count("SELECT count(*) FROM buildrequests WHERE complete = 1")

    def check(self, facts):
        """Numbers only count for work that was done. `facts`: what it is, a query, what it must answer."""
        wrong = [
            f"{what}: {found}, not {wanted}"
            for what, query, wanted in facts
            if (found := self.count(query)) != wanted
        ]
        if wrong:
            raise Failed(f"{self.name} did not do the work; {'; '.join(wrong)}")


class Buildbot(Master):
    name = "buildbot"

    def __init__(self, directory, settings, program=None):
        super().__init__(directory, settings)
        python("master-4.3.0")
        subprocess.run(
            [str(VENVS / "master-4.3.0" / "bin" / "buildbot"), "create-master", "-q", str(self.directory)], check=True
        )
        shutil.copy(HERE / "buildbot" / "master.cfg", self.directory)
        (self.directory / "settings.json").write_text(json.dumps(settings.table(self.port)))

    def command(self):
        return [str(VENVS / "master-4.3.0" / "bin" / "twistd"), "-ny", "buildbot.tac", "--pidfile="]


class Ganger(Master):
    name = "ganger"

    def __init__(self, directory, settings, program):
        super().__init__(directory, settings)
        self.program = program
        (self.directory / "ganger.toml").write_text(ganger_toml(settings, self.port))

    def command(self):
        return [self.program, "start", str(self.directory)]


def ganger_toml(settings, port):
    names = [f"w{number}" for number in range(settings.workers)]
    quoted = json.dumps(names)
    nothing = [f"nothing{number}" for number in range(settings.builders)]
    lines = [
        "[master]",
        "collapseRequests = false",
        f'log-compression = "{settings.compression}"',
        'title = "Load"',
        'url = "http://buildbot.example/"',
        f'listen = ["tcp:127.0.0.1:{port}"]',
        'database = "state.sqlite"',
        'change-user = "change"',
        'change-password = "changepw"',
    ]
    for name in names:
        lines += ["[[worker]]", f'name = "{name}"', f'password = "{PASSWORD}"', "max_builds = 1"]
    steps = [(f"step{step}", ["nothing"]) for step in range(NOTHING)]
    for name in nothing:
        lines += ganger_builder(name, quoted, steps)
    lines += ganger_builder("emit", quoted, [("emit", ["emit", str(settings.lines), str(settings.size)])])
    for branch, builders in (("nothing", nothing), ("emit", ["emit"])):
        lines += [
            "[[scheduler]]",
            'type = "SingleBranchScheduler"',
            f'name = "{branch}"',
            f'branch = "{branch}"',
            f"builderNames = {json.dumps(builders)}",
        ]
    return "\n".join(lines) + "\n"


def ganger_builder(name, workers, steps):
    lines = ["[[builder]]", f'name = "{name}"', f"workers = {workers}"]
    for step, command in steps:
        lines += [
            "[[builder.step]]",
            'type = "ShellCommand"',
            f'name = "{step}"',
            f"command = {json.dumps(command)}",
            "logEnviron = false",
        ]
    return lines


class Workers:
    """The processes of all the workers, at most `PROCESS` in each."""

    PROCESS = 1000

    def __init__(self, master, count):
        self.logs, self.processes = [], []
        for first in range(0, count, self.PROCESS):
            log = master.directory.parent / f"{master.name}-workers-{first}.log"
            self.logs.append(log)
            with open(log, "w") as output:
                self.processes.append(
                    subprocess.Popen(
                        [
                            python("worker-4.3.0"),
                            str(HERE / "workers.py"),
                            f"--port={master.port}",
                            f"--first={first}",
                            f"--count={min(self.PROCESS, count - first)}",
                            f"--password={PASSWORD}",
                        ],
                        stdout=output,
                        stderr=subprocess.STDOUT,
                    )
                )

    def attached(self):
        total = 0
        for log in self.logs:
            lines = [line for line in log.read_text().splitlines() if line.startswith("attached ")]
            total += int(lines[-1].split()[1]) if lines else 0
        return total

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()


def send(master, branch, count):
    """Reports so many changes on the branch."""
    subprocess.run(
        [
            python("master-4.3.0"),
            str(HERE / "changes.py"),
            f"--port={master.port}",
            f"--branch={branch}",
            f"--count={count}",
        ],
        check=True,
    )
