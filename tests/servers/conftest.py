"""Fixtures of the server tests.

After each test its servers are told to stop, and then: they and the processes
below them ended with 0, none is left, none was a zombie, and no log holds a line
that speaks of a fault the test did not expect.
"""

import os
from pathlib import Path

import pytest

import harness
import table
from deploy import DEPLOYMENTS
from place import open_place


def pytest_configure(config):
    harness.become_subreaper()
    if not hasattr(config, "workerinput"):  # not in a worker of pytest-xdist
        config.pluginmanager.register(table.Plugin())


def pytest_collection_modifyitems(items):
    """What takes longest begins first: it builds a copy of the tree."""
    items.sort(key=lambda item: item.name != "test_commands")
    for item in items:
        test = getattr(item, "function", None)
        if hasattr(test, "column"):
            item.user_properties.append(("cell", table.cell(item)))


def pytest_report_header(config):
    return "wsgi-cgi: %s" % binary_path()


def binary_path():
    named = os.environ.get("WSGI_CGI")
    if not named:
        return harness.TREE / "build" / "release" / "wsgi-cgi"
    assert os.path.isabs(named), "WSGI_CGI must be an absolute path"
    return Path(named)


@pytest.fixture(scope="session")
def binary():
    path = binary_path()
    assert os.access(path, os.X_OK), "%s is not there: build it first" % path
    return path


@pytest.fixture(scope="session")
def need():
    """need("nginx") is its path, or missing() is called."""
    def look(name):
        path = harness.find_program(name)
        if path is None:
            harness.missing(name)
        return path
    return look


@pytest.fixture
def place(binary, need):
    left = harness.descendants()
    assert not left, "left by something before this test: %s" % left
    with open_place(binary, need) as place:
        yield place


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A test that failed shows what its servers wrote."""
    outcome = yield
    report = outcome.get_result()
    place = getattr(item, "funcargs", {}).get("place")
    if report.when == "call" and report.failed and place:
        report.sections.append(("the servers' logs", place.logs.all()))


@pytest.fixture(params=sorted(DEPLOYMENTS))
def deploy(request, place):
    """deploy(source, *options): a Site that serves it, once for each way."""
    def serve(source, *options):
        return DEPLOYMENTS[request.param](place, source, options)
    serve.way = request.param
    return serve
