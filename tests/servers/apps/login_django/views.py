import hashlib

from django.contrib.auth.decorators import login_required
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe


def cookies_of_the_mount(get_response):
    """The browser sends them to this site only, wherever that is. (Where it is
    known beforehand, SESSION_COOKIE_PATH and CSRF_COOKIE_PATH do.)"""
    def middleware(request):
        response = get_response(request)
        for cookie in response.cookies.values():
            cookie["path"] = request.META["SCRIPT_NAME"] or "/"
        return response
    return middleware


@require_safe
def start(request):
    return render(request, "start.html")


@require_safe
@login_required
def private(request):
    return render(request, "private.html",
                  {"stored": request.session.pop("stored", "")})


@require_POST
@login_required
def upload(request):
    file = request.FILES["file"]
    digest = hashlib.sha256()
    for block in file.chunks():
        digest.update(block)
    request.session["stored"] = "%s, %d bytes, %s" % (
        file.name, file.size, digest.hexdigest())
    return redirect("private")
