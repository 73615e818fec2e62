"""Responses that break off: what the client gets, behind each web server, with
and without a Content-Length, compressed by the server or not, broken off at once
or in the middle. The table is printed at the end; wsgi-cgi-servers(7) says the
same, under "Incomplete responses".
"""

import dataclasses
import itertools
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Callable

import pytest

import fronts
from harness import APPS, SCALE, version_of
from setups import (ServerSetup, apache_proxy, apache_script, caddy, haproxy,
                    lighttpd_cgi, lighttpd_socket, nginx, nginx_fcgiwrap,
                    small_server)

CGI = "/cgi-bin/not_whole.py"

# The columns of the table.
CASES = list(itertools.product(("sized", "unsized"), ("plain", "gzip"),
                               ("once", "middle")))

# What a client gets. "cut": its transfer is broken; "late": the same, after the 5 s
# of Apache's KeepAliveTimeout or of lighttpd's patience with clients; "5xx": an
# error page; "whole": something that looks like a whole response; "hangs": nothing,
# for PATIENCE; "cut/whole": one of these, by who is faster; "-": no such case.
LATE = 4.5
PATIENCE = 15 * SCALE

# --- compression, and other lines that an example has not -----------------------


def before(lines):
    return lambda text: lines + text


def behind(place, lines):
    def edit(text):
        assert place in text
        return text.replace(place, place + lines)
    return edit


def instead(old, new):
    def edit(text):
        assert old in text
        return text.replace(old, new)
    return edit


def lighttpd_deflate(text):
    return behind("server.modules = ( ", '"mod_deflate", ')(text) + (
        'deflate.mimetypes = ( "text/html" )\n'
        'deflate.allowed-encodings = ( "gzip" )\n')


def both(*edits):
    def edit(text):
        for one in edits:
            text = one(text)
        return text
    return edit


NGINX_GZIP = before("gzip on; gzip_min_length 1;\n")
APACHE_DEFLATE = before(
    "LoadModule deflate_module %s/mod_deflate.so\nSetOutputFilter DEFLATE\n"
    % fronts.APACHE_MODULES)
HAPROXY_GZIP = behind(
    "    mode http\n",
    "    compression algo gzip\n    compression type text/html\n")
CADDY_ENCODE = behind(
    "\tbind 127.0.0.1\n", "\tencode gzip {\n\t\tminimum_length 1\n\t}\n")


# --- the rows ---------------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Setup:
    """A row of the table: a file with compression added, and what its clients get."""
    file: str
    start: Callable
    edit: Callable
    expected: str             # in the order of CASES
    more: str = ""            # what it has and the file has not
    prefix: str = ""
    options: tuple = ()
    scheme: str = "http"      # https: with HTTP/2
    query: str = ""
    compresses: bool = True   # False: only what is whole before it is sent

    @property
    def name(self):
        return self.file + (", " + self.more if self.more else "")


def none(text):
    return text


