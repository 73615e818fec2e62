"""The checklist, tests/CHECKLIST.md, against the tests that name its rows.

Run as a program it writes the last column of the checklist; a row without a test keeps the reason that stands there.
"""

import ast
import functools
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
CHECKLIST = TESTS / 'CHECKLIST.md'
NAME = re.compile(r'\b([WCFXP])([1-9][0-9]?)\b(?:(?: to |-)\1([1-9][0-9]?)\b)?')
LINE = re.compile(r'^\| ([WCFXP][1-9][0-9]?) \| *(.*?) *\| *(.*?) *\| *(.*?) *\|$', re.MULTILINE)
SOURCE = re.compile(r'PEP 3333, [A-Za-z]\S.*|RFC \d+, \d+(\.\d+)*|FastCGI 1\.0, \d(\.\d)?|practice: \S.*')


def rows_in(text):
    """The rows that a text names. W21-W24 and "W21 to W24" are four."""
    for letter, first, last in NAME.findall(text):
        for n in range(int(first), int(last or first) + 1):
            yield f'{letter}{n}'


def python_texts(path):
    """(whether it is a test's, docstring) of each docstring of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)):
            name = getattr(node, 'name', '')
            yield name.lower().startswith('test'), ast.get_docstring(node) or ''


def c_texts(path):
    """The same of a unit test, where the rows are in comments."""
    for comment in re.findall(r'/\*.*?\*/', path.read_text(), re.DOTALL):
        yield True, comment


@functools.cache
def named():
    """({row: files of the tests that name it}, {row: files that name it anywhere})."""
    by_tests, anywhere = {}, {}
    for path in sorted([*TESTS.glob('gateway/*.py'), *TESTS.glob('servers/*.py'), *TESTS.glob('unit/test_*.c')]):
        name = str(path.relative_to(TESTS)).removeprefix('gateway/')
        for is_test, text in (c_texts if path.suffix == '.c' else python_texts)(path):
            for row in rows_in(text):
                anywhere.setdefault(row, set()).add(name)
                if is_test and path.name.startswith('test_'):
                    by_tests.setdefault(row, set()).add(name)
    return by_tests, anywhere


@functools.cache
def checklist():
    """{row: (demand, source, tests or reason)}, in the order of the file."""
    lines = LINE.findall(CHECKLIST.read_text())
    rows = {row: cells for row, *cells in lines}
    assert len(lines) == len(rows), 'a row is in the checklist twice'
    return rows


def files_of(row):
    return ' '.join(sorted(named()[0].get(row, ())))


def last_column(row):
    """The tests of a row, or the reason why it has none."""
    old = checklist()[row][2]
    return files_of(row) or (old if not re.fullmatch(r'(\S*test_\w+\.(py|c) ?)*', old) else '')


def test_order():
    """Each letter's rows count from 1, without gaps, and every line of the tables could be read."""
    text = CHECKLIST.read_text()
    assert list(checklist()) == re.findall(r'^\| *([A-Z]\d+)', text, re.MULTILINE)
    for letter in 'WCFXP':
        numbers = [int(row[1:]) for row in checklist() if row[0] == letter]
        assert numbers == list(range(1, len(numbers) + 1)) and numbers, letter


@pytest.mark.parametrize('row', checklist())
def test_row(row):
    """A row has a demand of one sentence, a source, and tests that name it or the reason why there are none."""
    demand, source, tests = checklist()[row]
    assert len(demand.split()) >= 4 and demand.endswith('.') and not re.search(r'[.!?] [A-Z]', demand), 'one sentence'
    wrong = [part for part in source.split('; ') if not SOURCE.fullmatch(part)]
    assert not wrong, f'no source: {wrong}'
    if not files_of(row):
        assert len(tests.split()) >= 4 and 'test_' not in tests, 'no test names the row, and there is no reason either'


def test_every_named_row_is_there():
    """What a docstring, or a comment of a unit test, calls a row is one."""
    unknown = {row: sorted(files) for row, files in named()[1].items() if row not in checklist()}
    assert not unknown


def test_last_column():
    """The files in the last column are those of the tests that name the row."""
    old = {row for row, cells in checklist().items() if cells[2] != last_column(row)}
    assert not old, f'{sorted(old)} changed: run tests/gateway/test_rows.py as a program'


def write():
    CHECKLIST.write_text(LINE.sub(
        lambda line: f'| {line[1]} | {line[2]} | {line[3]} | {last_column(line[1])} |', CHECKLIST.read_text()))


if __name__ == '__main__':
    write()
