# SPDX-License-Identifier: Apache-2.0
"""Somebody who follows a guide block by block, at a private httpd in place of the machine's own.

    reader = Reader(web, backend)
    for block in guides.blocks(document): reader.read(block)

    sh        is pasted into one shell, whose variables stay; each command must succeed
    apache    is added to the configuration, and httpd reads it again
    http      a request is sent; an answer, or header fields alone, must be like the last one
    json      must be like the body of the last answer, or what the shell printed last
    text      must be like what the shell printed last

Paths and addresses of the guide are replaced by those of the server (guides.at_home). The shell finds stand-ins for what would
touch this machine: a2enmod and its like make the same links in the server's folder, apachectl speaks to this server and returns
when it is done, apt-get does nothing. tests/package follows the guides with the real ones.
"""

import json
import os
import re
import subprocess
import threading

from . import guides, paths
from .faketime import library
from .waiting import wait_until
from .wire import Response

# A change is in force within a second, which whoever types has let pass.
CHANGES_KEYS = re.compile(r"\bapiquotactl (key (create|revoke|rotate)|tenant set)")
BLOCK_TIMEOUT_S = 120
MARK = "--- end of block ---"
ENABLE = """\
#!/bin/sh -e
# Stands for a2enmod, a2enconf, a2ensite and a2dis…: links below enabled/, which the server includes.
cd '{root}'
for name; do
    case $name in -*) continue ;; esac
    for file in mods-available/$name.conf conf-available/$name.conf sites-available/$name.conf; do
        [ -e "$file" ] || continue
        case $0 in *a2en*) ln -sf "../$file" enabled/ ;; *) rm -f "enabled/$name.conf" ;; esac
    done
done
"""
CONTROL = """\
#!/bin/sh
# Asks the test to do it, and waits until it is done.
echo "$*" >'{root}/asked'
read -r code <'{root}/answered'
exit "$code"
"""
CTL = """\
#!/bin/sh
clock='{clock}'
[ -e '{root}/state/runtime.json' ] || set -- --key-file '{root}/keys.json' "$@"
exec env $clock '{ctl}' --state-dir '{root}/state' "$@"
"""
NOTHING = "#!/bin/sh\n"
FOLDERS = ("enabled", "conf-available", "mods-available", "sites-available")


def _words(clock):
    """What `env` sets for a program to live by the server's clock."""
    if not clock:
        return ""
    environment = {**paths.sanitizer_environment(), **clock.environment(),
                   "LD_PRELOAD": ":".join([library(), *paths.sanitizer_preload()])}
    return " ".join(f"{name}={value}" for name, value in environment.items())


def _fifo(path):
    """A FIFO, open both ways: nobody who opens it is kept waiting, nor reads its end."""
    os.mkfifo(path)
    return os.open(path, os.O_RDWR)


class Shell:
    """A shell that keeps what blocks set, with a folder of its own to work in."""

    def __init__(self, root, control, clock):
        self._control = control
        self.folder = root / "reader"
        self.folder.mkdir()
        (root / "bin").mkdir()
        for name, text in self._stand_ins().items():
            (root / "bin" / name).write_text(text.format(root=root, ctl=paths.CTL, clock=_words(clock)))
            (root / "bin" / name).chmod(0o755)
        self._asked, self._answered = _fifo(root / "asked"), _fifo(root / "answered")
        self._process = subprocess.Popen(["bash", "-e"], cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.STDOUT, text=True, start_new_session=True,
                                         env={**os.environ, "PATH": f"{root}/bin:{os.environ['PATH']}", "HOME": str(self.folder)})
        self._server = threading.Thread(target=self._serve)
        self._server.start()

    @staticmethod
    def _stand_ins():
        enable = {f"a2{verb}{what}": ENABLE for verb in ("en", "dis") for what in ("mod", "conf", "site")}
        owner = {} if paths.AS_ROOT else {"chgrp": NOTHING, "chown": NOTHING}
        return {**enable, **owner, "apachectl": CONTROL, "apt-get": NOTHING, "apiquotactl": CTL}

    def run(self, text):
        """Runs a block; returns what it printed. A command that fails ends the shell, and the test."""
        script = self.folder / ".block"
        script.write_text(text)
        watch = threading.Timer(BLOCK_TIMEOUT_S, self._process.kill)
        watch.start()
        self._process.stdin.write(f". {script} </dev/null\necho\necho '{MARK}'\n")
        self._process.stdin.flush()
        printed = []
        for line in self._process.stdout:
            if line.rstrip("\n") == MARK:
                break
            printed.append(line)
        watch.cancel()
        output = "".join(printed)
        assert self._process.poll() is None and line.rstrip("\n") == MARK, f"failed:\n{text}\nprinted:\n{output}"
        return output[:-1]

    def close(self):
        self._process.stdin.close()
        if not wait_until(lambda: self._process.poll() is not None, 10):
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        os.write(self._asked, b"end\n")
        self._server.join()
        os.close(self._asked)
        os.close(self._answered)

    def _serve(self):
        with open(self._asked, encoding="utf-8", closefd=False) as questions:
            while (asked := questions.readline().strip()) != "end":
                try:
                    code = self._control(asked)
                except Exception as failure:  # pylint: disable=broad-except
                    print(f"apachectl {asked}: {failure}")
                    code = 1
                os.write(self._answered, b"%d\n" % code)


