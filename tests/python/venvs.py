#!/usr/bin/env python3
"""Makes the virtual environments that the tests run stock Buildbot programs, and what answers like EC2, in.

    venvs.py NAME...     make these
    venvs.py --ci        make those that continuous integration uses
    venvs.py --all       make every one
    venvs.py --list      show the names, what is in them, and which are ready

They live in `.venvs/NAME` of the repository, or in $GANGER_VENVS/NAME. A ready environment costs two file reads; several
runs at once are safe. Needs only the standard library, a Python from 3.9 on (3.11 is taken when there is one;
$GANGER_PYTHON names another) and a package index. The names that run on Python 2.7 need such an interpreter:
$GANGER_PYTHON27, or pyenv's, or `python2.7` on the PATH.

Exit status: 0 all ready, 1 an installation failed, 2 wrong usage, 3 no Python 2.7 interpreter found (the other names
were still made), 4 no usable Python 3.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
STAMP = "ganger-stamp"

FAILED, NO_PYTHON_2, NO_PYTHON_3 = 1, 3, 4

# Source distributions of the older workers are built inside the environment, with build tools of their time.
OLD_TOOLS = ("pip==23.3.2", "setuptools==57.5.0", "wheel==0.45.1")
# Twisted 16.6 wants what it imports in its setup.py to be there first.
TOOLS_0_9_0 = (
    "typing==3.10.0.0",
    "incremental==17.5.0",
    "Automat==0.6.0",
    "zope.interface==4.7.2",
    "constantly==15.1.0",
    "attrs==19.3.0",
    "hyperlink==21.0.0",
)
# The last virtualenv that makes environments for Python 2.7, and the versions it goes with.
VIRTUALENV = ("virtualenv==20.21.1", "platformdirs==3.11.0", "filelock==3.12.4", "distlib==0.3.9")


@dataclasses.dataclass(frozen=True)
class Environment:
    """One virtual environment; `requirements/NAME.txt` beside this file pins everything in it."""

    name: str
    python: int = 3
    ci: bool = False
    tools: tuple = ()
    # The newest Python 3 minor version that its build tools and its code run on.
    newest: int = 99
    # The wheels that pip makes of some releases report the day of their installation as their version, unless told.
    version: str = ""


ENVIRONMENTS = {
    environment.name: environment
    for environment in (
        Environment("master-4.3.0", ci=True),
        Environment("master-4.3.0-tw23.10"),
        Environment("worker-4.3.0", ci=True),
        Environment("worker-4.0.4"),
        Environment("worker-3.11.9"),
        Environment("worker-2.10.5", ci=True, tools=OLD_TOOLS, newest=11, version="2.10.5"),
        Environment("worker-1.8.2", tools=OLD_TOOLS, newest=11, version="1.8.2"),
        Environment("worker-0.9.15", tools=OLD_TOOLS, newest=11),
        Environment("worker-0.9.12", tools=OLD_TOOLS, newest=11),
        Environment("worker-0.9.4", ci=True, tools=OLD_TOOLS, newest=11),
        Environment("worker-3.11.9-py27", python=2),
        Environment("worker-2.10.5-py27", python=2, version="2.10.5"),
        Environment("worker-0.9.15-py27", python=2),
        Environment("worker-0.9.0-py27", python=2, tools=TOOLS_0_9_0),
        # Not Buildbot: what answers like EC2 in tests.
        Environment("moto-5.2.1", ci=True),
        Environment("slave-0.8.14", python=2, ci=True),
        Environment("slave-0.8.12", python=2),
        Environment("slave-0.8.8", python=2),
        Environment("slave-0.8.5", python=2),
        Environment("slave-0.8.3", python=2),
        Environment("slave-0.8.1", python=2),
    )
}


class Problem(Exception):
    """Something the user has to know; carries the exit status."""

    def __init__(self, text, status=FAILED):
        super().__init__(text)
        self.status = status


def root():
    """The directory that holds the environments."""
    return pathlib.Path(os.environ.get("GANGER_VENVS") or REPOSITORY / ".venvs").absolute()


def requirements(environment):
    return HERE / "requirements" / f"{environment.name}.txt"


def digest(environment):
    """Changes when anything changes that would make another environment."""
    parts = (str(root()), *environment.tools, environment.version, requirements(environment).read_text())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def is_ready(environment):
    directory = root() / environment.name
    try:
        return (directory / STAMP).read_text() == digest(environment) and (directory / "bin" / "python").exists()
    except OSError:
        return False


def answer(command):
    """What a command prints, or None when it cannot run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def pyenv_interpreters(pattern, program):
    base = pathlib.Path(os.environ.get("PYENV_ROOT") or pathlib.Path.home() / ".pyenv")
    return [str(found / "bin" / program) for found in sorted((base / "versions").glob(pattern), reverse=True)]


def find_python_3():
    """A Python that can make environments: 3.11 before others, since it runs every worker from 0.9.4 on."""
    named = os.environ.get("GANGER_PYTHON")
    candidates = (
        [named]
        if named
        else [
            "python3.11",
            *pyenv_interpreters("3.11*", "python3.11"),
            sys.executable,
            *(f"python3.{minor}" for minor in (12, 13, 10, 14, 9)),
            "python3",
        ]
    )
    probe = "import sys, venv, ensurepip; assert sys.version_info >= (3, 9); print(sys.executable)"
    for candidate in candidates:
        found = answer([candidate, "-c", probe])
        if found:
            return found
    raise Problem(
        f"no Python 3.9 or newer with `venv` found; tried {', '.join(candidates)} (Debian: install python3-venv)",
        NO_PYTHON_3,
    )


