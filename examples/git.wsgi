#!/usr/local/bin/wsgi-cgi
"""A folder of Git repositories, to clone from and push to, by dulwich.

Needs Debian's package python3-dulwich. https://HOST/project.git is the repository
/srv/git/project.git. Anyone who can read can also push: configure the web server
to ask for a password.
"""

import os

from dulwich.errors import NotGitRepository
from dulwich.repo import Repo
from dulwich.server import Backend
from dulwich.web import make_wsgi_chain

FOLDER = "/srv/git"


class Folder(Backend):
    """Opens the repository for each request, so that threads do not share one and
    new repositories are found."""

    def open_repository(self, path):
        name = path.strip("/")
        if name not in os.listdir(FOLDER):
            raise NotGitRepository(name)
        return Repo(os.path.join(FOLDER, name))


application = make_wsgi_chain(Folder())
