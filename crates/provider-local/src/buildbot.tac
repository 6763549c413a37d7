# Written by Ganger for one machine of a pool. Everything that differs between machines is in metadata.json.

import json
import os

from twisted.application import service
from twisted.internet import reactor, task, tcp
from twisted.python import log

from buildbot_worker.bot import Worker

# What is printed goes to one file; when that is longer, its second half is kept.
CONSOLE_LIMIT = 256 * 1024


class Console(object):
    def write(self, text):
        try:
            if os.fstat(1).st_size > CONSOLE_LIMIT:
                os.lseek(1, -CONSOLE_LIMIT // 2, os.SEEK_END)
                end = os.read(1, CONSOLE_LIMIT // 2)
                os.ftruncate(1, 0)
                os.write(1, end)
        except OSError:
            # Not a file: somebody runs this by hand.
            pass
        os.write(1, text.encode('utf-8', 'replace'))

    def flush(self):
        pass


class DeadMan(object):
    """Ends the worker when it has had no connection for too long."""

    def __init__(self, silence):
        self.silence = silence
        self.heard = reactor.seconds()

    def look(self):
        sockets = reactor.getReaders() + reactor.getWriters()
        if any(isinstance(socket, tcp.Connection) and socket.connected for socket in sockets):
            self.heard = reactor.seconds()
        elif reactor.seconds() - self.heard > self.silence:
            log.msg('no master for %d seconds: this machine ends' % self.silence)
            reactor.stop()

    def start(self):
        task.LoopingCall(self.look).start(min(30, max(1, self.silence / 4.0)))


basedir = os.path.abspath(os.getcwd())
with open(os.path.join(basedir, 'metadata.json')) as document:
    metadata = json.load(document)
settings = metadata.get('settings', {})
host, _, port = metadata['master']['address'].rpartition(':')

application = service.Application('buildbot-worker')
application.setComponent(log.ILogObserver, log.FileLogObserver(Console()).emit)
worker = Worker(
    host.strip('[]'),
    int(port),
    metadata['worker']['name'],
    metadata['worker']['password'],
    basedir,
    settings.get('keepalive', 600),
)
worker.setServiceParent(application)
if settings.get('silence'):
    reactor.callWhenRunning(DeadMan(settings['silence']).start)
