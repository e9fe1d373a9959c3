# SPDX-License-Identifier: Apache-2.0
"""A private httpd: its start, its end, its processes, and the judgement on what it left behind.

httpd runs in the foreground, as leader of a session and process group of its own. A test gets one from
the fixture `server`, which also closes it; close() returns what is wrong, and takes everything away.
"""

import contextlib
import datetime
import os
import re
import signal
import socket
import subprocess
import time

from . import openapi, paths, processes
from .client import Client
from .errorlog import ErrorLog, LogGuard
from .faketime import FakeClock, forget_the_dead, library
from .keys import write_atomically
from .ports import connection_is_open, port_is_free
from .serverroot import ServerRoot, allowed_lines
from .waiting import wait_until

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
KEYS_TIMEOUT_S = 30.0
KEYS_IN_FORCE, KEYS_REFUSED = "AQ00203", "AQ00202"
IDLE_TIMEOUT_S = 0.3
FORGETS_S = 0.01
IDLE_CHILDREN_TIMEOUT_S = 10.0
PORT_ATTEMPTS = 5
PORT_TAKEN = re.compile(r"AH00072|Address already in use")
RESUMED = r"resuming normal operations"
OVERWRITTEN_PID_FILE = r"AH00098: pid file .* overwritten"
# A child that is told to end at once closes the sockets of its workers under their hands.
CLOSED_BY_STOP = r"\(9\)Bad file descriptor: AH03093: "


class StartError(AssertionError):
    """httpd did not start. `output`: what it wrote on stderr and in the error log."""

    def __init__(self, output):
        super().__init__(f"httpd did not start:\n{output}")
        self.output = output


