"""Sends the files of a folder, FILES, by wsgi.file_wrapper.

?as=TYPE is their Content-Type, ?length adds Content-Length, ?outside names a
file beside the folder.
"""

import os
from urllib.parse import parse_qs


def application(environ, start_response):
    query = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
    name = environ["PATH_INFO"].lstrip("/").encode("latin-1")
    folder = os.fsencode(environ["FILES"])
    if "outside" in query:
        folder = os.path.dirname(folder)
    file = open(os.path.join(folder, name), "rb")
    headers = [("Content-Type", query.get("as", ["application/x-test"])[0]),
               ("Cache-Control", "max-age=77")]
    if "length" in query:
        headers.append(("Content-Length",
                        str(os.fstat(file.fileno()).st_size)))
    start_response("200 OK", headers)
    return environ["wsgi.file_wrapper"](file)
