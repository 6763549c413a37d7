"""What the recorded Buildbot master builds, and how the recorder talks to it.

Each builder is one conversation to record; `Control` lets the recorder start and stop builds over a loopback socket,
one JSON object a line in each direction.
"""

import json

from buildbot.process import buildstep
from buildbot.process.factory import BuildFactory
from buildbot.process.results import SUCCESS
from buildbot.steps import transfer, worker
from buildbot.steps.shell import ShellCommand
from buildbot.util import service
from twisted.internet import defer, task
from twisted.protocols.basic import LineOnlyReceiver
from twisted.internet.protocol import Factory
from twisted.python import log

# A build goes on whatever a step did: each step is there for what it makes the two sides say.
GO_ON = {"haltOnFailure": False, "flunkOnFailure": False, "warnOnFailure": False}


def shell(script, **arguments):
    return ShellCommand(command=["/bin/sh", "-c", script], **{**GO_ON, **arguments})


class Ask(buildstep.BuildStep, worker.CompositeStepMixin):
    """One remote command with the given arguments."""

    def __init__(self, command, arguments, **rest):
        self.command, self.arguments = command, arguments
        super().__init__(name=command, **{**GO_ON, **rest})

    @defer.inlineCallbacks
    def run(self):
        yield self.addLogForRemoteCommands("stdio")
        yield self.runRemoteCommand(self.command, self.arguments, abandonOnFailure=False)
        return SUCCESS


class Remove(buildstep.BuildStep, worker.CompositeStepMixin):
    @defer.inlineCallbacks
    def run(self):
        yield self.addLogForRemoteCommands("stdio")
        yield self.runRmFile("build/two", abandonOnFailure=False)
        return SUCCESS


class Content(buildstep.BuildStep, worker.CompositeStepMixin):
    """A file's content straight into memory, and back out to another file."""

    @defer.inlineCallbacks
    def run(self):
        yield self.addLogForRemoteCommands("stdio")
        content = yield self.getFileContentFromWorker("word")
        yield self.downloadFileContentToWorker("copy", content or "nothing")
        return SUCCESS


def quick():
    return [shell("echo quick")]


def shell_steps(secret):
    return [
        shell(r"printf 'gr\303\274\303\237e \342\230\203\n'; printf 'warn\303\251\n' >&2", name="both streams"),
        shell("echo failing >&2; exit 3", name="exit 3"),
        shell("exit 0", name="nothing"),
        ShellCommand(command=["/bin/echo", "--password", ("obfuscated", secret, "XXXX"), 7], **GO_ON),
        shell(
            "echo one > a.log; echo 'and more' >> a.log; sleep 0.2; echo two > b.log; echo done",
            logfiles={"a": "a.log", "b": {"filename": "b.log", "follow": True}, "absent": "absent.log"},
        ),
        shell("test -t 1 && echo on a terminal; printf 'a\\r\\nb\\rc\\033[2Jd\\n'", usePTY=True),
        ShellCommand(command=["/nonexistent/program", "x"], logEnviron=False, **GO_ON),
        shell("kill -TERM $$", name="signal"),
        shell("printf 'no newline at the end'", want_stderr=False),
        shell("echo dropped", want_stdout=False),
        shell("i=0; while [ $i -lt 40 ]; do seq -s, $i 40; i=$((i+1)); done", name="lines"),
        # Last, because slaves up to 0.8.8 never end a command whose input came as text.
        ShellCommand(
            command='echo "$GREETING $NOWHERE|"; exec cat',
            initialStdin="first\nsecond\n",
            env={"GREETING": "hello ${USER}", "NOWHERE": None, "PATH": ["/opt/bin", "${PATH}"]},
            **GO_ON,
        ),
    ]


