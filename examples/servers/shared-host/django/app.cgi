#!/home/alice/wsgi-cgi/bin/wsgi-cgi --keep-warm --mount / --venv /home/alice/mysite/venv --python-path /home/alice/mysite
# No more than this in the web root: a server that does not run it shows it.
from mysite.wsgi import application
