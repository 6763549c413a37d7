#!/bin/sh
# Makes a root file system one of a worker's machine: run inside it, as root, with the files of this directory beside the script.
#
#   provision.sh BOOTSTRAP      the program ganger-bootstrap
#
# Stock buildbot-worker, pinned; a user for it; the unit that starts ganger-bootstrap. Nothing about a master, a name or a
# password: that comes from the instance's metadata. WHEELS names a directory to install from instead of PyPI; PYTHON
# another interpreter, from 3.11 on.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
bootstrap=$1
worker=/opt/buildbot-worker

if ! id buildbot >/dev/null 2>&1; then
    useradd --system --user-group --home-dir /var/lib/buildbot-worker --shell /bin/sh buildbot
fi
install -d -o buildbot -g buildbot -m 700 /var/lib/buildbot-worker

"${PYTHON:-python3}" -m venv "$worker"
if [ -n "${WHEELS:-}" ]; then
    "$worker/bin/pip" install --quiet --no-index --find-links "$WHEELS" --requirement "$here/worker.txt"
else
    "$worker/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/worker.txt"
fi
"$worker/bin/python" -m compileall -q "$worker/lib" >/dev/null || true

install -D -m 755 "$bootstrap" /usr/local/sbin/ganger-bootstrap
cp -R "$here/overlay/." /
systemctl enable ganger-bootstrap.service
# Images have no identity of their own.
: > /etc/machine-id
rm -f /etc/ssh/ssh_host_* /var/lib/ganger/* 2>/dev/null || true
