"""A page, a form with CSRF protection, and two ways to upload a file."""

import os
import re
import tempfile
from pathlib import Path

from django.conf import settings
from django.http import HttpResponse, HttpResponseBadRequest
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

BLOCK = 64 * 1024
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def store(name, blocks):
    """Writes the whole file or nothing: where the body is cut off, Django raises
    UnreadablePostError here, and the part that arrived is deleted."""
    folder = Path(settings.MEDIA_ROOT)
    folder.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(prefix=".", suffix=".part", dir=folder)
    try:
        size = 0
        with os.fdopen(handle, "wb") as file:
            for block in blocks:
                file.write(block)
                size += len(block)
        os.replace(part, folder / name)
    except BaseException:
        os.unlink(part)
        raise
    return size


@require_safe
def start(request):
    return render(request, "start.html")


@require_http_methods(["GET", "HEAD", "POST"])
def greet(request):
    # CsrfViewMiddleware has already rejected any POST without its token.
    return render(request, "greet.html", {"name": request.POST.get("name")})


@require_http_methods(["GET", "HEAD", "POST"])
def upload(request):
    """From a browser: a form, multipart/form-data."""
    if request.method != "POST":
        return render(request, "upload.html")
    file = request.FILES.get("file")
    if file is None or not NAME.fullmatch(file.name):
        return HttpResponseBadRequest("A file with a plain name, please.\n")
    size = store(file.name, file.chunks(BLOCK))
    return HttpResponse("stored %s, %d bytes\n" % (file.name, size),
                        content_type="text/plain", status=201)


@csrf_exempt  # not from a form: curl -T photo.jpg http://HOST/files/
@require_http_methods(["PUT"])
def put(request, name):
    """From a program: the body is the file."""
    if not NAME.fullmatch(name):
        return HttpResponseBadRequest("A plain name, please.\n")
    size = store(name, iter(lambda: request.read(BLOCK), b""))
    return HttpResponse("stored %s, %d bytes\n" % (name, size),
                        content_type="text/plain", status=201)
