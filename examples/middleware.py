#!/usr/local/bin/wsgi-cgi
"""A middleware: an application around another one.

It counts the bytes of each response, logs them and adds a header. Blocks are
handed on one by one, as they come, and the wrapped iterable's close() is called:
a middleware that forgets either breaks streaming, or leaks what the application
had open. close() runs when the response is out, so the client does not wait for
it, and what it logs is in the log of the process, not in the web server's.
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
