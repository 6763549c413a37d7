# Written by ganger-bootstrap for this machine alone. What differs between machines is in worker.json.

import json
import os
import sys

from twisted.application import service
from twisted.python import log

from buildbot_worker.bot import Worker

basedir = os.path.abspath(os.path.dirname(__file__))
with open(os.path.join(basedir, 'worker.json')) as settings:
    settings = json.load(settings)

application = service.Application('buildbot-worker')
application.setComponent(log.ILogObserver, log.FileLogObserver(sys.stdout).emit)
worker = Worker(
    settings['host'],
    settings['port'],
    settings['name'],
    settings['password'],
    basedir,
    settings['keepalive'],
    maxdelay=30,
)
worker.setServiceParent(application)