def transfer_steps(master_file, upload_to):
    def upload(source, target, **arguments):
        return transfer.FileUpload(workersrc=source, masterdest=f"{upload_to}/{target}", **{**GO_ON, **arguments})

    def directory(source, target, **arguments):
        return transfer.DirectoryUpload(
            workersrc=source, masterdest=f"{upload_to}/{target}", **{**GO_ON, **arguments}
        )

    def download(**arguments):
        return transfer.FileDownload(mastersrc=master_file, **{**GO_ON, **arguments})

    return [
        shell(
            r"umask 022; mkdir -p d/sub; printf list > word; seq 1 2000 > big; printf '\000\200\377' > d/bytes; : > empty;"
            r" cp word d/sub; touch -t 200102030405 word big",
            name="prepare",
        ),
        upload("word", "word"),
        upload("empty", "empty"),
        upload("big", "big", keepstamp=True, blocksize=4096),
        upload("missing", "missing"),
        upload("big", "cut", maxsize=1000),
        directory("d", "d"),
        directory("d", "dgz", compress="gz"),
        directory("d", "dbz2", compress="bz2"),
        directory("missing", "dmissing"),
        transfer.MultipleFileUpload(workersrcs=["word", "d"], masterdest=f"{upload_to}/many", **GO_ON),
        transfer.MultipleFileUpload(workersrcs=["wo*"], glob=True, masterdest=f"{upload_to}/globbed", **GO_ON),
        download(workerdest="down"),
        download(workerdest="down2", mode=0o755, blocksize=512),
        download(workerdest="down3", maxsize=1000),
        download(workerdest="no/such/place/down"),
        transfer.StringDownload("gr\u00fc\u00dfe \u2603\n", workerdest="text", **GO_ON),
        transfer.StringDownload("", workerdest="nothing", **GO_ON),
        transfer.JSONStringDownload({"a": [1, None, "\u00e9"]}, workerdest="json", **GO_ON),
        Content(name="content", **GO_ON),
        shell("cksum down down2 down3 text nothing json copy; stat -c '%a %n' down down2", name="look"),
        # The master answers the missing time stamps by an exception; with a Python 2 worker that is the end of the build.
        upload("missing", "missing2", keepstamp=True),
    ]


def file_steps():
    return [
        worker.MakeDirectory(dir="build/made/deep", **GO_ON),
        worker.MakeDirectory(dir="build/made/deep", **GO_ON),
        shell("echo 1 > one; echo 2 > two; ln -s one link; mkdir -p sub/sub; echo 3 > sub/sub/three"),
        worker.FileExists(file="build/one", **GO_ON),
        worker.FileExists(file="build/made", **GO_ON),
        worker.FileExists(file="build/missing", **GO_ON),
        Ask("stat", {"file": "one", "workdir": "build"}),
        Ask("glob", {"path": "build/*", "logEnviron": False}),
        Ask("glob", {"path": "build/none*"}),
        Ask("listdir", {"dir": "build/sub"}),
        Ask("listdir", {"dir": "build/missing"}),
        worker.CopyDirectory(src="build/sub", dest="build/sub2", **GO_ON),
        worker.CopyDirectory(src="build/missing", dest="build/sub3", **GO_ON),
        Remove(name="rmfile", **GO_ON),
        Ask("rmfile", {"path": "build/missing"}),
        worker.RemoveDirectory(dir="build/sub2", **GO_ON),
        worker.RemoveDirectory(dir=["build/sub", "build/made"], **GO_ON),
        worker.RemoveDirectory(dir="build/missing", **GO_ON),
        Ask("no such command", {"x": 1}),
        Ask("mkdir", {"no such argument": 1}),
    ]


