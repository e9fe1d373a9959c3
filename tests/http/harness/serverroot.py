# SPDX-License-Identifier: Apache-2.0
"""The private folder of a test server, and the httpd.conf in it.

    httpd.conf   ours: modules, paths, logs       test.conf   the test's text, included last
    htdocs/      documents, the same set below v1/            cgi-bin/    for add_cgi()
    state/       APIQuotaStateDir                 keys.json   APIQuotaKeyFile
    logs/        error.log access.log             run/        pid file, sockets

The folder is readable for httpd's user, and does not lie below pytest's own 0700 folders.
"""

import dataclasses
import os
import pathlib
import shutil
import tempfile

from . import paths
from .keys import Keys
from .ports import PortLease

BASE_MODULES = ("unixd", "log_config", "authn_core", "authz_core", "authz_host", "authz_user",
                "dir", "mime", "alias", "headers", "setenvif", "unique_id")
NEEDED_BY = {"proxy_http": ("proxy",), "deflate": ("filter",), "cache_disk": ("cache",),
             "cache_socache": ("cache", "socache_shmcb"), "auth_basic": ("authn_file",)}
MODULE_CONF = {
    "http2": "Protocols h2c http/1.1\n",
    "cgid": "ScriptSock ${ROOT}/run/cgid.sock\n",
    "include": "AddType text/html .shtml\nAddOutputFilter INCLUDES .shtml\n",
    "proxy": "ProxyTimeout 10\n",
}
MPM_CONF = {
    "event": "StartServers 2\nServerLimit 8\nThreadsPerChild 25\nMinSpareThreads 25\n"
             "MaxSpareThreads 200\nMaxRequestWorkers 200\n",
    "prefork": "StartServers 6\nMinSpareServers 4\nMaxSpareServers 128\nServerLimit 128\n"
               "MaxRequestWorkers 128\n",
}
MPM_CONF["worker"] = MPM_CONF["event"]
BASE_CONF = """\
Define ROOT "{root}"
Define DOCROOT "{root}/htdocs"
Define PORT {port}
ServerRoot "{root}"
DefaultRuntimeDir "{root}/run"
PidFile "{root}/run/httpd.pid"
ErrorLog "{root}/logs/error.log"
LogLevel info
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
{user}{load}
LogFormat "%{{sec}}t \\"%r\\" %>s %O %X" test
CustomLog "{root}/logs/access.log" test
KeepAliveTimeout 5
Timeout 20
TypesConfig /dev/null
AddType application/json .json
AddType text/html .html
AddType text/plain .txt
DocumentRoot "{root}/htdocs"
<Directory />
    AllowOverride None
    Require all denied
</Directory>
<Directory "{root}/htdocs">
    Options +FollowSymLinks {options}
    Require all granted
</Directory>
{parts}{ours}Include "{root}/test.conf"
"""
CGI_CONF = """\
ScriptAlias /cgi-bin/ "${ROOT}/cgi-bin/"
<Directory "${ROOT}/cgi-bin">
    Require all granted
</Directory>
"""
DOCUMENTS = {
    "item.json": (b'{"item": "' + b"x" * 680 + b'"}\n'),
    "withindex/index.html": b"<p>index</p>\n",
    "listing/a.txt": b"a\n", "listing/b.txt": b"b\n", "listing/c.txt": b"c\n",
    "page.shtml": b'<!--#include file="part1.txt" --><!--#include file="part2.txt" -->\n',
    "part1.txt": b"part 1\n", "part2.txt": b"part 2\n",
}


@dataclasses.dataclass
class Spec:
    """What a test asks of a server.

    module: load mod_apiquota. preset: with it, its state folder, keys file and debug log.
    worker: True or False write `APIQuotaWorker on` or `off`, None leaves it to the module.
    modules: httpd modules beyond BASE_MODULES, by short name; `cgi` means the one fit for the MPM.
    mpm_conf: replaces the numbers of processes and threads. env: added to httpd's environment.
    faketime: an offset such as "+1d"; the server then has a `clock`.
    allow: patterns of error-log lines that are expected at any time, in every test of the server.
    """

    conf: str = ""
    modules: tuple = ()
    module: bool = True
    preset: bool = True
    worker: bool = None
    mpm: str = "event"
    mpm_conf: str = ""
    env: dict = dataclasses.field(default_factory=dict)
    faketime: str = None
    allow: tuple = ()
    keys: Keys = dataclasses.field(default_factory=Keys)


