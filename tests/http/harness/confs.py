# SPDX-License-Identifier: Apache-2.0
"""Configuration text that many tests share. `${ROOT}`, `${DOCROOT}` and `${PORT}` are defined for it."""

BASIC_PLAN = """\
<APIQuotaPlan basic>
    APIQuotaLimit minute 60/minute headers=primary
    APIQuotaLimit day 1000/day per=tenant
</APIQuotaPlan>
"""


def plan(name, *limits):
    """A plan, each limit as in plan("tiny", "minute 3/minute headers=primary")."""
    return _section(f"APIQuotaPlan {name}", [f"APIQuotaLimit {limit}" for limit in limits])


def location(path, *lines, require="valid-user", key_from="bearer header:X-API-Key"):
    """A location that asks for a key and counts; `lines` are added at its end."""
    base = ["AuthType APIKey", 'AuthName "API"', f"Require {require}", "APIQuota On",
            f"APIQuotaKeyFrom {key_from}", "AuthzSendForbiddenOnFailure On"]
    return _section(f"Location {path}", base + list(lines))


def proxy(path, backend, *lines, to=""):
    """As location(), passed on to `backend` (anything with a `url`); needs the module proxy_http."""
    return location(path, *lines) + f"ProxyPass {path} {backend.url}{to} retry=0\n"


def batch(path, target, *lines, status_path="/v1/batches"):
    """A location that takes uploads as batches for `target`, and one where they are polled."""
    return (location(status_path, "SetHandler apiquota-batches")
            + location(path, "APIQuotaBatch On", f"APIQuotaBatchTarget {target}", *lines))


def one_child(threads=32):
    """One process that serves everything, so that what it keeps is what the next request meets; under prefork a connection at a
    time. The second of ServerLimit is for the one that a restart is ending."""
    return ("StartServers 1\nServerLimit 2\n<IfModule mpm_prefork_module>\n    MaxRequestWorkers 1\n</IfModule>\n"
            f"<IfModule !mpm_prefork_module>\n    ThreadLimit {threads}\n    ThreadsPerChild {threads}\n    MinSpareThreads 1\n"
            f"    MaxSpareThreads {threads}\n    MaxRequestWorkers {threads}\n</IfModule>\n")


def error_document(status, path):
    return f"ErrorDocument {status} {path}\n"


def _section(opening, lines):
    body = "".join(f"    {line}\n" for line in lines)
    return f"<{opening}>\n{body}</{opening.split()[0]}>\n"


BASIC = BASIC_PLAN + location("/v1")
ONE_CHILD = one_child()
