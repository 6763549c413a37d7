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
import os
import pathlib
import re
import socket
import subprocess
import sys

import conversation
from cases import CASES, CLIENT_CASES, MASTER_2, MASTER_3, WORKERS_2, WORKERS_3, cases_of
from stage import HERE, NEUTRAL, REPOSITORY, STAGE, VENVS, Master, Refused, Stage, describe, prepare_stage


def forbidden():
    """What no fixture may hold: names of the machine and of whoever records."""
    names = {
        socket.gethostname(),
        socket.getfqdn(),
        str(pathlib.Path.home()),
        os.getcwd(),
        str(REPOSITORY),
        str(VENVS),
        str(HERE),
    }
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


async def record(master, environment, name, case):
    label = "client-4.3.0" if environment.startswith("master") else environment
    stage = Stage(master, environment)
    await stage.begin()
    try:
        await case(stage)
    finally:
        await stage.end()
    # A refused worker comes back for ever; the first time says it all.
    kept = stage.proxy.conversations[: 2 if name == "duplicate" else 1]
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


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker", nargs="+", metavar="NAME", choices=[*WORKERS_3, *WORKERS_2, "clients"])
    parser.add_argument("--case", nargs="+", metavar="NAME", choices=[*CASES, *CLIENT_CASES])
    arguments = parser.parse_args()
    wanted = set(arguments.worker or [*WORKERS_3, *WORKERS_2, "clients"])
    subprocess.run(
        [
            sys.executable,
            REPOSITORY / "tests" / "python" / "venvs.py",
            MASTER_3,
            MASTER_2,
            *sorted(wanted - {"clients"}),
        ]
    )
    failed = False
    for master_name, workers in ((MASTER_3, WORKERS_3), (MASTER_2, WORKERS_2), (MASTER_3, ["clients"])):
        plan = []
        for worker in workers:
            if worker in wanted:
                listed = CLIENT_CASES.items() if worker == "clients" else cases_of(worker)
                plan += [
                    (MASTER_3 if worker == "clients" else worker, name, case)
                    for name, case in listed
                    if not arguments.case or name in arguments.case
                ]
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
