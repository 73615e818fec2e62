"""Settings of the example: no database, no sessions, one folder of uploads."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent

# Nothing is signed here, so this one is harmless. A real site needs its own.
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "only-for-the-example")
DEBUG = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
ROOT_URLCONF = "urls"
INSTALLED_APPS = []
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "DIRS": [BASE_DIR / "templates"],
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request"]},
}]
USE_TZ = True
MEDIA_ROOT = os.environ.get("DJANGO_UPLOADS", str(BASE_DIR / "uploads"))

# Without this, Django does not log exceptions when DEBUG is off. Under wsgi-cgi,
# sys.stderr is the web server's error log.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler",
                            "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
