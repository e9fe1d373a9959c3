# SPDX-License-Identifier: Apache-2.0
"""A worker that a test starts by itself, beside a server with `worker=False` or beside that server's own worker."""

import os
import signal
import subprocess
import time

from . import batches, paths, processes
from .errorlog import ErrorLog
from .waiting import eventually


def suspend(web, pid):
    """Stops a worker, every thread of it, while it does not hold the queue's write lock, which it would keep."""
    lock = batches.folder(web) / "queue.db.lock"
    while True:
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: processes.is_stopped(pid), what="the stop")
        with open("/proc/locks", encoding="ascii") as locks:
            if not lock.exists() or not any(f" {pid} " in line and f":{lock.stat().st_ino} " in line for line in locks):
                return
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.01)  # not a wait: it is to let the lock go


class OwnWorker:
    """Runs as httpd's user; what it says stands in `log`. The server ends it where the test does not."""

    def __init__(self, web, *options, env=None):
        self._web, self._options, self._process, self._env = web, options, None, env or {}
        self._log_file = web.root.path / "logs" / f"worker-{id(self)}.log"
        self.log = ErrorLog(self._log_file)

    def start(self):
        user = {"user": paths.HTTPD_USER, "group": paths.HTTPD_USER, "extra_groups": []} if paths.AS_ROOT else {}
        environment = {**os.environ, processes.TAG_VARIABLE: str(self._web.root.path)}
        environment.pop("LD_PRELOAD", None)
        environment.update(self._env)
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [paths.WORKER, "--state-dir", self._web.root.state, *self._options], env=environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **user)

    @property
    def pid(self):
        return self._process.pid

    def kill(self):
        self._process.kill()
        self._process.wait(60)

    def suspend(self):
        suspend(self._web, self.pid)

    def resume(self):
        os.kill(self.pid, signal.SIGCONT)

    def stop(self):
        self._process.terminate()
        assert self._process.wait(60) == 0
