"""--x-sendfile behind the servers that know such a header: the server sends the
file, from the very files of examples/servers."""

import os
import random
from email.utils import formatdate
from urllib.parse import quote

import pytest

import fronts
from harness import APPS, Site

NAMES = ["plain.bin", "a b%20\u00fc.bin", "100%.bin", "x?y#z.bin",
         "sub/q\"'&;.bin", "back\\slash+plus~.bin"]


def lighttpd(place, files):
    port = place.lighttpd("lighttpd/x-sendfile.conf", socket=place.socket,
                          files=files)
    return port, "X-Sendfile:%s" % files


def nginx(place, files):
    port = fronts.nginx(place, "nginx/x-accel-redirect.conf",
                        socket=place.socket, files=files)
    return port, "X-Accel-Redirect:/protected=%s" % files


def apache(place, files):
    port = fronts.apache(place, "apache/x-sendfile.conf", "proxy",
                         "proxy_fcgi", "xsendfile", socket=place.socket,
                         files=files)
    return port, "X-Sendfile:%s" % files


SERVERS = {"lighttpd": lighttpd, "nginx": nginx, "apache": apache}


@pytest.fixture(params=SERVERS)
def site(request, place):
    """A server in front of apps/files.py; site.files is the folder."""
    files = place.folder / "files"
    (files / "sub").mkdir(parents=True)
    port, option = SERVERS[request.param](place, files)
    place.gateway(place.copy_app(APPS / "files.py"), "--set", "FILES=%s" % files, "--x-sendfile", option)
    site = Site(port)
    site.files, site.server = files, request.param
    return site


def was_sent_by_the_server(got, path):
    """The application says nothing of when the file changed."""
    written = formatdate(path.stat().st_mtime, usegmt=True)
    assert got.headers["Last-Modified"] in (None, written)
    return got.headers["Last-Modified"] == written


def fill(path, size):
    data = random.Random(size).randbytes(size)
    path.write_bytes(data)
    return data


@pytest.mark.parametrize("size", [0, 1, 5 << 20])
def test_bytes(size, site):
    """The file's bytes and its length, whether or not the application has said
    the length."""
    data = fill(site.files / "plain.bin", size)
    for query in ("", "?length"):
        got = site.ask("/plain.bin" + query)
        assert (got.status, len(got.body)) == (200, size), query
        assert got.body == data
        if size > 0:  # an empty one is read, to its end
            assert was_sent_by_the_server(got, site.files / "plain.bin")
            assert got.headers.get_all("Content-Length") == [str(size)]
        assert got.headers["Content-Type"] == "application/x-test"
        assert got.headers["Cache-Control"] == "max-age=77"
        assert not {"X-Sendfile", "X-Accel-Redirect"} & set(got.headers)


def test_names(site):
    for name in NAMES:
        data = fill(site.files / name, 1000 + len(name))
        got = site.ask("/" + quote(name))
        assert (got.status, got.body) == (200, data), name
        # mod_xsendfile 0.12 takes a name as it is, 1.0 decodes it.
        assert was_sent_by_the_server(got, site.files / name) == \
            (site.server != "apache" or "%" not in name)


def test_the_server_answers_ranges(site):
    """The application knows nothing of ranges: a 206 is the server's work."""
    data = fill(site.files / "plain.bin", 100_000)
    got = site.ask("/plain.bin", headers={"Range": "bytes=70000-70999"})
    assert (got.status, got.body) == (206, data[70000:71000])
    assert got.headers["Content-Range"] == "bytes 70000-70999/100000"


def test_head(site):
    fill(site.files / "plain.bin", 1234)
    got = site.ask("/plain.bin?length", "HEAD")
    assert (got.status, got.body) == (200, b"")
    if site.server != "apache":  # which leaves it out
        assert got.headers["Content-Length"] == "1234"
    assert not was_sent_by_the_server(got, site.files / "plain.bin")


def test_outside_of_the_folder_it_is_sent_from_here(site, place):
    """A name that begins like the folder's is not below it."""
    data = fill(place.folder / "files-of-others", 5000)
    got = site.ask("/files-of-others?outside")
    assert (got.status, got.body) == (200, data)
    assert got.headers["Last-Modified"] is None
    os.symlink(place.folder / "files-of-others", site.files / "link.bin")
    got = site.ask("/link.bin")
    assert (got.status, got.body) == (200, data)
    assert got.headers["Last-Modified"] is None


def test_names_no_server_takes(site):
    """A line break or bytes that are not UTF-8: sent from here."""
    for name in (b"line\nbreak.bin", b"latin\xfc.bin"):
        path = os.fsencode(site.files) + b"/" + name
        with open(path, "wb") as file:
            file.write(b"some bytes")
        got = site.ask("/" + quote(name))
        if site.server == "lighttpd":
            assert got.status in (200, 400)  # it refuses such URLs
        else:
            assert (got.status, got.body) == (200, b"some bytes"), name


def test_lighttpd_cgi(place):
    """A script's first line has the option; lighttpd two of its own."""
    files, folder = place.folder / "files", place.root / "cgi-bin"
    files.mkdir()
    folder.mkdir()
    script = place.copy_app(APPS / "files.py", [
        "--set", "FILES=%s" % files, "--x-sendfile", "X-Sendfile:%s" % files],
        folder)
    site = Site(place.lighttpd(
        "lighttpd/cgi.conf", breakage_log=place.logs.path("app.log"),
        extra='cgi.x-sendfile = "enable"\n'
              'cgi.x-sendfile-docroot = ( "%s" )' % files),
        "/cgi-bin/" + script.name)
    for name in NAMES[:2]:
        data = fill(files / name, 100_000)
        got = site.ask("/" + quote(name) + "?length")
        assert (got.status, got.body) == (200, data)
        assert was_sent_by_the_server(got, files / name)
