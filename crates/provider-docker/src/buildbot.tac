# Written by Ganger for one container of a pool. Who the worker is stands beside it, in document.json.

import json
import os
import sys

from twisted.application import service
from twisted.internet import reactor, task, tcp
from twisted.python import log

from buildbot_worker.bot import Worker


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


with open('/run/ganger/document.json') as document:
    document = json.load(document)
with open('/proc/sys/kernel/random/uuid') as uuid:
    os.environ['GANGER_BOOT_ID'] = uuid.read().strip()
settings = document.get('settings', {})
host, _, port = document['master']['address'].rpartition(':')

application = service.Application('buildbot-worker')
application.setComponent(log.ILogObserver, log.FileLogObserver(sys.stdout).emit)
worker = Worker(
    host.strip('[]'),
    int(port),
    document['worker']['name'],
    document['worker']['password'],
    os.path.abspath(os.getcwd()),
    settings.get('keepalive', 600),
    maxdelay=30,
)
worker.setServiceParent(application)
if settings.get('silence'):
    reactor.callWhenRunning(DeadMan(settings['silence']).start)
