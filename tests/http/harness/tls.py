# SPDX-License-Identifier: Apache-2.0
"""A certificate authority of a test, by the openssl program; and whether hiredis knows TLS."""

import subprocess

import pytest

HAS_TLS = subprocess.run(["pkg-config", "--exists", "hiredis_ssl"], check=False).returncode == 0
needs_tls = pytest.mark.skipif(not HAS_TLS, reason="hiredis has no TLS here: it came with 1.0, Debian 12 has 0.14")


class Authority:
    """Keys and certificates in `folder`: authority.certificate("redis", "IP:127.0.0.1") -> (certificate, key)."""

    def __init__(self, folder, name="ca"):
        self._folder, self._name = folder, name
        self.file, self._key = folder / f"{name}.crt", folder / f"{name}.key"
        _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN=authority {name}",
                 "-keyout", self._key, "-out", self.file)

    def certificate(self, name, names, at=None):
        """One for the alternative `names`, of thirty days from now or from the day `at`."""
        request, certificate, key = (self._folder / f"{name}.{kind}" for kind in ("csr", "crt", "key"))
        extensions = self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\n", encoding="ascii")
        _openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        _openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self._key, "-CAcreateserial", "-days", "30",
                 "-extfile", extensions, "-out", certificate, under=("faketime", at) if at else ())
        key.chmod(0o644)
        return certificate, key


def _openssl(*words, under=()):
    ran = subprocess.run([*under, "openssl", *map(str, words)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
