#!/bin/sh
# Before: the configuration file, and what the command line adds.
exec gunicorn --config /srv/app/gunicorn.conf.py shop:application
