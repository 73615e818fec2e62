#!/usr/local/bin/wsgi-cgi
"""Mercurial repositories, to be cloned from and pushed to: hgweb.

Needs Debian's package mercurial. The file named below says which repositories
there are and who may push, see "hg help hgweb" and "hg help config.web":

    [paths]
    project = /srv/hg/project
    [web]
    allow-push = alice, bob

The names are those of REMOTE_USER: the web server asks for the passwords.
"""

from mercurial.hgweb import hgweb

application = hgweb(b"/srv/hg/hgweb.config")
