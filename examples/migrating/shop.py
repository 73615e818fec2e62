"""The application of the examples in this folder: it says what it was asked.

Nothing in it depends on the program that runs it. Each folder has the files for
one such program and, beside them, the files for wsgi-cgi that do the same.
wsgi-cgi-migrating(7) explains them.
"""

import json
import os
import sys

ASKED = ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING",
         "CONTENT_TYPE", "CONTENT_LENGTH", "REMOTE_ADDR", "SERVER_PROTOCOL",
         "HTTP_HOST", "HTTP_COOKIE", "HTTP_AUTHORIZATION", "SHOP_REGION",
         "wsgi.url_scheme")


def application(environ, start_response):
    said = {name: environ.get(name, "") for name in ASKED}
    length = int(environ.get("CONTENT_LENGTH") or 0)
    said["body"] = environ["wsgi.input"].read(length).decode("latin-1")
    # Settings come from the environment of the process, as Django's do.
    said["SHOP_SETTINGS"] = os.environ.get("SHOP_SETTINGS", "")
    said["folder"] = os.getcwd()
    said["python"] = sys.prefix  # the virtual environment, if there is one
    body = json.dumps(said, indent=1, sort_keys=True).encode("ascii")
    start_response("200 OK", [("Content-Type", "application/json"),
                              ("Content-Length", str(len(body)))])
    return [body]
