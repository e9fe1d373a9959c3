# SPDX-License-Identifier: Apache-2.0
"""Instructions by callgrind, as slopes: the same program does its work FEW times, then MANY times, and what it needed
more, divided by how often it did more, is the price of once. Start-up and end cancel out.

An httpd runs as one process (`-X`) from the start as the user that it would serve as: one that gave up root could no
longer write callgrind's output. It is the worker MPM, where a connection stays with its thread: event hands it from
thread to thread or not, as the client's timing has it, which blurs a request by some hundred instructions. Every request
carries the same headers, whether or not anything reads them.
"""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess

from harness import paths
from harness.ports import PortLease
from harness.waiting import wait_until

FEW, MANY = 500, 2500
OUTPUT = "callgrind.out"
START_TIMEOUT_S, LOAD_TIMEOUT_S, STOP_TIMEOUT_S = 60, 120, 60
BASE_CONF = """\
ServerRoot "{folder}"
DefaultRuntimeDir "{folder}"
PidFile "{folder}/httpd.pid"
ErrorLog "{folder}/error.log"
LogLevel warn
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
{load}
StartServers 1
ServerLimit 1
ThreadsPerChild 1
MaxRequestWorkers 1
MaxKeepAliveRequests 0
TypesConfig /dev/null
AddType application/json .json
DocumentRoot "{folder}/htdocs"
<Directory />
    AllowOverride None
</Directory>
<Directory "{folder}/htdocs">
    Require all granted
</Directory>
"""
MODULES = ("mpm_worker", "authz_core", "authn_core", "authz_user", "dir", "mime")
DOCUMENT = b'{"item": "' + b"x" * 680 + b'"}\n'


class BenchError(Exception):
    """A measurement could not be made."""


def program_cost(folder, command):
    """Instructions of one of what `command` does as often as its last argument says."""
    return _slope(lambda times: _program_total(folder, [*command, str(times)]))


def request_cost(folder, name, conf, headers, modules=()):
    """Instructions of one GET of a small static file, kept alive, by an httpd with this configuration.

    folder: the server's own is made in it. modules: short names of httpd's, or paths, to load as well. `conf` may use
    {folder}. With AQ_BENCH_KEEP=DIR callgrind's output is copied there, as NAME-TIMES.callgrind.
    """
    # Names of one length: httpd works on paths, and a longer one costs more.
    home = pathlib.Path(folder) / f"{name:_<16.16}"
    _home_make(home)
    return _slope(lambda times: _server_total(home, conf, headers, modules, times))


def program_slope(folder, command, few, many):
    """The same, between so few and so many times."""
    return _slope(lambda times: _program_total(folder, [*command, str(times)]), few, many)


def _slope(total_of, few_times=FEW, many_times=MANY):
    few, many = total_of(few_times), total_of(many_times)
    return (many - few) / (many_times - few_times)


def _valgrind(output):
    return ["valgrind", "-q", "--tool=callgrind", "--vgdb=no", f"--callgrind-out-file={output}"]


def _total(output):
    """The instructions that callgrind counted in all threads."""
    found = re.search(r"^(?:totals|summary): (\d+)", output.read_text(errors="replace"), re.M)
    if not found:
        raise BenchError(f"callgrind wrote no total into {output}")
    return int(found[1])


def _program_total(folder, command):
    output = pathlib.Path(folder) / "program.callgrind"
    subprocess.run([*_valgrind(output), *command], check=True, timeout=LOAD_TIMEOUT_S)
    return _total(output)


def _home_make(home):
    (home / "htdocs").mkdir(parents=True)
    (home / "state").mkdir()
    (home / "htdocs" / "item.json").write_bytes(DOCUMENT)
    _own(home)


def _own(home):
    if paths.AS_ROOT:
        for path in [home, *home.rglob("*")]:
            shutil.chown(path, paths.HTTPD_USER, paths.HTTPD_USER)


def _as_httpd_user():
    user = paths.HTTPD_USER
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if paths.AS_ROOT else []


def _load_line(module):
    name = pathlib.Path(module).stem.removeprefix("mod_")
    path = module if os.sep in str(module) else paths.HTTPD_MODULES / f"mod_{module}.so"
    # mod_evasive calls itself evasive20.
    return f'LoadModule {name}{"20" if name == "evasive" else ""}_module "{path}"'


def _server_total(home, conf, headers, modules, times):
    lease = PortLease()
    wanted = [m for m in (*MODULES, *modules) if m not in paths.compiled_in_modules()]
    text = BASE_CONF.format(folder=home, port=lease.port, load="\n".join(_load_line(m) for m in wanted))
    (home / "httpd.conf").write_text(text + conf.format(folder=home))
    output = home / OUTPUT
    command = [*_as_httpd_user(), *_valgrind(output), paths.HTTPD, "-X", "-f", str(home / "httpd.conf")]
    with (home / "console.log").open("w") as console:
        httpd = subprocess.Popen(command, cwd=home, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
    try:
        if not wait_until(lambda: httpd.poll() is not None or _answers(lease.port), START_TIMEOUT_S, 0.1):
            raise BenchError(f"httpd does not answer:\n{_said(home)}")
        if httpd.poll() is not None:
            raise BenchError(f"httpd does not start:\n{_said(home)}")
        _load(lease.port, headers, times, home)
        httpd.send_signal(signal.SIGTERM)
        httpd.wait(STOP_TIMEOUT_S)
    finally:
        if httpd.poll() is None:
            httpd.kill()
            httpd.wait()
        lease.release()
    if os.environ.get("AQ_BENCH_KEEP"):
        shutil.copy(output, pathlib.Path(os.environ["AQ_BENCH_KEEP"]) / f"{home.name.rstrip('_')}-{times}.callgrind")
    return _total(output)


def _said(home):
    logs = (home / "console.log", home / "error.log")
    return "".join(log.read_text(errors="replace") for log in logs if log.exists())


def _answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _load(port, headers, times, home):
    command = ["ab", "-q", "-k", "-c", "1", "-n", str(times)]
    for header in headers:
        command += ["-H", header]
    ran = subprocess.run([*command, f"http://127.0.0.1:{port}/item.json"], capture_output=True, text=True,
                         timeout=LOAD_TIMEOUT_S, check=False)
    answered = {name: int(count) for name, count in
                re.findall(r"^(Complete requests|Failed requests|Keep-Alive requests|Non-2xx responses):\s+(\d+)",
                           ran.stdout, re.M)}
    if answered != {"Complete requests": times, "Failed requests": 0, "Keep-Alive requests": times}:
        raise BenchError(f"not {times} answers of 200 on one connection: {answered}\n{ran.stderr}{_said(home)}")
