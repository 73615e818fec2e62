"""What test_matrix.py asks behind every server. All but what is below /-/ shows
environ. Beside it "closed" gets a line whenever the response of /-/stream is
closed."""

import os
import zlib
from wsgiref.util import shift_path_info

from probe import environ_page, nothing, unread

HERE = os.path.dirname(os.path.abspath(__file__))
BLOCK = bytes(range(256)) * 256  # 64 KiB
PLAIN = [("Content-Type", "text/plain")]


def upload(environ, start_response):
    """Size and checksum of the body, and how it was announced."""
    size = crc = 0
    try:
        while True:
            block = environ["wsgi.input"].read(1 << 16)
            if not block:
                break
            size += len(block)
            crc = zlib.crc32(block, crc)
    except OSError:
        start_response("400 Bad Request", PLAIN)
        return [b"cut off\n"]
    start_response("200 OK", PLAIN)
    return [("%d %08x %s\n" % (size, crc, environ.get("CONTENT_LENGTH")))
            .encode()]


def by_length(environ, start_response):
    """The same of as much as CONTENT_LENGTH says, as frameworks read it."""
    length = environ.get("CONTENT_LENGTH")
    body = environ["wsgi.input"].read(int(length or 0))
    start_response("200 OK", PLAIN)
    return [("%d %08x %s\n" % (len(body), zlib.crc32(body), length)).encode()]


class Blocks:
    """That many bytes of BLOCK after BLOCK; says when it was closed."""

    def __init__(self, size):
        self.left = size

    def __iter__(self):
        while self.left > 0:
            piece = BLOCK[:self.left]
            self.left -= len(piece)
            yield piece

    def close(self):
        with open(os.path.join(HERE, "closed"), "a") as file:
            file.write("%d\n" % self.left)


def stream(environ, start_response):
    """?N bytes, with a Content-Length."""
    size = int(environ["QUERY_STRING"])
    start_response("200 OK", PLAIN + [("Content-Length", str(size))])
    return Blocks(size)


def unsized(environ, start_response):
    """?N bytes without a Content-Length."""
    start_response("200 OK", PLAIN)
    return Blocks(int(environ["QUERY_STRING"]))


def file(environ, start_response):
    """The file "large" beside this one, by wsgi.file_wrapper."""
    path = os.path.join(HERE, "large")
    start_response("200 OK", PLAIN + [
        ("Content-Length", str(os.stat(path).st_size))])
    return environ["wsgi.file_wrapper"](open(path, "rb"))


def headers(environ, start_response):
    """?N headers of 1000 bytes each."""
    count = int(environ["QUERY_STRING"])
    start_response("200 OK", PLAIN + [("Content-Length", "3")] + [
        ("X-Large-%03d" % i, "x" * 985) for i in range(count)])
    return [b"ok\n"]


def lint(environ, start_response):
    import lints
    return lints.application(environ, start_response)


PAGES = {
    "upload": upload, "by-length": by_length, "unread": unread,
    "stream": stream, "unsized": unsized, "file": file,
    "headers": headers, "lint": lint,
    "204": nothing("204 No Content"), "304": nothing("304 Not Modified"),
}


def application(environ, start_response):
    if not environ["PATH_INFO"].startswith("/-/"):
        return environ_page(environ, start_response)
    shift_path_info(environ)
    return PAGES[shift_path_info(environ)](environ, start_response)