class Httpd(Client):
    """A server of its own for a test. `spec` is a serverroot.Spec.

    end_s: how long children, CGI daemon and worker may outlive the parent of a stopped server.
    """

    end_s = 30.0

    def __init__(self, spec):
        self.spec, self.root, self.keys = spec, ServerRoot(spec), spec.keys
        self.log = ErrorLog(self.root.path / "logs" / "error.log")
        self.console = ErrorLog(self.root.path / "logs" / "console.log")
        self.guard = LogGuard((self.log, self.console), allowed_lines(spec))
        self.clock = None
        if spec.faketime is not None:
            forget_the_dead()
            self.clock = FakeClock(self.root.path / "faketime", spec.faketime)
        self._process, self._has_run, self._start_mark = None, False, 0
        self._family = processes.Family(str(self.root.path))
        self._meant_to_end = self._closed = False
        self.save_keys()

    @property
    def port(self):
        return self.root.lease.port

    @property
    def pid(self):
        """The parent process."""
        return self._process.pid

    def check_response(self, method, path, fields, response):
        """Each response of an endpoint of ours is as the description says; for the client, which calls it."""
        openapi.check(self.spec.conf, method, path, tuple(fields), response)

    def running(self):
        return self._process is not None and self._process.poll() is None

    # ---- life ------------------------------------------------------------------------------------

    def start(self):
        """Starts httpd, and returns when it serves. StartError if it does not."""
        for _ in range(PORT_ATTEMPTS):
            try:
                self._start_once()
                self._has_run = True
                return self
            except StartError as failure:
                if self._has_run or not PORT_TAKEN.search(failure.output):
                    raise
                last = failure
                self.guard.forget()
                self.root.take_another_port()
        raise last

    def start_fails(self):
        """Starts httpd, which must refuse to, and returns what it wrote."""
        try:
            self.start()
        except StartError as failure:
            self.guard.forget()
            return failure.output
        raise AssertionError("httpd started, though it should have refused to")

    def stop(self, graceful=False, at_once=False):
        """Ends httpd by SIGTERM, or gracefully by SIGWINCH; fails if a process stays behind. at_once: also children that idle."""
        self._meant_to_end = True
        self.guard.expect(CLOSED_BY_STOP)
        idle = self._wait_for_connections()
        # Prefork's children end inside their signal handler, which crashes amid the threads of mod_http2.
        gently = graceful or (self.spec.mpm == "prefork" and "http2" in self.spec.modules)
        if idle and not gently and not at_once:
            self._end_idle_children()
        os.kill(self.pid, signal.SIGWINCH if gently else signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._kill_everything()
            raise AssertionError(f"httpd did not end within {STOP_TIMEOUT_S} s") from None
        self._end_of_family()

    def graceful(self, **how):
        """A graceful restart (SIGUSR1); see _reload."""
        self._reload(signal.SIGUSR1, **how)

    def restart(self, **how):
        """A restart (SIGHUP); see _reload."""
        self.guard.expect(CLOSED_BY_STOP)
        self._wait_for_connections()
        self._reload(signal.SIGHUP, **how)

    def kill9_parent(self):
        """Kills the parent alone: its children serve on. kill9_parent_and_orphans() must follow."""
        self._meant_to_end = True
        self.guard.expect(OVERWRITTEN_PID_FILE)
        self.family()  # Whom it had is hard to tell afterwards.
        os.kill(self.pid, signal.SIGKILL)
        self._process.wait(STOP_TIMEOUT_S)

    def kill9_parent_and_orphans(self):
        """Kills the parent, then all that was its: children, CGI daemon, worker."""
        if self.running():
            self.kill9_parent()
        left = self._family.kill()
        assert not left, f"still there: {left}"

    def kill_child(self, pid=None, number=signal.SIGKILL):
        """Kills a serving child (any, unless told), waits until it is gone, and returns its ID. Expects
        the line that httpd writes about signals other than SIGKILL, SIGTERM, SIGHUP and SIGUSR1."""
        pid = pid or self.child_pids()[0]
        self.guard.expect(rf"AH0005[12]: child pid {pid} exit signal")
        processes.send_signal(pid, number)
        assert wait_until(lambda: pid not in self.family(), STOP_TIMEOUT_S), f"{pid} lives on"
        return pid

    def close(self):
        """Ends the server and removes its folder; returns what was wrong, as a list of sentences.
        A second call does nothing."""
        if self._closed:
            return []
        self._closed = True
        problems = self._end()
        if not port_is_free(self.port):
            problems.append(f"port {self.port} is still taken")
        problems += self.verdict()
        self.root.remove()
        return problems

    # ---- configuration ---------------------------------------------------------------------------

    def write_conf(self, conf):
        """Replaces the test's part of the configuration; a restart puts it in force."""
        self.spec.conf = conf
        self.root.write_conf()

    def configtest(self, conf=None):
        """Runs `httpd -t`, with `conf` in place of the test's text; returns (status, what it wrote)."""
        self.root.write_conf(conf)
        ran = subprocess.run(self._command("-t"), env=self._environment(), capture_output=True,
                             text=True, timeout=60, check=False)
        self.root.write_conf()
        return ran.returncode, ran.stderr + ran.stdout

    def save_keys(self, text=None):
        """Puts `keys` (or any text) into the keys file, by rename."""
        if text is None:
            self.keys.write(self.root.keys_file)
        else:
            write_atomically(self.root.keys_file, text)

    def load_keys(self, text=None, said=KEYS_IN_FORCE):
        """Puts them there, and returns when every child has them in force: each looks for itself. said: as keys_loaded()."""
        with self.keys_loaded(said):
            self.save_keys(text)

    @contextlib.contextmanager
    def keys_loaded(self, said=KEYS_IN_FORCE):
        """Behind the block, which changes the keys file, every child has this version in force, or, with KEYS_REFUSED as
        what it has `said`, has refused one."""
        mark = self.log.mark()
        yield
        second, ms = divmod(self.root.keys_file.stat().st_mtime_ns // 1000000, 1000)
        written = datetime.datetime.fromtimestamp(second, datetime.timezone.utc).strftime(rf"%FT%T\.{ms:03}Z")
        version = f".* of {written}: " if said == KEYS_IN_FORCE else ""
        line = re.compile(rf"\[pid (\d+)[^]]*\] (?:\([^)]*\)[^:]*: )?{said}{version}")

        def is_everywhere():
            return set(line.findall(self.log.text(mark))).issuperset(map(str, self.child_pids()))

        assert wait_until(is_everywhere, KEYS_TIMEOUT_S), "some child has not read the keys file"

    # ---- processes -------------------------------------------------------------------------------

    def family(self):
        """Every living process of this server, by ID."""
        return self._family.living()

    def child_pids(self):
        """The children that serve (and old ones that finish), without CGI daemon and worker."""
        name = processes.read_process(self.pid).name
        mine = [p.pid for p in self.family().values() if p.parent == self.pid and p.name == name]
        if "cgi" not in self.spec.modules:
            return mine
        socket_path = str(self.root.path / "run" / "cgid.sock")
        return [pid for pid in mine if not processes.listens_on_unix_socket(pid, socket_path)]

    def worker_pid(self):
        """The apiquota-worker that belongs to this server, or None."""
        found = [p.pid for p in self.family().values() if p.name == paths.WORKER.name[:15]]
        assert len(found) < 2, f"{len(found)} workers: {found}"
        return found[0] if found else None

    # ---- logs ------------------------------------------------------------------------------------

    def expect_log(self, pattern, must=False):
        """Allows error-log lines with the pattern in this test; with `must`, one has to come."""
        self.guard.expect(pattern, must)

    def verdict(self, wait_s=0):
        """What the error log (and stderr) hold that nobody expected, since the last verdict; see LogGuard."""
        return self.guard.verdict(wait_s)

    def access_log(self):
        """Lines `EPOCH-SECONDS "REQUEST" STATUS BYTES-SENT END`, END being X where the client went away."""
        return (self.root.path / "logs" / "access.log").read_text(errors="replace").splitlines()

    # ---- inside ----------------------------------------------------------------------------------

    def _command(self, *more):
        return [paths.HTTPD, "-d", str(self.root.path), "-f", str(self.root.conf), *more]

    def _environment(self):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("LD_PRELOAD", "APACHE_"))}
        preload = ([library()] if self.clock else []) + paths.sanitizer_preload()
        ours = {processes.TAG_VARIABLE: str(self.root.path), "LC_ALL": "C"}
        if preload:
            ours.update(paths.sanitizer_environment(), LD_PRELOAD=":".join(preload))
        clock = self.clock.environment() if self.clock else {}
        return {**kept, **ours, **clock, **self.spec.env}

    def _start_once(self):
        self.root.write_conf()
        self._start_mark, console_mark = self.log.mark(), self.console.mark()
        with (self.root.path / "logs" / "console.log").open("ab") as console:
            self._process = subprocess.Popen(
                self._command("-DFOREGROUND"), env=self._environment(), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        self._family.led_by(self._process.pid)
        self._meant_to_end = False
        wait_until(lambda: not self.running() or self._serves(), START_TIMEOUT_S)
        if not (self.running() and self._serves()):
            self._kill_failed_start()
            raise StartError(self.console.text(console_mark) + self.log.text(self._start_mark))

    def _kill_failed_start(self):
        # Only this start's processes: orphans of an earlier one may be what the test is about.
        self._meant_to_end = True
        for pid in [p.pid for p in self.family().values() if p.group == self.pid]:
            processes.send_signal(pid, signal.SIGKILL)
        self._process.wait(STOP_TIMEOUT_S)

    def _serves(self):
        # The PID file is written after the port was bound: who answers is this httpd and no other.
        written = self.root.pid_file.exists() and self.root.pid_file.read_text().strip()
        if written != str(self.pid) or not self.log.matching(RESUMED, self._start_mark):
            return False
        if not self.child_pids():
            return False
        with socket.create_connection(("127.0.0.1", self.port), 5):
            return True

    def _wait_for_connections(self):
        """Waits for connections that are about to end; returns whether none is left. A thread forgets its connection
        a moment after it has closed it, and nothing outside tells when: hence the pause."""
        idle = wait_until(lambda: not connection_is_open(self.port), IDLE_TIMEOUT_S)
        time.sleep(FORGETS_S)
        return idle

    def _end_idle_children(self):
        """A child of event that is told to end at once looks at the sockets of its threads, and crashes where a thread
        has just freed one (without this module, too). So children with nothing to do are asked to end before that;
        the parent, which looks at them once a second, hears SIGTERM as soon as they are gone."""
        os.kill(self.pid, signal.SIGWINCH)
        wait_until(lambda: not self.child_pids(), IDLE_CHILDREN_TIMEOUT_S)

    def _reload(self, number, wait_for_old=True, timeout_s=60.0):
        """Signals the parent and waits until it serves again and, unless told not to, until the
        children of before have ended (those that still answer a request take their time)."""
        before, mark = set(self.child_pids()), self.log.mark()
        os.kill(self.pid, number)
        came = wait_until(lambda: not self.running() or self.log.matching(RESUMED, mark), timeout_s)
        assert came and self.running(), f"httpd did not come back:\n{self.log.tail()}"
        assert wait_until(lambda: set(self.child_pids()) - before, timeout_s), "no new children"
        if wait_for_old:
            ended = wait_until(lambda: not before & set(self.child_pids()), timeout_s)
            assert ended, f"children of before still run: {before & set(self.child_pids())}"

    def _end(self):
        problems = []
        try:
            if self.running():
                self.stop()
            else:
                self._end_of_family()
        except AssertionError as failure:
            problems.append(str(failure))
        if self._process is not None and not self._meant_to_end:
            problems.append(f"httpd ended by itself, with {self._process.returncode}")
        return problems

    def _end_of_family(self):
        left = self._family.wait_gone(self.end_s)
        if left:
            self._kill_everything()
            raise AssertionError(f"left behind by httpd: {sorted(left.values())}")

    def _kill_everything(self):
        self._meant_to_end = True
        self._family.kill()
        if self._process is not None:
            self._process.wait(STOP_TIMEOUT_S)
