"""Responses that break off, for test_not_whole.py. /sized/ and /unsized/: with a
Content-Length or not; below it "once": after 1000 bytes, "middle": after a
megabyte, "whole": not at all. ?unbuffered: nginx is not to buffer it."""

import random

TEXT = random.Random(1).randbytes(1 << 15).hex().encode()  # hard to compress
SIZES = {"once": 1000, "middle": 1 << 20, "whole": 1000}


def body(size, whole):
    while size > 0:
        block = TEXT[:size]
        size -= len(block)
        yield block
    if not whole:
        raise RuntimeError("broken off")


def application(environ, start_response):
    length, _, when = environ["PATH_INFO"].strip("/").partition("/")
    headers = [("Content-Type", "text/html")]
    if length == "sized":
        size = SIZES[when] * (1 if when == "whole" else 2)
        headers.append(("Content-Length", str(size)))
    if environ["QUERY_STRING"] == "unbuffered":
        headers.append(("X-Accel-Buffering", "no"))
    start_response("200 OK", headers)
    return body(SIZES[when], when == "whole")
