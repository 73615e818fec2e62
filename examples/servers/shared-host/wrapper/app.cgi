#!/bin/sh
# Instead of ../flask/app.cgi where the first line would be too long, or where the host
# runs only scripts of /bin/sh. It starts one more program for each request.
# Without "$@": web servers put words of the client there.
WSGI_CGI_OPTIONS="--keep-warm --mount / --venv /home/alice/shop/venv
    --limit-body 10m --request-timeout 25 $WSGI_CGI_OPTIONS"
export WSGI_CGI_OPTIONS
#export TMPDIR=/home/alice/shop
exec /home/alice/wsgi-cgi/bin/wsgi-cgi /home/alice/shop/shop.py