def find_python_2():
    """A Python 2.7, or None."""
    named = os.environ.get("GANGER_PYTHON27")
    candidates = [named] if named else [*pyenv_interpreters("2.7*", "python2.7"), "python2.7", "python2"]
    for candidate in candidates:
        found = answer([candidate, "-c", "import sys; assert sys.version_info[:2] == (2, 7); print(sys.executable)"])
        if found:
            return found
    return None


@contextlib.contextmanager
def locked(name):
    """Only one process at a time makes an environment; the others wait for it."""
    root().mkdir(parents=True, exist_ok=True)
    with open(root() / f".{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(log, command, **extra_environment):
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTHON", "PIP_REQUIRE", "VIRTUAL_ENV"))
    }
    environment.update({"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", **extra_environment})
    log.write(f"$ {' '.join(command)}\n")
    log.flush()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    if done.returncode != 0:
        log.flush()
        tail = pathlib.Path(log.name).read_text(errors="replace").splitlines()[-15:]
        raise Problem(
            "\n  ".join(
                [f"this failed with status {done.returncode}: {' '.join(command)}", *tail, f"(all of it: {log.name})"]
            )
        )


def virtualenv_program(python_3, log):
    """`virtualenv` itself lives in an environment of its own."""
    directory = root() / ".virtualenv"
    with locked("virtualenv"):
        stamp = directory / STAMP
        wanted = "\0".join((str(root()), python_3, *VIRTUALENV))
        if not (stamp.exists() and stamp.read_text() == wanted):
            shutil.rmtree(directory, ignore_errors=True)
            run(log, [python_3, "-m", "venv", str(directory)])
            run(log, [str(directory / "bin" / "python"), "-m", "pip", "install", *VIRTUALENV])
            stamp.write_text(wanted)
    return str(directory / "bin" / "virtualenv")


def make(environment, python_3, python_2):
    """Makes one environment unless it is ready; gives back what was done."""
    with locked(environment.name):
        if is_ready(environment):
            return "ready (made by another process)"
        directory = root() / environment.name
        shutil.rmtree(directory, ignore_errors=True)
        with open(root() / f"{environment.name}.log", "w") as log:
            if environment.python == 2:
                run(log, [virtualenv_program(python_3, log), "--no-download", "-p", python_2, str(directory)])
            else:
                check_python_3(environment, python_3)
                run(log, [python_3, "-m", "venv", str(directory)])
            pip = [str(directory / "bin" / "python"), "-m", "pip", "install"]
            if environment.tools:
                run(log, [*pip, *environment.tools])
            isolation = ["--no-build-isolation"] if environment.tools else []
            run(log, [*pip, *isolation, "-r", str(requirements(environment))])
        if environment.version:
            for package in directory.glob("lib/python*/site-packages/buildbot_worker"):
                (package / "VERSION").write_text(environment.version)
        (directory / STAMP).write_text(digest(environment))
        return "made"


def check_python_3(environment, python_3):
    minor = int(answer([python_3, "-c", "import sys; print(sys.version_info[1])"]) or 0)
    if minor > environment.newest:
        raise Problem(
            f"needs Python 3.{environment.newest} or older, found 3.{minor} at {python_3} (set GANGER_PYTHON)"
        )


def show_list():
    for environment in ENVIRONMENTS.values():
        state = "ready" if is_ready(environment) else "not made"
        pins = [
            line
            for line in requirements(environment).read_text().splitlines()
            if line.lower().startswith(("buildbot", "twisted", "moto"))
        ]
        python = "Python 2.7" if environment.python == 2 else "Python 3"
        print(f"{environment.name:22} {'ci' if environment.ci else '  '}  {state:9} {python:11} {', '.join(pins)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--ci", action="store_true", help="those that continuous integration uses")
    parser.add_argument("--all", action="store_true", help="every one")
    parser.add_argument("--list", action="store_true", help="show them and stop")
    parser.add_argument("-j", "--jobs", type=int, default=min(4, os.cpu_count() or 1), help="how many at once")
    arguments = parser.parse_args()
    if arguments.list:
        show_list()
        return 0
    unknown = [name for name in arguments.names if name not in ENVIRONMENTS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known are {', '.join(ENVIRONMENTS)}")
    wanted = [
        e for e in ENVIRONMENTS.values() if arguments.all or (arguments.ci and e.ci) or e.name in arguments.names
    ]
    if not wanted:
        parser.error("name an environment, or say --ci or --all")
    return make_all(wanted, arguments.jobs)


def make_all(wanted, jobs):
    for environment in wanted:
        if is_ready(environment):
            print(f"{environment.name}: ready")
    wanted = [environment for environment in wanted if not is_ready(environment)]
    if not wanted:
        return 0
    python_3 = find_python_3()
    python_2 = find_python_2() if any(e.python == 2 for e in wanted) else None
    status = 0
    if python_2 is None and any(e.python == 2 for e in wanted):
        left_out = ", ".join(e.name for e in wanted if e.python == 2)
        print(
            f"no Python 2.7 interpreter found (set GANGER_PYTHON27, or install one with pyenv); not made: {left_out}",
            file=sys.stderr,
        )
        wanted = [e for e in wanted if e.python != 2]
        status = NO_PYTHON_2
    speech = threading.Lock()

    def one(environment):
        try:
            text, problem = make(environment, python_3, python_2), None
        except (Problem, OSError) as error:
            text, problem = f"FAILED: {error}", error
        with speech:
            print(f"{environment.name}: {text}", file=sys.stderr if problem else sys.stdout, flush=True)
        return problem is None

    with concurrent.futures.ThreadPoolExecutor(max(1, jobs)) as pool:
        if not all(pool.map(one, wanted)):
            status = FAILED
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Problem as problem:
        print(problem, file=sys.stderr)
        sys.exit(problem.status)