class ServerRoot:
    """Makes the folder; remove() ends it, and the lease of its port."""

    def __init__(self, spec):
        self.spec = spec
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="apiquota-http-"))
        self.path.chmod(0o755)
        for name in ("htdocs", "cgi-bin", "state", "logs", "run"):
            (self.path / name).mkdir(mode=0o755)
        self.docroot, self.state = self.path / "htdocs", self.path / "state"
        self.conf, self.keys_file = self.path / "httpd.conf", self.path / "keys.json"
        self.pid_file = self.path / "run" / "httpd.pid"
        self.lease = PortLease()
        for name, content in DOCUMENTS.items():
            self.add_file(name, content)
            self.add_file("v1/" + name, content)

    def add_file(self, name, content):
        """A document below htdocs, readable for all; `content` bytes, str, or a size in bytes."""
        file = self.docroot / name
        file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if isinstance(content, int):
            content = bytes(content)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        file.chmod(0o644)
        return file

    def add_cgi(self, name, script):
        """A program at /cgi-bin/NAME (module `cgi`); `script` with its #! line."""
        file = self.path / "cgi-bin" / name
        file.write_text(script)
        file.chmod(0o755)
        return file

    def write_conf(self, test_conf=None):
        """Writes httpd.conf and test.conf anew, the latter from the spec unless given."""
        (self.path / "test.conf").write_text(self.spec.conf if test_conf is None else test_conf)
        modules = _resolve(self.spec)
        self.conf.write_text(BASE_CONF.format(
            root=self.path, port=self.lease.port, load=_load_lines(self.spec, modules),
            user=f"User {paths.HTTPD_USER}\nGroup {paths.HTTPD_USER}\n" if paths.AS_ROOT else "",
            options=" ".join(o for m, o in (("include", "+Includes"), ("autoindex", "+Indexes"))
                             if m in modules),
            parts=_parts(self.spec, modules), ours=_own_conf(self.spec)))

    def take_another_port(self):
        self.lease.release()
        self.lease = PortLease()

    def remove(self):
        self.lease.release()
        if os.environ.get("AQ_KEEP") != "1":
            shutil.rmtree(self.path)


def allowed_lines(spec):
    """The patterns of error-log lines that such a server may always write."""
    warns_of_prefork = spec.mpm == "prefork" and "http2" in spec.modules
    is_soon_busy = spec.mpm == "prefork" and "MaxRequestWorkers 1\n" in spec.mpm_conf + spec.conf
    return (tuple(spec.allow) + (("AH10034: ",) if warns_of_prefork else ())
            + (("AH00161: server reached MaxRequestWorkers",) if is_soon_busy else ()))


def _resolve(spec):
    wanted = []
    for name in ("mpm_" + spec.mpm,) + BASE_MODULES + tuple(spec.modules):
        name = ("cgi" if spec.mpm == "prefork" else "cgid") if name == "cgi" else name
        wanted += [n for n in NEEDED_BY.get(name, ()) + (name,) if n not in wanted]
    return wanted


def _load_lines(spec, modules):
    shared = [m for m in modules if m not in paths.compiled_in_modules()]
    lines = [f'LoadModule {m}_module "{paths.HTTPD_MODULES}/mod_{m}.so"' for m in shared]
    if spec.module:
        lines.append(f'LoadModule apiquota_module "{paths.MODULE}"')
    return "\n".join(lines)


def _parts(spec, modules):
    parts = [spec.mpm_conf or MPM_CONF[spec.mpm]] + [MODULE_CONF.get(m, "") for m in modules]
    if "cgi" in spec.modules:
        parts.append(CGI_CONF)
    return "".join(parts)


def _own_conf(spec):
    if not (spec.module and spec.preset):
        return ""
    worker = {None: "", True: "APIQuotaWorker on\n", False: "APIQuotaWorker off\n"}[spec.worker]
    return ('LogLevel apiquota:debug\nAPIQuotaStateDir "${ROOT}/state"\n'
            f'{spec.keys.directive}APIQuotaWorkerProgram "{paths.WORKER}"\n' + worker)
