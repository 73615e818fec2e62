#!/usr/local/bin/wsgi-cgi
"""Calendars and address books over WebDAV, kept in Git: Xandikos.

Needs Debian's package xandikos. Do not use --threads or --processes: it has no
locks. It has one user, "/user/", and no password: configure the web server to ask
for one. nginx and Apache's mod_proxy_fcgi send no length where there is no body;
behind them it answers 415 to a PROPFIND that has neither a body nor a
Content-Type, as rclone sends it.
"""

import os

os.environ.setdefault("XANDIKOSPATH", "/srv/dav")
os.environ.setdefault("AUTOCREATE", "defaults")

from xandikos.wsgi import app  # noqa: E402  (reads both at import)
