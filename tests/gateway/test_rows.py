"""Every row of the conformance checklist has a test that names it, or a reason in tests/README.md why there is none.

Run as a program it prints the table of tests/README.md.
"""

import ast
import functools
import re
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
README = HERE.parent / 'README.md'
ROWS = [f'W{n}' for n in range(1, 78)] + [f'C{n}' for n in range(1, 28)] + [f'F{n}' for n in range(1, 34)]
ROWS += [f'X{n}' for n in range(1, 10)]
ROW = re.compile(r'\b([WCFX])([1-9][0-9]?)\b(?:(?: to |-)\1([1-9][0-9]?)\b)?')


def rows_in(text):
    """W3 and the like; W21-W24 and "W21 to W24" are four."""
    for letter, first, last in ROW.findall(text):
        for n in range(int(first), int(last or first) + 1):
            yield f'{letter}{n}'


@functools.cache
def named_rows():
    """{row: set of file names}: from the docstrings of test functions, and of classes and methods around them."""
    found = {}
    for path in sorted([*HERE.glob('test_*.py'), *HERE.parent.glob('servers/test_*.py')]):
        name = path.name if path.parent == HERE else f'servers/{path.name}'
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name.lower().startswith('test'):
                for row in rows_in(ast.get_docstring(node) or ''):
                    found.setdefault(row, set()).add(name)
    return found


@functools.cache
def table():
    """{row: the text beside it} of tests/README.md."""
    lines = re.findall(r'^\| *([WCFX]\d+) *\| *(.*?) *\|$', README.read_text(), re.MULTILINE)
    assert len(lines) == len(dict(lines)), 'a row is in the table twice'
    return dict(lines)


def files_in(text):
    return set(re.findall(r'(?:servers/)?test_\w+\.py', text))


@pytest.mark.parametrize('row', ROWS)
def test_row(row):
    """The table has the row; the files it names have a test with that row in its docstring; without a file there is a
    reason. Files that the table does not name may have more."""
    text = table().get(row, '')
    assert text, f'{row} is not in the table of tests/README.md'
    tests = named_rows().get(row, set())
    files = files_in(text)
    assert files <= tests, f'{row}: the table names {files - tests}, where no test names the row'
    if not files:
        assert not tests, f'{row} has tests in {tests} but the table names none'
        assert len(text.split()) >= 4, f'{row}: no test, and no reason either'


def test_no_row_is_invented():
    """What tests call a row is one."""
    assert set(named_rows()) <= set(ROWS)


if __name__ == '__main__':
    reasons = {row: text for row, text in table().items() if not files_in(text)}
    print('| row | tests |\n|---|---|')
    for name in ROWS:
        print(f'| {name} | {" ".join(sorted(named_rows().get(name, []))) or reasons.get(name, "")} |')
