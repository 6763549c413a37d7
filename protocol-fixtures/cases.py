"""What is recorded: each case is one conversation (or two, where a second worker comes)."""

import asyncio

import signal

from stage import STAGE, Line, quiet, stage_environment, until

# A current Twisted on the master's side drops Python 2 workers at their first error.
MASTER_3, MASTER_2 = "master-4.3.0", "master-4.3.0-tw23.10"
WORKERS_3 = [
    "worker-4.3.0",
    "worker-4.0.4",
    "worker-3.11.9",
    "worker-2.10.5",
    "worker-1.8.2",
    "worker-0.9.15",
    "worker-0.9.12",
    "worker-0.9.4",
]
WORKERS_2 = [
    "worker-3.11.9-py27",
    "worker-2.10.5-py27",
    "worker-0.9.15-py27",
    "worker-0.9.0-py27",
    "slave-0.8.14",
    "slave-0.8.12",
    "slave-0.8.8",
    "slave-0.8.1",
]


async def idle(stage):
    await stage.attach(keepalive=3)
    await until(
        lambda: stage.proxy.sent("C").count(b"keepalive") >= 2 and stage.proxy.sent("S").count(b"keepalive") >= 2,
        15,
        "keepalives from both sides",
    )
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
    await stage.client(
        "sendchange",
        f"--master=127.0.0.1:{stage.proxy.port}",
        "--auth=change:changepw",
        "--who=B\u00e4uerin <b@buildbot.example>",
        "--branch=main",
        "--revision=4711",
        "--revlink=http://buildbot.example/4711",
        "--comments=gr\u00fc\u00dfe \u2603",
        "--category=test",
        "--project=demo",
        "--repository=git://buildbot.example/demo",
        "--codebase=web",
        "--when=1700000000",
        "--property=reason:because",
        "--property=level:2",
        "src/a.c",
        "doc/\u00e9.txt",
    )


async def sendchange_bare(stage):
    await stage.client("sendchange", f"--master=127.0.0.1:{stage.proxy.port}", "--auth=change:changepw", "--who=bare")


async def sendchange_refused(stage):
    await stage.client("sendchange", f"--master=127.0.0.1:{stage.proxy.port}", "--auth=change:wrong", "--who=x", "f")


def try_arguments(stage, password="devpw"):
    patch = STAGE / "home" / "try.patch"
    patch.write_text("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-old\n+gr\u00fc\u00dfe\n")
    return (
        "try",
        "--connect=pb",
        f"--master=127.0.0.1:{stage.proxy.port}",
        "--username=dev",
        f"--passwd={password}",
        f"--diff={patch}",
        "--patchlevel=1",
        "--baserev=4711",
        "--branch=main",
        "--repository=git://buildbot.example/demo",
        "--who=dev",
        "--comment=please",
        "--property=reason=because",
    )


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
    await stage.client(
        "try",
        "--connect=pb",
        f"--master=127.0.0.1:{stage.proxy.port}",
        "--username=dev",
        "--passwd=devpw",
        "--get-builder-names",
    )


async def try_refused(stage):
    await stage.client(*try_arguments(stage, "wrong"), limit=4)


CLIENT_CASES = {
    "sendchange": sendchange,
    "sendchange-bare": sendchange_bare,
    "sendchange-refused": sendchange_refused,
    "try-wait": try_wait,
    "try": try_at_once,
    "try-builder-names": try_names,
    "try-refused": try_refused,
}


def cases_of(worker):
    for name, case in CASES.items():
        if name in NOT_ON_PYTHON_2 and worker in WORKERS_2:
            continue
        if name == "volume" and worker not in VOLUME_WORKERS:
            continue
        if worker in FEW_CASES_WORKERS and name not in FEW_CASES:
            continue
        yield name, case
