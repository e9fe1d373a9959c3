# SPDX-License-Identifier: Apache-2.0
"""A power cut, played out: what the disk may hold when the machine stops at a given moment.

tests/http/preload/write_log.c, preloaded into httpd and its worker, notes what they do to the state folder. Disk replays
the notes up to a moment and knows, for each file, what was synced and what was only written, and for each folder, which
names were synced. Disk.state() then builds one of the states that the file system may leave:

    "nothing"   all that was not synced is lost: content, sizes, new names, renames and removals
    "all"       nothing is lost
    "some"      each unsynced piece is lost or not, by chance, to the sector; a later one may be there without an earlier

This is stricter than the usual file systems are: a new file's name is lost unless its folder was synced, also where the
file was; and of a rename one half may be lost.
"""

import os
import pathlib
import struct
import subprocess

from . import paths

SECTOR_BYTES = 512
RECORD = struct.Struct("=IB3xQQqqII")
CREATE, WRITE, TRUNCATE, RENAME, UNLINK, MAKE_FOLDER, SYNC_BEGIN, SYNC_END = range(1, 9)
SOURCE = pathlib.Path(__file__).resolve().parents[1] / "preload" / "write_log.c"


class WriteLog:
    """The log of a server that is yet to start; its processes then write it."""

    def __init__(self, web):
        folder = web.root.path
        self.root, self.file = web.root.state, folder / "write.log"
        library = folder / "write_log.so"
        compiler = os.environ.get("AQ_CC") or "gcc"
        subprocess.run([*compiler.split(), "-std=c11", "-O1", "-fPIC", "-shared", "-pthread", "-Wall", "-Wextra", "-Werror",
                        "-o", library, SOURCE], check=True)
        for path in (self.file, folder / "write.log.lock"):
            path.touch()
            path.chmod(0o666)
        web.spec.env.update(LD_PRELOAD=str(library), AQ_WRITE_LOG=str(self.file), AQ_WRITE_LOG_ROOT=str(self.root))

    def moment(self):
        """Now: what is noted from here on comes after whatever the caller knows of."""
        return self.file.stat().st_size

    def records(self):
        """(end, kind, node, a, path, data) each; `end` is the moment after it. A path where a file is named."""
        text = self.file.read_bytes()
        at = 0
        while at + RECORD.size <= len(text):
            size, kind, device, inode, a, _, path_size, data_size = RECORD.unpack_from(text, at)
            body = at + RECORD.size
            at += size + 4
            if at > len(text):
                break
            yield (at, kind, (device, inode), a, os.fsdecode(text[body:body + path_size]),
                   text[body + path_size:body + path_size + data_size])


class _File:
    def __init__(self):
        self.synced, self.pending, self.marks = bytearray(), [], {}

    def sync(self, thread):
        count = self.marks.pop(thread, 0)
        for piece in self.pending[:count]:
            apply(self.synced, piece)
        del self.pending[:count]
        self.marks = {other: max(0, mark - count) for other, mark in self.marks.items()}


class _Folder:
    """`names` as programs see them; `synced` as they are on disk; `pending` the changes between, as (name, node)."""

    def __init__(self):
        self.names, self.synced, self.pending, self.marks = {}, {}, [], {}

    def change(self, name, node):
        self.names[name] = node
        self.pending.append((name, node))

    def sync(self, thread):
        count = self.marks.pop(thread, 0)
        self.synced.update(self.pending[:count])
        del self.pending[:count]
        self.marks = {other: max(0, mark - count) for other, mark in self.marks.items()}


def apply(content, piece):
    """A write, (offset, bytes), or a change of size, (size, None)."""
    at, data = piece
    if data is None:
        del content[at:]
        content.extend(bytes(at - len(content)))
        return
    content.extend(bytes(max(0, at - len(content))))
    content[at:at + len(data)] = data


def sectors(piece):
    """A write in pieces of which a disk stores each or not."""
    at, data = piece
    if data is None:
        return [piece]
    ends = [0, *range(SECTOR_BYTES - at % SECTOR_BYTES, len(data), SECTOR_BYTES), len(data)]
    return [(at + begin, data[begin:end]) for begin, end in zip(ends, ends[1:])]


class Disk:
    """Replays records. `is_void(path)`: syncs of such files and folders are taken for nothing (None: all count)."""

    def __init__(self, root, is_void=None):
        self.root, self._is_void = str(root), is_void or (lambda path: False)
        self._files, self._folders = {}, {self.root: _Folder()}

    def play(self, record):
        _, kind, node, a, path, data = record
        if kind in (SYNC_BEGIN, SYNC_END):
            self._sync(kind, node, a, path)
        elif kind == MAKE_FOLDER:
            self._folders[path] = _Folder()
            self._name(path, path)
        elif kind == CREATE:
            self._files[node] = file = _File()  # the number may have been another's
            self._name(path, file)
        elif kind == RENAME:
            self._rename(path, os.fsdecode(data), node)
        elif kind == UNLINK:
            self._name(path, None)
        elif node in self._files:  # others are not of the kind that a CREATE tells
            self._files[node].pending.append((a, data if kind == WRITE else None))

    def _sync(self, kind, node, thread, path):
        target = self._folders.get(path) or self._files.get(node)
        if target is None or self._is_void(path):
            return
        if kind == SYNC_BEGIN:
            target.marks[thread] = len(target.pending)
        else:
            target.sync(thread)

    def _name(self, path, node):
        folder, _, name = path.rpartition("/")
        if folder in self._folders:
            self._folders[folder].change(name, node)

    def _rename(self, old, new, node):
        self._name(old, None)
        if node in self._files:
            self._name(new, self._files[node])

    def state(self, how, rng, into):
        """Writes one state to the folder `into`, without what need not survive (SQLite's index of its log)."""
        self._write_folder(self.root, how, rng, pathlib.Path(into))

    def _write_folder(self, path, how, rng, into):
        folder = self._folders[path]
        into.mkdir(mode=0o700, exist_ok=True)
        names = dict(folder.synced)
        names.update(change for change in folder.pending if _survives(how, rng))
        for name, node in names.items():
            if isinstance(node, str):
                self._write_folder(node, how, rng, into / name)
            elif node is not None and not name.endswith("-shm"):
                (into / name).write_bytes(_content(node, how, rng))
                (into / name).chmod(0o600)


def _survives(how, rng):
    return how == "all" or (how == "some" and rng.random() < 0.5)


def _content(file, how, rng):
    content = bytearray(file.synced)
    for piece in file.pending:
        for part in sectors(piece) if how == "some" else [piece]:
            if _survives(how, rng):
                apply(content, part)
    return content


def is_possible():
    """A sanitizer's runtime takes the same calls, before ours sees them."""
    return not paths.sanitizer_preload()
