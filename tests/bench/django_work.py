"""A page by Django: a template, no database."""

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.shortcuts import render
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=['*'], ROOT_URLCONF=__name__, SECRET_KEY='of the benchmark', USE_TZ=True,
    TEMPLATES=[{'BACKEND': 'django.template.backends.django.DjangoTemplates', 'OPTIONS': {'loaders': [
        ('django.template.loaders.locmem.Loader',
         {'page.html': '<h1>Hello {{ name }}</h1>{% for n in numbers %}<p>{{ n }}</p>{% endfor %}'})]}}])
urlpatterns = [path('', lambda request: render(request, 'page.html', {'name': 'world', 'numbers': range(20)}))]
application = get_wsgi_application()
