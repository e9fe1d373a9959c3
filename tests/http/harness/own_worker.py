# SPDX-License-Identifier: Apache-2.0
"""A worker that a test starts by itself, beside a server with `worker=False` or beside that server's own worker."""

import os
import signal
import subprocess

from . import paths, processes
from .errorlog import ErrorLog


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
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self):
        os.kill(self.pid, signal.SIGCONT)

    def stop(self):
        self._process.terminate()
        assert self._process.wait(60) == 0