SETUPS = [
    Setup("nginx/socket.conf", nginx, NGINX_GZIP,
          "cut cut cut cut cut cut cut cut"),
    Setup("nginx/socket.conf", nginx, NGINX_GZIP,
          "cut cut cut cut cut cut cut cut", "X-Accel-Buffering: no",
          query="?unbuffered"),
    Setup("nginx/socket.conf", nginx,
          both(NGINX_GZIP, behind("fastcgi_keep_conn on;",
                                  " fastcgi_buffering off;")),
          "hangs hangs whole whole whole whole whole whole",
          "buffering off"),
    Setup("nginx/socket.conf", nginx,
          both(NGINX_GZIP, instead("fastcgi_keep_conn on;",
                                   "fastcgi_keep_conn off;")),
          "cut cut cut cut cut cut cut cut", "no keep_conn"),
    Setup("nginx/tcp.conf", nginx, NGINX_GZIP,
          "cut cut cut cut cut cut cut cut"),
    Setup("nginx/stream.conf", nginx, NGINX_GZIP,
          "cut cut cut cut cut cut cut cut"),
    Setup("nginx/tls.conf", nginx, NGINX_GZIP,
          "cut cut cut cut cut cut cut cut", "HTTP/2", scheme="https"),
    Setup("nginx/fcgiwrap.conf", nginx_fcgiwrap, NGINX_GZIP,
          "cut cut cut cut whole whole whole whole", prefix=CGI),
    Setup("apache/proxy-fcgi.conf", apache_proxy, APACHE_DEFLATE,
          "late late 5xx late late late 5xx late"),
    Setup("apache/proxy-fcgi.conf", apache_proxy,
          both(APACHE_DEFLATE, behind("enablereuse=on", " flushpackets=on")),
          "late late late late late late late late", "flushpackets=on"),
    Setup("apache/tls.conf", apache_proxy, APACHE_DEFLATE,
          "cut/hangs cut/hangs 5xx cut/hangs cut/hangs cut/hangs 5xx cut/hangs",
          "HTTP/2", scheme="https"),
    Setup("apache/fcgid.conf", apache_script("fcgid"), APACHE_DEFLATE,
          "5xx cut 5xx cut 5xx whole 5xx cut"),
    Setup("apache/cgi.conf", apache_script("cgid"), APACHE_DEFLATE,
          "whole whole whole whole whole whole whole whole", prefix="/app"),
    Setup("apache/cgi.conf", apache_script("cgid"),
          both(APACHE_DEFLATE, before("SetEnv ap_trust_cgilike_cl 1\n")),
          "late late whole whole whole whole whole whole",
          "ap_trust_cgilike_cl", "/app"),
    Setup("haproxy/root.cfg", haproxy, HAPROXY_GZIP,
          "cut cut cut cut cut cut cut cut"),
    Setup("haproxy/tls.cfg", haproxy, HAPROXY_GZIP,
          # Seen with 2.6 and with 3.0.
          "cut cut cut cut cut cut cut cut"
          if version_of("haproxy", "-v") >= (3, 0) else
          "cut cut whole whole whole whole whole whole", "HTTP/2",
          scheme="https"),
    Setup("lighttpd/socket.conf", lighttpd_socket, lighttpd_deflate,
          "cut cut whole whole whole whole whole whole"),
    Setup("lighttpd/socket.conf", lighttpd_socket,
          both(lighttpd_deflate, before("server.stream-response-body = 1\n")),
          "cut cut cut/whole cut cut/whole cut cut/whole cut",
          "stream-response-body = 1", compresses=False),
    Setup("lighttpd/stream.conf", lighttpd_socket, lighttpd_deflate,
          "cut cut cut/whole cut cut/whole cut cut/whole cut",
          compresses=False),
    Setup("lighttpd/tls.conf", lighttpd_socket, lighttpd_deflate,
          "cut cut whole whole whole whole whole whole", "HTTP/2",
          scheme="https"),
    Setup("lighttpd/tls.conf", lighttpd_socket,
          both(lighttpd_deflate, before("server.stream-response-body = 2\n")),
          "cut cut cut/whole cut/whole cut/whole cut/whole cut/whole cut/whole",
          "stream-response-body = 2, HTTP/2", scheme="https",
          compresses=False),
    Setup("lighttpd/cgi.conf", lighttpd_cgi, lighttpd_deflate,
          "late late whole whole whole whole whole whole", prefix=CGI),
    Setup("caddy/root.caddyfile", caddy, CADDY_ENCODE,
          "cut cut whole whole whole whole whole whole"),
    Setup("caddy/stream.caddyfile", caddy, CADDY_ENCODE,
          "cut cut whole whole whole whole whole whole"),
    Setup("caddy/tls.caddyfile", caddy, CADDY_ENCODE,
          "cut cut whole whole whole whole whole whole", "HTTP/2",
          scheme="https"),
    Setup("mini_httpd/httpd.sh", small_server(fronts.mini_httpd), none,
          "cut cut - - whole whole - -", prefix=CGI),
    Setup("busybox/httpd.sh", small_server(fronts.busybox), none,
          "cut cut - - whole whole - -", prefix=CGI),
]


def curl(place, url, compressed, *options):
    done = subprocess.run(
        [place.need("curl"), "-s", "-o", "/dev/null", "--max-time",
         str(PATIENCE), *["--compressed"] * compressed, *options,
         *["-k", "--http2"] * url.startswith("https"), url],
        stdout=subprocess.PIPE, text=True)
    return done.returncode, done.stdout


def ask(place, url, compressed):
    """(what it is, curl's exit code, seconds)."""
    code, said = curl(place, url, compressed, "-w",
                      "%{http_code} %{time_starttransfer} %{time_total}")
    status, first, last = said.split()
    if code == 28:
        what = "hangs"
    elif code == 0:
        what = "whole" if status == "200" else status[0] + "xx"
    else:
        what = "late" if float(last) - float(first) > LATE else "cut"
    return what, code, float(last)


def check_whole(place, url, encodings):
    """That nothing is wrong where nothing breaks off, and that the server
    compresses."""
    code, said = curl(place, url, "gzip" in encodings, "-w",
                      "%{http_code} %header{content-encoding}")
    status, _, encoding = said.partition(" ")
    assert (code, status) == (0, "200") and encoding in encodings


@pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: setup.name
                         .replace(" ", "-"))
def test_client_notices(setup, place, record_property):
    """W59, W64: what looks whole, and what does not."""
    place.edit = setup.edit
    place.right_codes["orphan"] = (1,)
    place.logs.allow("error", "Error", "Traceback")
    server_setup = ServerSetup(
        setup.file, setup.start, None, setup.prefix, setup.options,
        scheme=setup.scheme, app=APPS / "not_whole.py")
    _, port = setup.start(place, server_setup)
    base = "%s://127.0.0.1:%d%s/" % (setup.scheme, port, setup.prefix)
    expected = dict(zip(CASES, setup.expected.split()))
    there = [case for case in CASES if expected[case] != "-"]
    for length, compression, _ in there:
        encodings = [""] if compression == "plain" else ["gzip"] if \
            setup.compresses else ["gzip", ""]
        check_whole(place, base + length + "/whole" + setup.query, encodings)

    def one(case):
        length, compression, when = case
        return ask(place, "%s%s/%s%s" % (base, length, when, setup.query),
                   compression == "gzip")

    with ThreadPoolExecutor(len(CASES)) as threads:
        got = dict(zip(there, threads.map(one, there)))
    for case in CASES:
        record_property("not whole", [
            [SETUPS.index(setup), setup.name],
            [CASES.index(case), " ".join(case)],
            "%s %d %.1f" % got[case] if case in got else "-"])
    wrong = {case: (cell, expected[case]) for case, cell in got.items()
             if cell[0] not in expected[case].split("/")}
    assert not wrong
