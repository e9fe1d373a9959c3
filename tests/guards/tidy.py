#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""clang-tidy has no complaint about the code that ships; .clang-tidy says which checks, and why not the others."""
import guard

guard.on_each_file("tidy", [(path, ["clang-tidy", "--quiet", "--warnings-as-errors=*", path, "--", *flags[1:]])
                            for path, flags in guard.compile_commands() if not path.startswith("tests/")])
guard.finish()
