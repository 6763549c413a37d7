"""Runs a stock Buildbot master in a directory, on the database of a URL.

    stock_buildbot.py create DIR URL    makes the database
    stock_buildbot.py build DIR URL     makes it, runs a build, starts a second one and dies in the middle of it
    stock_buildbot.py read DIR URL      says as JSON what the data API and the database layer find in it
"""

import collections
import datetime
import json
import os
import sys

from twisted.internet import defer, reactor, task
from twisted.python import log as twisted_log

CONFIG = """
from buildbot.plugins import schedulers, steps, util, worker
factory = util.BuildFactory([
    steps.ShellCommand(name="echo", command=["sh", "-c", "echo out; echo err >&2; printf end"]),
    steps.ShellCommand(name="count", command=["seq", "1", "3000"]),
    steps.SetPropertyFromCommand(name="set", command="echo h\\u00e9", property="got"),
])
slow = util.BuildFactory([steps.ShellCommand(name="slow", command=["sh", "-c", "seq 1 20; while kill -0 $PPID 2>/dev/null; do sleep 0.1; done"])])
BuildmasterConfig = {
    "workers": [worker.LocalWorker("local")],
    "builders": [
        util.BuilderConfig(name="fast", workernames=["local"], factory=factory, tags=["t1", "t2"]),
        util.BuilderConfig(name="slow", workernames=["local"], factory=slow),
    ],
    "schedulers": [schedulers.Triggerable(name="some", builderNames=["fast", "slow"])],
    "buildbotNetUsageData": None,
    "title": "t", "titleURL": "http://t/", "buildbotURL": "http://t/",
    "protocols": {"null": {}},
    "db": {"db_url": DATABASE},
}
"""

EMPTY = """
BuildmasterConfig = {"multiMaster": True, "buildbotNetUsageData": None, "protocols": {},
                     "db": {"db_url": DATABASE}, "title": "t", "titleURL": "http://t/", "buildbotURL": "http://t/"}
"""


def plain(value):
    if isinstance(value, datetime.datetime):
        return int(value.timestamp())
    if isinstance(value, collections.UserList):
        return list(value)
    return repr(value)


async def create(directory):
    from buildbot.config.master import DBConfig
    from buildbot.db.connector import DBConnector
    from buildbot.master import BuildMaster

    master = BuildMaster(directory)
    master.config.db = DBConfig(sys.argv[3])
    database = DBConnector(directory)
    await database.set_master(master)
    await database.setup(check_version=False)
    await database.model.upgrade()
    await database.pool.stop()


async def start(directory, config):
    from buildbot.master import BuildMaster

    with open(os.path.join(directory, "master.cfg"), "w", encoding="utf-8") as file:
        file.write(f"DATABASE = {sys.argv[3]!r}\n{config}")
    master = BuildMaster(directory, "master.cfg")
    await master.startService()
    if not master.running:
        raise RuntimeError("the master did not start; see what it logged")
    return master


async def wait_for(condition):
    for _ in range(600):
        found = await condition()
        if found:
            return found
        await task.deferLater(reactor, 0.1)
    raise RuntimeError("waited for a minute in vain")


async def submit(master, builder):
    builderid = await master.data.updates.findBuilderId(builder)
    stamp = {"codebase": "", "repository": "http://repo", "project": "p", "branch": "main", "revision": None}
    stamp["patch_body"], stamp["patch_level"], stamp["patch_subdir"] = b"--- a\n+++ b\n", 1, "src"
    stamp["patch_author"], stamp["patch_comment"] = "me", "try it"
    properties = {"f": (1e20, "Force"), "\u00e9": (["\u00fc", None], "Force")}
    _, requests = await master.data.updates.addBuildset(
        waited_for=False, scheduler="some", sourcestamps=[stamp], reason="because", properties=properties,
        builderids=[builderid], external_idstring="ext", priority=3)
    return requests[builderid]


async def build(directory):
    await create(directory)
    master = await start(directory, CONFIG)
    await master.data.updates.addChange(
        files=["a.c"], comments="m\u00e9", author="J\u00f6e", revision="r1", branch="main", repository="http://repo",
        project="p", when_timestamp=1700000000, properties={"x": 1})
    request = await submit(master, "fast")

    async def done():
        return (await master.data.get(("buildrequests", request)))["complete"]

    await wait_for(done)
    request = await submit(master, "slow")

    async def has_lines():
        for found in await master.data.get(("builds",)):
            if found["buildrequestid"] == request:
                for step in await master.data.get(("builds", found["buildid"], "steps")):
                    for log in await master.data.get(("steps", step["stepid"], "logs")):
                        content = await master.data.get(("logs", log["logid"], "contents"))
                        if "o20\n" in content["content"]:
                            return True
        return False

    await wait_for(has_lines)
    print(json.dumps({"master": master.name}), flush=True)
    # Nothing is closed and nothing is tidied up. The command of the step ends when it sees us gone.
    os.kill(os.getpid(), 9)


async def read(directory):
    master = await start(directory, EMPTY)
    get = master.data.get
    answer = {}
    for name in ("masters", "builders", "workers", "schedulers", "changes", "buildsets", "buildrequests", "builds"):
        answer[name] = await get((name,))
    for buildset in answer["buildsets"]:
        buildset["properties"] = await get(("buildsets", buildset["bsid"], "properties"))
    for found in answer["builds"]:
        found["properties"] = await get(("builds", found["buildid"], "properties"))
        found["steps"] = await get(("builds", found["buildid"], "steps"))
        for step in found["steps"]:
            step["logs"] = await get(("steps", step["stepid"], "logs"))
            for log in step["logs"]:
                try:
                    log["contents"] = await get(("logs", log["logid"], "contents"))
                except Exception as error:  # what a user would see instead of the log
                    log["contents"] = f"{type(error).__name__}: {error}"
    database = master.db
    answer["found"] = {
        "builder": await database.builders.findBuilderId("w\u00f6rld", autoCreate=False),
        "worker": await database.workers.findWorkerId("w2"),
        "scheduler": await database.schedulers.findSchedulerId("nightly"),
        "sourcestamp": await database.sourcestamps.findSourceStampId(
            branch="main", revision="abc2", repository="http://repo", project="", codebase=""),
        "state": await database.state.getState(await database.state.getObjectId("nightly", "Nightly"), "last_build", None),
    }
    # And on it goes: the next build of a builder takes the next number.
    first = answer["builds"][0]
    _, answer["next_number"] = await database.builds.addBuild(
        first["builderid"], first["buildrequestid"], first["workerid"], master.masterid, "starting")
    await master.stopService()
    json.dump(answer, sys.stdout, default=plain)
    sys.stdout.flush()


def main():
    command, directory, _ = sys.argv[1:]
    os.chdir(directory)
    status = []

    def ended(result):
        if result is not None:
            result.printTraceback(sys.stderr)
        status.append(result is not None)
        reactor.stop()

    def begin():
        work = {"create": create, "build": build, "read": read}[command]
        defer.Deferred.fromCoroutine(work(directory)).addBoth(ended)

    twisted_log.startLogging(sys.stderr, setStdout=False)
    reactor.callWhenRunning(begin)
    reactor.run()
    sys.stdout.flush()
    os._exit(1 if status != [False] else 0)


main()
