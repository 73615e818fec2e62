#!/usr/local/bin/wsgi-cgi
"""A middleware: an application around another one.

It counts and logs the bytes of each response, and adds a header. A middleware
must pass on each block as it comes, or streaming breaks, and must call close() of
the iterable that it wraps, or the application leaks open files and the like.
close() runs after the response, so the client does not wait for it. What it logs
goes to the log of the process, not to that of the web server.
"""

from hello import application as hello  # this file's folder is on sys.path


class Counted:
    def __init__(self, blocks, environ):
        self.blocks = blocks
        self.environ = environ
        self.sent = 0

    def __iter__(self):
        for block in self.blocks:
            self.sent += len(block)
            yield block

    def close(self):
        if hasattr(self.blocks, "close"):
            self.blocks.close()
        self.environ["wsgi.errors"].write(
            "middleware: %s %s: %d bytes\n" % (
                self.environ["REQUEST_METHOD"],
                self.environ["PATH_INFO"], self.sent))


def counted(app):
    def wrapped(environ, start_response):
        def start(status, headers, exc_info=None):
            headers = headers + [("X-Counted", "yes")]
            if exc_info:
                return start_response(status, headers, exc_info)
            return start_response(status, headers)

        return Counted(app(environ, start), environ)

    return wrapped


application = counted(hello)