def builders(settings):
    """Builder name -> steps."""
    flag = settings["flag"]
    sleep = f"echo started; touch {flag}; exec sleep 60"
    trap = f"trap 'echo caught; exit 5' TERM; echo started; touch {flag}; while :; do sleep 0.1; done"
    return {
        "quick": quick(),
        "shell": shell_steps(settings["secret"]),
        "unicode": [
            ShellCommand(command=["/bin/echo", "gr\u00fc\u00dfe \u2603"], env={"GREETING": "\u00e9"}, **GO_ON),
            ShellCommand(
                command="echo $GREETING \u00e9; cat",
                env={"GREETING": "\u00e9"},
                initialStdin="\u00e9\n",
                workdir="d\u00e9",
                **GO_ON,
            ),
        ],
        "bytes": [shell(r"printf 'bad \377\376 cut \303'; sleep 0.2; printf '\251\n\300\n'")],
        "volume": [shell("seq 1 12000"), shell("head -c 70000 /dev/zero | tr '\\000' x; echo")],
        "timeout": [
            shell("echo waiting; exec sleep 60", timeout=1),
            shell("while :; do echo busy; sleep 0.3; done", maxTime=1),
            shell("echo 1; echo 2; echo 3; sleep 60", max_lines=2, timeout=3),
        ],
        "interrupt": [shell(sleep)],
        "interrupt-term": [shell(trap, sigtermTime=2)],
        "transfer": transfer_steps(settings["master_file"], settings["upload_to"]),
        "files": file_steps(),
    }


def factory(steps):
    made = BuildFactory()
    made.addSteps(steps)
    return made


class Line(LineOnlyReceiver):
    delimiter = b"\n"

    def lineReceived(self, line):
        d = defer.ensureDeferred(self.factory.control.obey(json.loads(line)))
        d.addErrback(lambda failure: {"error": failure.getTraceback()})
        d.addCallback(lambda result: self.sendLine(json.dumps(result).encode()))


class Control(service.BuildbotService):
    """Obeys the recorder."""

    name = "control"
    port = None

    def reconfigService(self, port):
        if self.port is None:
            listener = Factory.forProtocol(Line)
            listener.control = self
            self.port = self.master.reactor.listenTCP(port, listener, interface="127.0.0.1")
        return defer.succeed(None)

    async def stopService(self):
        await self.port.stopListening()
        await super().stopService()

    async def obey(self, order):
        return await getattr(self, "do_" + order.pop("do"))(**order)

    async def do_ready(self):
        return {}

    async def attached(self):
        found = await self.master.data.get(("workers",))
        return [w["name"] for w in found if w["connected_to"]]

    async def do_wait(self, attached):
        """Until some worker is attached to all its builders, or none is connected any more."""
        for _ in range(400):
            if bool(await self.attached()) == attached:
                return {}
            await task.deferLater(self.master.reactor, 0.05, lambda: None)
        return {"error": "nothing happened in 20 seconds"}

    async def do_force(self, builder, limit=40):
        builderid = await self.master.data.updates.findBuilderId(builder)
        finished = defer.Deferred()

        def complete(key, message):
            if not finished.called:
                finished.callback(message)

        consumer = await self.master.mq.startConsuming(complete, ("buildsets", None, "complete"))
        try:
            await self.master.data.updates.addBuildset(
                waited_for=False,
                scheduler=None,
                reason="recording",
                builderids=[builderid],
                sourcestamps=[{"codebase": "", "branch": None, "revision": None, "repository": "", "project": ""}],
            )
            finished.addTimeout(limit, self.master.reactor)
            return {"results": (await finished)["results"]}
        except defer.TimeoutError:
            return {"error": "the build did not end"}
        finally:
            consumer.stopConsuming()

    async def do_stop_build(self):
        running = [b for b in await self.master.data.get(("builds",)) if not b["complete"]]
        for build in running:
            await self.master.data.control("stop", {"reason": "asked to"}, ("builds", build["buildid"]))
        return {"stopped": len(running)}

    async def do_cancel(self):
        """Drops what waits for a worker, so that the next conversation starts with nothing to do."""
        for request in await self.master.data.get(("buildrequests",)):
            if not request["complete"]:
                await self.master.data.control(
                    "cancel", {"reason": "over"}, ("buildrequests", request["buildrequestid"])
                )
        return {}

    async def do_stop_worker(self):
        for one in await self.master.data.get(("workers",)):
            if one["connected_to"]:
                await self.master.data.control("stop", {"reason": "asked to"}, ("workers", one["workerid"]))
        return {}

    async def do_reconfigure(self):
        await self.master.reconfig()
        log.msg("recording: reconfigured")
        return {}
