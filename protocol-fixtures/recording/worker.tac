# Starts the worker service of any Buildbot generation; `settings.json` in the current directory is written by record.py.
import inspect
import json
import os

from twisted.application import service

try:
    from buildbot_worker.bot import Worker
    optional = {}
except ImportError:
    from buildslave.bot import BuildSlave as Worker
    optional = {"usePTY": False}

with open("settings.json") as source:
    settings = json.load(source)
# Python 2 workers get byte strings, as from their own create-slave.
settings = dict((str(key), str(value) if isinstance(value, type(u"")) else value) for key, value in settings.items())
get_arguments = getattr(inspect, "getfullargspec", None) or inspect.getargspec
known = get_arguments(Worker.__init__)[0]
for key, value in (("keepaliveTimeout", 1), ("maxdelay", 3), ("allow_shutdown", "signal")):
    if key in known:
        optional[key] = value
application = service.Application("worker")
Worker(settings["host"], settings["port"], settings["name"], settings["password"], os.getcwd(),
       keepalive=settings["keepalive"], **optional).setServiceParent(application)
