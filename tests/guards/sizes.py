#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""No function is longer than 80 lines and no file longer than 800, tests included."""
import ast
import re

import guard

FUNCTION_MAX, FILE_MAX = 80, 800


def c_functions(text):
    """(name, first line, last line) of the functions; a function is a block at the top level after a `)`."""
    code = guard.code_of(text)
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group(0)), code, flags=re.M)
    depth, before, opened = 0, 0, None
    for brace in re.finditer(r"[{};]", code):
        if brace.group(0) == "{":
            head = code[before:brace.start()]
            if depth == 0 and re.search(r"\)\s*(__attribute__\s*\(\(.*\)\)\s*)?$", head, re.S):
                name = re.search(r"(\w+)\s*\(", head)
                opened = (name.group(1) if name else "?", before + len(head) - len(head.lstrip()))
            depth += 1
        elif brace.group(0) == "}":
            depth -= 1
            if depth == 0 and opened:
                yield opened[0], guard.line_at(code, opened[1]), guard.line_at(code, brace.start())
                opened = None
        if depth == 0:
            before = brace.end()


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, node.end_lineno


def main():
    for path in guard.files(("mod_apiquota.c", "src", "tests", "conf", "vagrant", "Makefile"),
                            (".c", ".h", ".py", ".sh", ".mk", "run", "Makefile")):
        text = guard.read(path)
        lines = text.count("\n")
        if lines > FILE_MAX:
            guard.offend(path, FILE_MAX, f"the file has {lines} lines, {FILE_MAX} are allowed")
        is_python = path.endswith(".py") or text.startswith("#!/usr/bin/python3")
        functions = python_functions(text) if is_python else c_functions(text) if path.endswith((".c", ".h")) else ()
        for name, first, last in functions:
            if last - first + 1 > FUNCTION_MAX:
                guard.offend(path, first, f"{name} has {last - first + 1} lines, {FUNCTION_MAX} are allowed")
    guard.finish()


main()