class Reader:
    """`web` is a server that need not run yet; close() ends the shell, and the server ends by its fixture.

    Where the server has a clock (faketime), all of the guide happens by it.

    known: texts of the guide and what stands for them here, put into each block before it is done.
    """

    def __init__(self, web, backend=None, known=None):
        self.web, self.backend = web, backend
        self.known = dict(known or {})
        self.answer = None   # the last response
        self.printed = None  # what the shell printed last; None once something was asked without it
        self._shell, self._keys_changed = None, False
        for name in FOLDERS:
            (web.root.path / name).mkdir()

    def ship(self, name, text):
        """A file that the package brings along."""
        (self.web.root.path / name).write_text(text)

    def close(self):
        if self._shell:
            self._shell.close()

    def read(self, block):
        """Does a block, by its language."""
        try:
            getattr(self, f"read_{block.language}")(block.text)
        except AssertionError as failure:
            raise AssertionError(f"{block.document}:{block.line}: {failure}") from None

    # ---- by language -----------------------------------------------------------------------------

    def read_apache(self, text):
        self.web.spec.conf += self.here(text)
        self.control("graceful" if self.web.running() else "start")

    def read_sh(self, text):
        self._shell = self._shell or Shell(self.web.root.path, self.control, self.web.clock)
        if "curl" in text:
            self._wait_for_keys()
        self.printed = self._shell.run(self.here(text))
        self._keys_changed = self._keys_changed or bool(CHANGES_KEYS.search(text))
        heads = list(re.finditer(r"^HTTP/1\.1 (\d+).*?\n((?:.+\n)*?)\r?\n", self.printed, re.M))
        self.answer = None
        if heads:
            fields = [tuple(line.strip().split(": ", 1)) for line in heads[-1][2].splitlines() if ": " in line]
            self.answer = Response(int(heads[-1][1]), fields, self.printed[heads[-1].end():].encode())

    def read_http(self, text):
        first, _, rest = text.partition("\n")
        if first.startswith("HTTP/"):
            self.compare(int(first.split()[1]), rest)
        elif re.match(r"[A-Z]+ /", first):
            self.send(*first.split()[:2], rest)
        else:
            self.compare(self.answer.status, text)

    def read_json(self, text):
        shown = guides.values_of(text)
        real = guides.values_of(self.answer.text if self.answer else self.printed)
        assert len(shown) == len(real), f"{len(real)} values in place of {len(shown)}: {real}"
        differ = [sentence for pair in zip(shown, real) for sentence in guides.unlike(*pair)]
        assert not differ, f"{'; '.join(differ)}\nreal: {json.dumps(real)}"
        self.learn(text, json.dumps(real))

    def read_text(self, text):
        printed = "\n".join(line.rstrip() for line in self.printed.strip("\n").splitlines())
        shown = "\n".join(line.rstrip() for line in text.strip("\n").splitlines())
        assert guides.is_like(shown, printed), f"printed:\n{printed}\nshown:\n{shown}"

    # ---- how -------------------------------------------------------------------------------------

    def here(self, text):
        """A text of the guide with what stands for it here."""
        text = guides.at_home(text, self.backend and self.backend.url, str(self.web.root.path))
        text = re.sub(r"https?://(localhost|api\.example\.com)\b", f"http://127.0.0.1:{self.web.port}", text)
        for written, ours in self.known.items():
            text = text.replace(written, str(ours))
        return text

    def control(self, words):
        """What apachectl is asked; returns its exit code."""
        if words == "configtest":
            code, said = self.web.configtest()
            print(said)
            return code
        if words in ("graceful", "restart") and not self.web.running():
            words = "start"
        if words == "graceful":
            self.web.root.write_conf()
        {"start": self.web.start, "stop": self.web.stop, "restart": self.web.restart, "graceful": self.web.graceful}[words]()
        return 0

    def send(self, method, path, rest):
        head, _, body = rest.partition("\n\n")
        fields = [tuple(self.here(line).split(": ", 1)) for line in head.splitlines() if line]
        fields = [(name, self.answer.headers["ETag"] if (name, value) == ("If-None-Match", "…") else value)
                  for name, value in fields if name != "Host"]
        self._wait_for_keys()
        self.answer = self.web.request(method, self.here(path), headers=fields, body=body.encode() or None)
        self.printed = None

    def _wait_for_keys(self):
        """Until each child has read the keys file after its last change; it is touched, so that each must."""
        if self._keys_changed and self.web.running():
            with self.web.keys_loaded():
                os.utime(self.web.root.keys_file)
        self._keys_changed = False

    def compare(self, status, rest):
        """The last answer is like one that is shown: its status, and each header field."""
        head, _, body = rest.partition("\n\n")
        assert self.answer, "an answer is shown, and nothing was asked"
        assert self.answer.status == status, self.answer
        for line in head.splitlines():
            name, shown = line.split(": ", 1)
            real = self.answer.headers[name]
            assert guides.is_like(shown, real), f"{name} is {real!r}, {shown!r} is shown"
            self.learn(shown, real)
        if body:
            self.read_json(body)

    def learn(self, shown, real):
        """IDs that the guide goes on to use."""
        for kind in ("batch", "message"):
            pattern = guides.VARYING_IS[kind]
            written, ours = re.search(pattern, shown), re.search(pattern, real)
            if written and ours:
                self.known.setdefault(written[0], ours[0])
