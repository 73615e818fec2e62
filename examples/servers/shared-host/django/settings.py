# Lines for the end of mysite/settings.py, where /home/alice/mysite/manage.py is the
# project's. Then remove the SECRET_KEY that is above.

# With DEBUG, Django shows errors to everyone, and does not look at ALLOWED_HOSTS.
DEBUG = False
# The names of your site.
ALLOWED_HOSTS = ["alice.example"]
# Beside manage.py, and so outside the web root.
SECRET_KEY = (BASE_DIR / "secret-key").read_text().strip()
# The folder for collectstatic: the web server sends what is in it.
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR.parent / "public_html" / "static"
# Without DEBUG, Django logs no exception by itself. This is the server's error log.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"]},
}
