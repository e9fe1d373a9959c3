# SPDX-License-Identifier: Apache-2.0
"""What the guards share: where the files are, C without its comments, and how an offence is said.

A guard is an executable file of this folder. It proves one rule of the tree, prints `file:line: offence` for what
breaks it, and ends with 0 or 1. `make lint` counts each as one test.
"""
import concurrent.futures
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("AQ_BUILD") or os.path.join(ROOT, "build")
JOBS = min(int(os.environ.get("AQ_JOBS") or 2), os.cpu_count() or 1)
offences = []


def offend(path, line, text):
    offences.append(f"{path}:{line}: {text}")


def finish():
    """Prints the offences and ends the guard."""
    print("\n".join(offences))
    sys.exit(1 if offences else 0)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def files(folders, endings):
    """Paths, relative to the root, of the files below `folders` that end so; a folder may also be a file."""
    found = []
    for folder in folders:
        full = os.path.join(ROOT, folder)
        if os.path.isfile(full) and folder.endswith(endings):
            found.append(folder)
        for where, below, names in os.walk(full):
            below[:] = sorted(name for name in below if not name.startswith((".", "__")))
            found += [os.path.relpath(os.path.join(where, name), ROOT) for name in sorted(names) if name.endswith(endings)]
    return found


def c_files(folders=("mod_apiquota.c", "src", "tests", "conf"), endings=(".c", ".h")):
    return files(folders, endings)


NOT_CODE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_of(text, keep_strings=False):
    """C with comments blanked, and strings too unless kept; lines and columns stay."""
    def blank(match):
        if keep_strings and match.group(0)[0] in "\"'":
            return match.group(0)
        return re.sub(r"[^\n]", " ", match.group(0))
    return NOT_CODE.sub(blank, text)


def line_at(text, offset):
    return text.count("\n", 0, offset) + 1


def compile_commands():
    """[(file, [compiler, flags...])] as the Makefile builds them, without the file's own `-c FILE`."""
    with open(os.path.join(BUILD, "compile_commands.json"), encoding="utf-8") as file:
        return [(entry["file"], shlex.split(entry["command"])[:-2]) for entry in json.load(file)]


def headers_of(path):
    """Our headers that a file includes, as the compiler noted them; all of ours where it has not."""
    notes = os.path.join(BUILD, "obj", path[:-2] + ".d")
    if not os.path.exists(notes):
        return c_files(endings=(".h",))
    with open(notes, encoding="utf-8") as file:
        names = sorted(set(re.findall(r"(?:src|tests)/\S+\.h\b", file.read())))
    return [name for name in names if os.path.exists(os.path.join(ROOT, name))]


def unchanged(tool, path, salt):
    """A stamp file that exists when `tool` was content with this very text, its headers and its options."""
    digest = hashlib.sha256(salt.encode())
    for name in [path] + headers_of(path) + [".clang-tidy"]:
        digest.update(f"{name}\0{read(name)}\0".encode())
    folder = os.path.join(BUILD, "lint", tool)
    os.makedirs(folder, exist_ok=True)
    return os.path.join(folder, path.replace("/", "_") + "." + digest.hexdigest()[:20])


DIAGNOSTIC = re.compile(r"^(?=\S+:\d+:\d+: (?:fatal error|error|warning): )", re.M)
CHATTER = re.compile(r"^(In file included from .*|\d+ (warnings?|errors?) .*generated\.|Error while processing .*|.*treated as error.*|cc1: .*)\n?", re.M)


def each_once(texts):
    """The diagnostics of many runs, each once: a fault in a header is found by every file that includes it."""
    blocks = []
    for text in texts:
        for block in DIAGNOSTIC.split(CHATTER.sub("", text.replace(ROOT + "/", ""))):
            if block.strip() and block.rstrip() not in blocks:
                blocks.append(block.rstrip())
    return blocks


def on_each_file(tool, commands):
    """Runs [(file, command)] side by side, skips what a stamp says is unchanged, prints what complains."""
    def one(item):
        path, command = item
        stamp = unchanged(tool, path, " ".join(command))
        if os.path.exists(stamp):
            return None
        done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode == 0:
            open(stamp, "w", encoding="utf-8").close()
            return None
        return CHATTER.sub("", done.stdout).strip() or f"{path}:1: {command[0]} ended with {done.returncode}"

    with concurrent.futures.ThreadPoolExecutor(max_workers=JOBS) as pool:
        offences.extend(each_once(text + "\n" for text in pool.map(one, commands) if text))
