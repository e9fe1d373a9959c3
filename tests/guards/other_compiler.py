#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The compiler that did not build the tree (clang, or gcc) has no warning about it either."""
import os

import guard

compiler = "gcc" if "clang" in os.environ.get("AQ_CC", "gcc") else "clang"
guard.on_each_file("warnings", [(path, [compiler, *flags[1:], "-fsyntax-only", path])
                                for path, flags in guard.compile_commands()])
guard.finish()
