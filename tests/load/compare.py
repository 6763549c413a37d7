#!/usr/bin/env python3
"""Buildbot 4.3 and Ganger under the same load, and what it cost each.

    compare.py [--workers 100] [--builds 200] [--lines 100000] [--only buildbot|ganger] [--ganger PATH] [--json FILE]

Measured are the CPU seconds (user and system) of the master's process alone, from /proc, and its memory: wall times say
little on a machine that does other work. Both masters get the same workers (workers.py), the same changes (changes.py),
the same 21 builders, an empty SQLite database, and are watched in the same way: through the tables that both keep.
"""

import argparse
import json
import os
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
VENVS = pathlib.Path(os.environ.get("GANGER_VENVS") or REPOSITORY / ".venvs").absolute()
PASSWORD = "sekrit"
BUILDERS = 20


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


class Master:
    """What the two have in common."""

    name = ""

    def __init__(self, directory, settings):
        self.directory = pathlib.Path(directory) / self.name
        self.settings = {**settings, "port": free_port()}
        self.port = self.settings["port"]
        self.database = self.directory / "state.sqlite"

    def start(self):
        self.log = open(self.directory.parent / f"{self.name}.log", "ab")
        self.process = subprocess.Popen(
            self.command(), cwd=self.directory, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        wait(self.listens, 60, f"{self.name} to listen; see {self.directory}")

    def listens(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended with status {self.process.returncode}; see {self.log.name}")
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
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
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30) as database:
            return database.execute(query).fetchone()[0]

    def finished(self):
        return self.count("SELECT count(*) FROM buildrequests WHERE complete = 1")

    def failed(self):
        return self.count("SELECT count(*) FROM buildrequests WHERE complete = 1 AND results <> 0")


class Buildbot(Master):
    name = "buildbot"

    def __init__(self, directory, settings):
        super().__init__(directory, settings)
        python("master-4.3.0")
        self.directory.mkdir()
        subprocess.run(
            [str(VENVS / "master-4.3.0" / "bin" / "buildbot"), "create-master", "-q", str(self.directory)], check=True
        )
        shutil.copy(HERE / "buildbot" / "master.cfg", self.directory)
        (self.directory / "settings.json").write_text(json.dumps(self.settings))

    def command(self):
        return [str(VENVS / "master-4.3.0" / "bin" / "twistd"), "-ny", "buildbot.tac", "--pidfile="]


class Ganger(Master):
    name = "ganger"

    def __init__(self, directory, settings, program):
        super().__init__(directory, settings)
        self.program = program
        self.directory.mkdir()
        (self.directory / "ganger.toml").write_text(ganger_toml(self.settings))

    def command(self):
        return [self.program, "start", str(self.directory)]


def ganger_toml(settings):
    names = [f"w{number}" for number in range(settings["workers"])]
    quoted = json.dumps(names)
    nothing = [f"nothing{number}" for number in range(BUILDERS)]
    lines = [
        "[master]",
        f'log-compression = "{settings["log_compression"]}"',
        'title = "Load"',
        'url = "http://buildbot.example/"',
        f'listen = ["tcp:127.0.0.1:{settings["port"]}"]',
        'database = "state.sqlite"',
        'change-user = "change"',
        'change-password = "changepw"',
    ]
    for name in names:
        lines += ["[[worker]]", f'name = "{name}"', f'password = "{settings["password"]}"', "max_builds = 1"]
    steps = [(f"step{step}", ["nothing"]) for step in range(5)]
    for name in nothing:
        lines += ganger_builder(name, quoted, steps)
    lines += ganger_builder("emit", quoted, [("emit", ["emit", str(settings["lines"]), str(settings["bytes"])])])
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
    """The process of all the workers."""

    def __init__(self, master, count, log):
        self.output = open(log, "w+")
        self.process = subprocess.Popen(
            [
                python("worker-4.3.0"),
                str(HERE / "workers.py"),
                "--port",
                str(master.port),
                "--count",
                str(count),
                "--password",
                PASSWORD,
            ],
            stdout=self.output,
            stderr=subprocess.STDOUT,
        )
        self.log = log

    def attached(self):
        lines = [line for line in pathlib.Path(self.log).read_text().splitlines() if line.startswith("attached ")]
        return int(lines[-1].split()[1]) if lines else 0

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.output.close()


def send(master, branch, count):
    subprocess.run(
        [
            python("master-4.3.0"),
            str(HERE / "changes.py"),
            "--port",
            str(master.port),
            "--branch",
            branch,
            "--count",
            str(count),
        ],
        check=True,
    )


def measured(master, name, work):
    """Does the work and waits for quiet; what it cost."""
    cpu, wall = master.cpu(), time.monotonic()
    work()
    done = time.monotonic() - wall
    master.settle()
    result = {"cpu": round(master.cpu() - cpu, 4), "wall": round(done, 2), "memory": master.memory()}
    print(
        f"  {master.name}: {name}: {result['cpu']} CPU s, {result['wall']} s, {result['memory'] / 1e6:.0f} MB",
        flush=True,
    )
    return result


def run(master, arguments):
    results = {}
    master.start()
    master.settle()
    results["start"] = {"cpu": round(master.cpu(), 4), "wall": 0, "memory": master.memory()}
    workers = None

    def attach():
        nonlocal workers
        workers = Workers(master, arguments.workers, master.directory.parent / f"{master.name}-workers.log")
        wait(lambda: workers.attached() >= arguments.workers, 1200, "the workers to attach")

    def builds(branch, changes, expected):
        def work():
            before = master.finished()
            send(master, branch, changes)
            wait(lambda: master.finished() - before >= expected, 3600, f"{expected} builds", 0.25)

        return work

    try:
        results["attach"] = measured(master, f"{arguments.workers} workers attach", attach)
        changes = max(1, arguments.builds // BUILDERS)
        results["builds"] = measured(
            master, f"{changes * BUILDERS} builds of 5 steps", builds("nothing", changes, changes * BUILDERS)
        )
        results["log"] = measured(
            master, f"a log of {arguments.lines} lines of {arguments.bytes} bytes", builds("emit", 1, 1)
        )
        check_work(master, changes * BUILDERS, arguments)
    finally:
        if workers:
            workers.stop()
        master.stop()
    return results


def check_work(master, builds, arguments):
    """Numbers only count for work that was done: every build succeeded, every step ran, the whole log is stored."""
    facts = {
        "build requests that did not succeed": (master.failed(), 0),
        "builds": (master.count("SELECT count(*) FROM builds WHERE results = 0"), builds + 1),
        "steps that did nothing": (
            master.count("SELECT count(*) FROM steps WHERE name LIKE 'step%' AND results = 0"),
            builds * 5,
        ),
        "logs that lack lines of the long step": (
            master.count(f"""SELECT count(*) FROM logs JOIN steps ON steps.id = logs.stepid
                             WHERE steps.name = 'emit' AND logs.num_lines < {arguments.lines}"""),
            0,
        ),
        "logs with all lines of the long step in their chunks": (
            master.count(f"""SELECT count(*) FROM steps JOIN logs ON logs.stepid = steps.id
                             WHERE steps.name = 'emit' AND (SELECT sum(last_line - first_line + 1) FROM logchunks
                             WHERE logchunks.logid = logs.id) >= {arguments.lines}"""),
            1,
        ),
    }
    wrong = [f"{what}: {found}, not {wanted}" for what, (found, wanted) in facts.items() if found != wanted]
    if wrong:
        raise Failed(f"{master.name} did not do the work; {'; '.join(wrong)}")


def table(results, arguments):
    builds = max(1, arguments.builds // BUILDERS) * BUILDERS
    rows = (
        ("start", "start", "", 1),
        (
            "attach",
            f"{arguments.workers} workers attach to {BUILDERS + 1} builders",
            "ms a worker",
            1000 / arguments.workers,
        ),
        ("builds", f"{builds} builds of 5 steps that do nothing", "ms a build", 1000 / builds),
        (
            "log",
            f"one log of {arguments.lines} lines, {arguments.bytes} bytes each",
            "ms a MB",
            1e9 / (arguments.lines * arguments.bytes),
        ),
    )
    print(
        "\n| work | "
        + " | ".join(f"{name}, CPU s" for name in results)
        + " | each | ratio |\n|---|"
        + "---|" * (len(results) + 2)
    )
    for key, text, unit, scale in rows:
        found = [result[key]["cpu"] for result in results.values()]
        each = " : ".join(f"{cpu * scale:.1f}" for cpu in found) + f" {unit}" if unit else ""
        ratio = f"{found[0] / found[1]:.0f}" if len(found) == 2 else ""
        print(f"| {text} | " + " | ".join(f"{cpu:.2f}" for cpu in found) + f" | {each} | {ratio} |")
    print(
        "| memory after all of it | "
        + " | ".join(f"{result['log']['memory'] / 1e6:.0f} MB" for result in results.values())
        + " | | |"
    )
    print(
        "| wall time of the builds | "
        + " | ".join(f"{result['builds']['wall']:.1f} s" for result in results.values())
        + " | | |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--builds", type=int, default=200, help="rounded down to a multiple of the 20 builders")
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--bytes", type=int, default=80)
    parser.add_argument("--only", choices=("buildbot", "ganger"))
    parser.add_argument(
        "--ganger", default=str(REPOSITORY / "target" / "release" / "ganger"), help="the program; a release build"
    )
    parser.add_argument(
        "--log-compression",
        default="gz",
        choices=("none", "gz", "lz4", "zstd"),
        help="Ganger's; Buildbot takes gz unless more is installed",
    )
    parser.add_argument("--json", help="write all numbers to this file")
    parser.add_argument("--keep", action="store_true", help="keep the masters' directories")
    arguments = parser.parse_args()
    settings = {
        "workers": arguments.workers,
        "password": PASSWORD,
        "lines": arguments.lines,
        "log_compression": arguments.log_compression,
        "bytes": arguments.bytes,
    }
    directory = tempfile.mkdtemp(prefix="ganger-load-")
    results = {}
    try:
        if arguments.only != "ganger":
            results["buildbot"] = run(Buildbot(directory, settings), arguments)
        if arguments.only != "buildbot":
            results["ganger"] = run(Ganger(directory, settings, arguments.ganger), arguments)
    finally:
        if arguments.keep:
            print(f"kept: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    table(results, arguments)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(
            json.dumps({"arguments": vars(arguments), "results": results}, indent=1) + "\n"
        )


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"compare.py: {failure}")
