#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The man pages are clean mdoc, and tell of the same commands and options as --help."""
import os
import re
import subprocess

import guard

CTL, WORKER = "docs/man/apiquotactl.8", "docs/man/apiquota-worker.8"
OPTION = re.compile(r"--([a-z][a-z-]*)")
OPTION_IN_MAN = re.compile(r"\bFl Fl ([a-z][a-z-]*)")


def help_of(program, *arguments):
    done = subprocess.run([os.path.join(guard.BUILD, program), *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout


def commands_told(text):
    """{"key create": {"tenant", …}} of --help: the lines that begin with two blanks."""
    rows = re.findall(r"^  ([a-z].*)$", text, re.M)
    return {re.match(r"[a-z]+(?: [a-z]+)?(?=$| )", row).group(0): set(OPTION.findall(row)) for row in rows}


def commands_described(text):
    rows = re.findall(r"^\.It Ic (.*)$", text, re.M)
    return {re.match(r"(?:(?!(?:Op|Oo|Fl|Ar)\b)\w+ ?)+", row).group(0).strip(): set(OPTION_IN_MAN.findall(row))
            for row in rows}


def differ(path, what, told, described):
    for name in sorted(told - described):
        guard.offend(path, 1, f"{what} {name} is missing")
    for name in sorted(described - told):
        guard.offend(path, 1, f"{what} {name} is there no more")


def ctl_check():
    told, described = commands_told(help_of("apiquotactl", "--help")), commands_described(guard.read(CTL))
    differ(CTL, "the command", set(told), set(described))
    for name in sorted(set(told) & set(described)):
        differ(CTL, f"{name}: the option", told[name], described[name])


def worker_check():
    described = set(OPTION_IN_MAN.findall("\n".join(re.findall(r"^\.It (.*)$", guard.read(WORKER), re.M))))
    differ(WORKER, "the option", set(OPTION.findall(help_of("apiquota-worker", "--help"))), described)


def main():
    for path in guard.files(("docs/man",), (".8",)):
        done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", os.path.join(guard.ROOT, path)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        for line in done.stdout.splitlines():
            guard.offend(path, 1, line)
    ctl_check()
    worker_check()
    guard.finish()


main()
