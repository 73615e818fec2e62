#!/bin/sh
# A new Django project at /srv/mysite, ready for nginx/django.conf,
# lighttpd/django.conf or apache/django.conf. The lines that it adds to settings.py
# are what a project needs behind any web server.
# Needs: python3-django, or Django in a virtual environment (--venv).
set -e
cd /srv
django-admin startproject mysite
cd mysite
cat >>mysite/settings.py <<'END'

# With DEBUG, Django shows errors to everyone, and does not look at ALLOWED_HOSTS.
DEBUG = False
# The names of your site.
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
# The folder for collectstatic, which the web server sends at STATIC_URL.
STATIC_ROOT = BASE_DIR / "static"
# Without DEBUG, Django logs no exception by itself.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"]},
}
END
# Not "python3 manage.py": the first python3 in PATH may be one without Django.
django-admin collectstatic --pythonpath . --settings mysite.settings --noinput
# The stock database is a file. SQLite writes to its folder, too.
django-admin migrate --pythonpath . --settings mysite.settings
chown www-data:www-data . db.sqlite3
cat <<END

A new project has no page at /: open /admin/. To create a user for it:
  cd $PWD && /usr/bin/python3 manage.py createsuperuser
(With Django in a virtual environment: the python3 of that.)
END
