#!/usr/bin/env python3
"""Many stock buildbot-worker services in one process, whose `shell` command forks nothing.

    python workers.py --host HOST --port PORT --first F --count N    (with the Python of the environment worker-4.3.0)

The workers are called PREFIXF to PREFIX(F+N-1) and share one password. Their `shell` command understands

    emit LINES BYTES     prints LINES lines of BYTES bytes each, the newline included
    sleep SECONDS        does nothing for so long; can be interrupted
    anything else        does nothing

and everything else about them (login, builders, buffers, line splitting, updates) is buildbot-worker's own code. Prints
`attached K` each time one more worker has been given its builders for the first time, `lost K` when a connection ended.
"""

import argparse
import os
import random
import sys
import tempfile

from buildbot_worker import pb as worker_pb
from buildbot_worker.bot import Worker
from buildbot_worker.commands import base, registry
from twisted.internet import defer, reactor, task

# What a pipe gives at a time.
CHUNK = 65536


# Words of a build's log. A line of one letter would cost a master nothing to compress.
WORDS = (
    "gcc -O2 -Wall -c -o warning: error: note: unused variable declared here in function main.c util.c parser.y include/config.h "
    "src/net/socket.c expected before token PASS FAIL ok test_login test_transfer linking libcore.so building object CC LD AR install"
).split()


def tails(count=997):
    """Different ends of lines, the same in every run."""
    chooser = random.Random(1)
    return [" ".join(chooser.choices(WORDS, k=40)) for _ in range(count)]


TAILS = tails()


def line(number, size):
    """A line of `size` bytes with its newline."""
    text = f"{number:07d} {TAILS[number * 7919 % len(TAILS)]}"
    return text[: size - 1].ljust(size - 1, ".") + "\n"


class NoProcess(base.Command):
    """A `shell` that only says what a process would have said."""

    requiredArgs = ["command", "workdir"]
    waiting = None

    @defer.inlineCallbacks
    def start(self):
        words = self.args["command"]
        words = words.split() if isinstance(words, str) else list(words)
        self.sendStatus([("header", f"{' '.join(map(str, words))}\n in dir {self.args['workdir']}\n")])
        if words[0] == "emit":
            yield self.emit(int(words[1]), int(words[2]))
        elif words[0] == "sleep":
            yield self.sleep(float(words[1]))
        self.sendStatus([("rc", -1 if self.interrupted else 0)])

    @defer.inlineCallbacks
    def emit(self, lines, size):
        pending, number = [], 0
        while number < lines and not self.interrupted:
            pending.append(line(number, size))
            number += 1
            if len(pending) * size >= CHUNK or number == lines:
                self.sendStatus([("stdout", "".join(pending))])
                pending.clear()
                # Other workers, and the socket, have their turn as they would between two reads of a pipe.
                yield task.deferLater(reactor, 0, lambda: None)

    @defer.inlineCallbacks
    def sleep(self, seconds):
        self.waiting = task.deferLater(reactor, seconds, lambda: None)
        try:
            yield self.waiting
        except defer.CancelledError:
            pass

    def interrupt(self):
        self.interrupted = True
        if self.waiting is not None:
            self.waiting.cancel()


class Count:
    """How many workers are attached."""

    def __init__(self):
        self.attached = 0
        given = worker_pb.BotPbLike.remote_setBuilderList

        def set_builder_list(bot, wanted):
            if not getattr(bot, "counted", False):
                bot.counted = True
                self.say("attached", 1)
            return given(bot, wanted)

        worker_pb.BotPbLike.remote_setBuilderList = set_builder_list

    def say(self, what, change):
        self.attached += change
        print(what, self.attached, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--prefix", default="w")
    parser.add_argument("--password", default="sekrit")
    parser.add_argument(
        "--directory", help="where the workers keep their builders' directories; a temporary one without it"
    )
    arguments = parser.parse_args()
    registry.commandRegistry["shell"] = NoProcess
    Count()
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(arguments.count):
            name = f"{arguments.prefix}{arguments.first + number}"
            home = os.path.join(arguments.directory or scratch, name)
            os.makedirs(os.path.join(home, "info"), exist_ok=True)
            worker = Worker(arguments.host, arguments.port, name, arguments.password, home, keepalive=600)
            # A little apart, as the machines of a farm are; all at once would measure the kernel's backlog.
            reactor.callLater(number * 0.002, worker.startService)
        reactor.run()


if __name__ == "__main__":
    sys.exit(main())
