#!/usr/local/bin/wsgi-cgi
"""Mercurial repositories, to clone from and push to, by hgweb.

Needs Debian's package mercurial. The configuration file below names the
repositories and the users who may push; see "hg help hgweb" and "hg help
config.web":

    [paths]
    project = /srv/hg/project
    [web]
    allow-push = alice, bob

hgweb takes the user from REMOTE_USER: the web server must ask for passwords.
"""

from mercurial.hgweb import hgweb

application = hgweb(b"/srv/hg/hgweb.config")
