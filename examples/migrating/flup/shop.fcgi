#!/usr/bin/python3
# Before: flup, with a socket that the web server passes.
import sys
from flup.server.fcgi import WSGIServer

sys.path.insert(0, "/srv/app")
from shop import application

if __name__ == "__main__":
    WSGIServer(application, minSpare=1, maxSpare=2, maxThreads=4,
               debug=False).run()
