#!/home/alice/wsgi-cgi/bin/wsgi-cgi --keep-warm --mount / --venv /home/alice/shop/venv --python-path /home/alice/shop
# No more than this in the web root: a server that does not run it shows it.
from shop import app
