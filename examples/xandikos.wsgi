#!/usr/local/bin/wsgi-cgi
"""Calendars and address books over WebDAV, kept in Git: Xandikos.

Needs Debian's package xandikos, and one thread: it locks nothing, so the command
line has no --threads and no --processes. Its user is "/user/", without a
password: have the web server ask for one. Behind nginx and Apache's
mod_proxy_fcgi, which send no length where there is no body, it answers 415 to a
PROPFIND without a body and a Content-Type, such as rclone's.
"""

import os

os.environ.setdefault("XANDIKOSPATH", "/srv/dav")
os.environ.setdefault("AUTOCREATE", "defaults")

from xandikos.wsgi import app  # noqa: E402  (it reads them at once)
