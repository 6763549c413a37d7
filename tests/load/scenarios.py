"""The loads. Each starts a master of its own, applies its load, checks that the work was done, and returns figures: a list
of (what, value, unit)."""

import contextlib
import shutil
import time

from masters import NOTHING, Failed, Ganger, Settings, Workers, send, wait


@contextlib.contextmanager
def running(master, workers=0):
    """The master, and so many workers attached to it."""
    master.start()
    crew = None
    try:
        master.settle()
        if workers:
            crew = Workers(master, workers)
            wait(lambda: crew.attached() >= workers, 3600, "the workers to attach")
            master.settle()
        yield master
    finally:
        if crew:
            crew.stop()
        if master.process.poll() is None:
            master.stop()


def cost(master, work):
    """Does the work and waits for quiet: CPU seconds."""
    before = master.cpu()
    work()
    master.settle()
    return master.cpu() - before


def finish(master, branch, changes, builds):
    """Reports changes and waits until so many builds of theirs are done."""
    before = master.finished()
    send(master, branch, changes)
    wait(lambda: master.finished() - before >= builds, 3600, f"{builds} builds", 0.25)


def attach(make, workers):
    """Workers attach to 21 builders."""
    with running(make(Settings(workers=workers))) as master:
        memory, cpu = master.memory(), master.cpu()
        crew = Workers(master, workers)
        try:
            wait(lambda: crew.attached() >= workers, 3600, "the workers to attach")
            master.settle()
            cpu, total = master.cpu() - cpu, master.memory()
        finally:
            crew.stop()
    return [
        (f"{workers} workers attach to 21 builders", cpu, "CPU s"),
        (f"memory of each of {workers} idle workers", (total - memory) / workers / 1000, "kB"),
        (f"memory with {workers} idle workers", total / 1e6, "MB"),
    ]


def builds(make, count, workers=100, builders=20):
    """Builds of five steps that do nothing."""
    changes = max(1, count // 20)
    with running(make(Settings(workers=workers, builders=builders)), workers) as master:
        cpu = cost(master, lambda: finish(master, "nothing", changes, changes * builders))
        done = changes * builders
        master.check([
            ("builds", "SELECT count(*) FROM builds WHERE results = 0", done),
            ("steps", "SELECT count(*) FROM steps WHERE name LIKE 'step%' AND results = 0", done * NOTHING),
        ])
    return [(f"{done} builds of {NOTHING} steps, {workers} workers, {builders} builders", cpu, "CPU s")]


def logs(make, lines, at_once):
    """Logs of `lines` lines of 80 bytes, written at the same time."""
    with running(make(Settings(workers=at_once, lines=lines)), at_once) as master:
        cpu = cost(master, lambda: finish(master, "emit", at_once, at_once))
        master.check([
            (
                "logs with all their lines",
                f"""SELECT count(*) FROM logs JOIN steps ON steps.id = logs.stepid WHERE steps.name = 'emit'
                    AND logs.num_lines >= {lines} AND logs.num_lines = (SELECT sum(last_line - first_line + 1)
                    FROM logchunks WHERE logchunks.logid = logs.id)""",
                at_once,
            )
        ])
    each = f"{lines * 80 // 1_000_000} MB"
    return [(f"a log of {each}" if at_once == 1 else f"{at_once} logs of {each} each at once", cpu, "CPU s")]


def pending(make, program, directory, count):
    """A start with many waiting requests, on the same database for both: one that Ganger wrote."""
    settings = Settings(workers=1)
    source = directory / f"pending-{count}.sqlite"
    if not source.exists():
        with running(Ganger(directory / "pending", settings, program)) as ganger:
            send(ganger, "nothing", count // 20)
            wait(lambda: ganger.count("SELECT count(*) FROM buildrequests") >= count, 600, "the requests")
            ganger.settle()
        shutil.copy(ganger.database, source)
    master = make(settings)
    shutil.copy(source, master.database)
    began = time.monotonic()
    listening = master.start()
    crew = Workers(master, 1)
    try:
        wait(lambda: crew.attached() >= 1, 3600, "the worker to attach", 0.02)
        attached = time.monotonic()
        wait(lambda: master.count("SELECT count(*) FROM builds") > 0, 3600, "the first build", 0.02)
        first = time.monotonic()
    finally:
        crew.stop()
    cpu, memory = master.cpu(), master.memory()
    stopped = master.stop(600)
    if stopped is None:
        raise Failed(f"{master.name} did not stop within 600 s")
    return [
        (f"start with {count} pending requests: until it listens", listening, "s"),
        ("… until the first build of a worker that comes at once", first - began, "s"),
        ("… of which after the worker is attached", first - attached, "s"),
        ("… CPU until then", cpu, "CPU s"),
        ("… memory", memory / 1e6, "MB"),
        ("… stop", stopped, "s"),
    ]


def configuration(make, builders, workers):
    """A large configuration: start on an empty database, start again, reload without a change."""
    master = make(Settings(workers=workers, builders=builders))
    figures = []
    name = f"{builders} builders, {workers} workers"
    for what in (f"{name}: first start", f"{name}: start again"):
        took = master.start()
        master.settle()
        figures.append((what, master.cpu(), "CPU s"))
        figures.append((f"{what}, until it listens", took, "s"))
        if what.endswith("first start"):
            master.stop(600)
    figures.append((f"{name}: reload without a change", cost(master, master.reload), "CPU s"))
    figures.append((f"{name}: memory", master.memory() / 1e6, "MB"))
    master.stop(600)
    return figures
