#!/usr/local/bin/wsgi-cgi
"""The Git repositories of a folder, to be cloned from and pushed to: dulwich.

Needs Debian's package python3-dulwich. /srv/git/project.git is there as
https://HOST/project.git. Whoever can ask for a page can push as well: have the
web server ask for a password.
"""

import os

from dulwich.errors import NotGitRepository
from dulwich.repo import Repo
from dulwich.server import Backend
from dulwich.web import make_wsgi_chain

FOLDER = "/srv/git"


class Folder(Backend):
    """A repository is opened anew for each request, so that threads do not
    share one, and those that come later are seen."""

    def open_repository(self, path):
        name = path.strip("/")
        if name not in os.listdir(FOLDER):
            raise NotGitRepository(name)
        return Repo(os.path.join(FOLDER, name))


application = make_wsgi_chain(Folder())
