"""What the lint scripts share: C text without comments and strings."""

import os
import re
import sys

TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)


def strip(text, keep_strings=False):
    """Blanks comments (and strings), keeping every line where it was."""
    def blank(match):
        token = match.group()
        if token[0] in "\"'":
            return token if keep_strings else token[0] * 2
        return re.sub(r"[^\n]", " ", token)
    return TOKEN.sub(blank, text)


def files(root):
    """The C files below ROOT/src as (path relative to src, text)."""
    src = os.path.join(root, "src")
    for folder, subfolders, names in os.walk(src):
        subfolders.sort()
        for name in sorted(names):
            if name.endswith((".c", ".h")):
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8") as file:
                    yield os.path.relpath(path, src), file.read()


def calls(text, names):
    """(line number, name) of each call of one of names; x->name() is none."""
    pattern = re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(names))
    for number, line in enumerate(strip(text).split("\n"), 1):
        for match in pattern.finditer(line):
            yield number, match.group(1)


def finish(faults):
    """Prints the faults and leaves with the exit code."""
    for fault in faults:
        print(fault, file=sys.stderr)
    sys.exit(1 if faults else 0)
