# SPDX-License-Identifier: Apache-2.0
"""A clock for httpd that the test moves while the server runs (libfaketime, preloaded).

Only the wall clock is faked; the monotonic one goes on as it does. A frozen clock stops httpd's own
wall-clock timers too (mod_watchdog, keep-alive time-outs): freeze for arithmetic, offset for the rest.
"""

import contextlib
import glob
import os
import re
import time

LIBRARY_PATTERN = "/usr/lib/*/faketime/libfaketimeMT.so.1"
# What a worker under libfaketime may say (server(allow=…)): there a wait for another of its threads ends at once.
ENDS_WAITS = r"The given lock was busy.: AQ00(604|606|611|632): "
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class FakeClock:
    """The time that a server sees, held in a file that libfaketime reads at each look at the clock."""

    def __init__(self, path, offset="+0"):
        self._path = path
        self._offset_s, self._frozen_s = parse_offset(offset), None
        self._write()

    def set_offset(self, offset):
        """"+1d", "-90m" or seconds, counted from the real time; the clock goes on from there."""
        self._offset_s, self._frozen_s = parse_offset(offset), None
        self._write()

    def set_to(self, epoch_s):
        """Sets the clock to an instant; it goes on from there."""
        self.set_offset(epoch_s - time.time())

    def freeze(self, epoch_s):
        """Sets the clock to a whole second, and stops it there."""
        self._frozen_s = int(epoch_s)
        self._write()

    def advance(self, seconds):
        """Moves the clock, frozen or not, by whole or broken seconds."""
        if self._frozen_s is not None:
            self.freeze(self._frozen_s + seconds)
        else:
            self.set_offset(self._offset_s + seconds)

    def now(self):
        """The time that the server sees, in epoch seconds."""
        return time.time() + self._offset_s if self._frozen_s is None else float(self._frozen_s)

    def environment(self):
        """What httpd needs in its environment, but LD_PRELOAD."""
        return {"FAKETIME_TIMESTAMP_FILE": str(self._path), "FAKETIME_NO_CACHE": "1",
                "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_DISABLE_SHM": "1", "TZ": "UTC"}

    def _write(self):
        text = f"{self._offset_s:+.6f}"
        if self._frozen_s is not None:
            text = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self._frozen_s))
        fresh = self._path.with_suffix(".new")
        fresh.write_text(text + "\n")
        fresh.chmod(0o644)
        os.replace(fresh, self._path)


def forget_the_dead():
    """libfaketime leaves a semaphore of each process that was killed, named after its ID; the next process of that ID ends
    over it. So those whose process is gone are removed."""
    for path in glob.glob("/dev/shm/*faketime_*_*"):
        process = path.rpartition("_")[2]
        if process.isdigit() and not os.path.exists(f"/proc/{process}"):
            with contextlib.suppress(OSError):
                os.unlink(path)


def parse_offset(offset):
    """Seconds of "+1d", "-2h", "90" or a number."""
    if isinstance(offset, (int, float)):
        return float(offset)
    parts = re.fullmatch(r"([+-]?\d+(?:\.\d+)?)([smhd]?)", offset)
    if not parts:
        raise ValueError(f"not an offset: {offset!r}")
    return float(parts[1]) * SECONDS[parts[2]]


def library():
    """The path of libfaketime for programs with threads; the test fails without it."""
    found = sorted(glob.glob(LIBRARY_PATTERN))
    if not found:
        raise RuntimeError(f"no {LIBRARY_PATTERN}: install the package faketime")
    return found[0]
