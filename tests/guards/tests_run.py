#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every test that is written runs: each C test is added to a case and built, each Python test is collected."""
import ast
import os
import re

import guard

ADDED = r"\btcase_add_\w*test\w*\s*\([^;]*\b{}\b|\{{\s*{}\s*[,}}]|[,{{]\s*{}\s*[,}}]"


def c_tests():
    for path in guard.c_files(("tests/unit", "tests/contract"), (".c",)):
        text = guard.code_of(guard.read(path))
        cases = [(case.group(1), guard.line_at(text, case.start()))
                 for case in re.finditer(r"^\s*START_TEST\s*\(\s*(\w+)\s*\)", text, re.M)]
        for name, line in cases:
            if not re.search(ADDED.format(name, name, name), text):
                guard.offend(path, line, f"{name} is in no test case, so it never runs")
        if os.path.basename(path).startswith("test_"):
            built = os.path.join(guard.BUILD, "tests", path[len("tests/"):-2])
            if not re.search(r"\bmain\s*\(", text):
                guard.offend(path, 1, "has no main() that runs its suite")
            if not os.access(built, os.X_OK):
                guard.offend(path, 1, "is not built (the Makefile looks in tests/unit, tests/contract and one folder below)")


def python_tests():
    for path in guard.files(("tests/http",), (".py",)):
        tree = ast.parse(guard.read(path))
        is_collected = re.match(r"test_.*\.py$", os.path.basename(path))
        for scope in [tree] + [node for node in tree.body if isinstance(node, ast.ClassDef)]:
            names = {}
            for node in scope.body:
                if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test"):
                    continue
                if not is_collected:
                    guard.offend(path, node.lineno, f"{node.name} is not collected: the file's name must be test_*.py")
                if node.name in names:
                    guard.offend(path, node.lineno, f"{node.name} hides the test of this name in line {names[node.name]}")
                names[node.name] = node.lineno


def main():
    c_tests()
    python_tests()
    guard.finish()


main()
