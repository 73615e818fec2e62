"""The tables at the end of a run: servers x cases, rewrites x cases.

A test of test_matrix.py or test_rewrites.py records a cell: ("cell", [row, column,
text, table]), the text "ok" or the deviation that it has just seen and that is
documented. This plugin gathers them, from the workers of pytest-xdist too. A "figure" of any test is a
line below the table.
"""

import textwrap

FAILED = "FAILED"


def cell(item):
    """[row, column, "ok", table] of a test, with what puts them in order."""
    setup = item.callspec.params["running"]
    return [[item.module.SETUPS.index(setup), setup.name],
            [item.function.__code__.co_firstlineno, item.function.column],
            "ok", item.module.TITLE]


class Table:
    def __init__(self):
        self.rows, self.columns, self.cells = {}, {}, {}

    def add(self, row, column, text):
        self.rows.setdefault(row)
        self.columns.setdefault(column)
        if self.cells.get((row, column)) != FAILED:
            self.cells[row, column] = text

    def lines(self):
        """Rows and columns in their order; deviations are letters, explained
        below. "-": there is no such case."""
        notes, shown = {}, {}
        rows = sorted(self.rows)
        columns = sorted(self.columns)
        for row in rows:
            for column in columns:
                text = self.cells.get((row, column), "-")
                if text not in ("-", "ok", FAILED):
                    text = notes.setdefault((column, text), mark(len(notes)))
                shown[row, column] = text
        names = [name for _, name in columns]
        widths = [max([len(name)] + [len(shown[row, column]) for row in rows])
                  for name, column in zip(names, columns)]
        first = max(len(row) for _, row in rows)
        yield " ".join([" " * first] + [
            name.rjust(width) for name, width in zip(names, widths)])
        for row in rows:
            yield " ".join([row[1].ljust(first)] + [
                shown[row, column].rjust(width)
                for column, width in zip(columns, widths)])
        for (column, text), letter in notes.items():
            yield from textwrap.wrap(
                "%s = %s: %s" % (letter, column[1], text), 100,
                subsequent_indent="    ")


class Plain(Table):
    """A table whose cells are shown as they are."""

    def lines(self):
        rows, columns = sorted(self.rows), sorted(self.columns)
        first = max(len(row[1]) for row in rows)
        width = max(len(text) for text in self.cells.values())
        heads = [column[1].split() for column in columns]
        for words in zip(*heads):
            yield " ".join([" " * first] + [w.ljust(width) for w in words])
        for row in rows:
            yield " ".join([row[1].ljust(first)] + [
                self.cells.get((row, column), "").ljust(width)
                for column in columns])


def mark(n):
    """a, b, ... z, aa, ab ..."""
    return (chr(96 + n // 26) if n >= 26 else "") + chr(97 + n % 26)


class Plugin:
    def __init__(self):
        self.tables = {}
        self.not_whole = Plain()
        self.figures = []

    def pytest_runtest_logreport(self, report):
        for name, value in report.user_properties:
            if (name == "figure" and report.when == "call"
                    and value not in self.figures):
                self.figures.append(value)
            if name == "not whole" and report.when == "call":
                row, column, text = value
                self.not_whole.add(tuple(row), tuple(column), text)
            if name != "cell":
                continue
            row, column, text, title = value
            if report.failed:
                text = FAILED
            elif report.skipped:
                text = "-"
            elif report.when != "call":
                continue
            self.tables.setdefault(title, Table()).add(
                tuple(row), tuple(column), text)

    def pytest_terminal_summary(self, terminalreporter):
        for title, table in sorted(self.tables.items(), reverse=True):
            terminalreporter.section(title)
            for line in table.lines():
                terminalreporter.write_line(line)
        if self.not_whole.rows:
            terminalreporter.section("responses that break off: what, curl's exit code, seconds")
            for line in self.not_whole.lines():
                terminalreporter.write_line(line.rstrip())
        if self.figures:
            terminalreporter.section("figures")
            for line in self.figures:
                terminalreporter.write_line(line)
