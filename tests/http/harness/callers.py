# SPDX-License-Identifier: Apache-2.0
"""Clients that ask again and again, while something is done to the server."""

import http.client
import threading


class Callers:
    """`count` of them, each on a connection of its own, until the block is left.

    once: each request on a connection of its own, which a graceful restart does not break. dead_ok: a server that is not
    there is asked again.

    answered: how many answers of 200 came; others: other answers; lost: requests whose connection ended without an
    answer; hung: requests that had none after half a minute.
    """

    def __init__(self, web, key, count, path="/v1/item.json", once=False, dead_ok=False):
        self._web, self._key, self._path, self._once, self._dead_ok = web, key, path, once, dead_ok
        self._end, self._lock = threading.Event(), threading.Lock()
        self.answered = self.lost = self.hung = 0
        self.others = []
        self._threads = [threading.Thread(target=self._call) for _ in range(count)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _call(self):
        while not self._end.is_set():
            with self._web.session(timeout_s=30) as session:
                self._use(session)

    def _use(self, session):
        while not self._end.is_set():
            try:
                answer = session.get(self._path, key=self._key)
            except ConnectionRefusedError:
                if not self._dead_ok:
                    self._note("lost")
                self._end.wait(0.02)
                return
            except TimeoutError:
                self._note("hung")
                return
            except (OSError, http.client.HTTPException):
                self._note("lost")
                return
            if answer.status == 200:
                self._note("answered")
            else:
                self.others.append(answer)
            if self._once:
                return

    def _note(self, what):
        with self._lock:
            setattr(self, what, getattr(self, what) + 1)
