#!/usr/local/bin/wsgi-cgi
"""ASGI (FastAPI, Starlette, Quart, Django's asgi.py) on a WSGI server.

ASGIMiddleware turns it into a WSGI application; wsgi-cgi finds it by its name,
"application". Needs Debian's python3-a2wsgi (13 and later), or "pip install
a2wsgi" in a virtual environment and --venv on the command line.

WebSockets and lifespan events do not work. ASGIMiddleware starts the thread of
its event loop here, at import. Do not use --preload: the workers that it forks
would not have that thread.
"""

from a2wsgi import ASGIMiddleware


async def app(scope, receive, send):
    size = 0
    more = True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = ("%s %s, %d bytes\n" % (scope["method"], scope["path"],
                                   size)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


application = ASGIMiddleware(app)
