"""What leads to the application's script and is no rewrite: error documents; and
what --doctor says of rewrites. The set-ups are those of rewrites.py.
"""

import re

import pytest

import fronts
from harness import Site
from rewrites import (ALL, HOST, SETUPS, Setup, apache, install, lighttpd,
                      nginx, prepare, write)
from test_rewrites import SECRET, Running


def error_document(place, setup):
    """The application's script for what Apache refuses, and for what is not
    there."""
    def files(place):
        write(place.root / ".htaccess", "ErrorDocument 403 /app.cgi\n"
              "ErrorDocument 404 /app.cgi\n")
        install(place, "root/app.cgi", "app.cgi")
    return apache(files)(place, setup)


def rewritten_error_document(place, setup):
    """The same, with one more redirect."""
    def files(place):
        write(place.root / ".htaccess", "ErrorDocument 403 /denied\n"
              "RewriteEngine On\nRewriteRule ^denied$ app.cgi [L]\n")
        install(place, "root/app.cgi", "app.cgi")
    return apache(files)(place, setup)


def error_handler(place, setup):
    return lighttpd({ALL: 'server.error-handler-404 = "/app.cgi"'})(place,
                                                                    setup)


def error_page(place, setup):
    return nginx({"        try_files $uri /app.cgi$uri$is_args$args;":
                  "        error_page 403 404 = /app.cgi;"},
                 lines="    error_page 403 404 = /app.cgi;\n")(place, setup)


def handle_errors(place, setup):
    """Of Caddy, in the place of what leads all URLs to the application."""
    prepare(place, setup)
    place.gateway(place.app_dir / "app.py", "--mount", "/")
    text = (HOST / "app.caddyfile").read_text()
    start, end = text.index("\t@url"), text.index("\tfile_server")
    site = text[start:end]
    proxy = site[site.index("\treverse_proxy"):].replace("@app ", "")
    config = place.folder / "host.caddyfile"
    config.write_text(text[:start] + "\terror /admin/* 403\n\tfile_server\n"
                      "\thandle_errors {\n\trewrite * /app.py\n" + proxy
                      + "\t}\n}\n")
    return fronts.caddy(place, str(config), root=place.root,
                        socket=place.socket)


@pytest.mark.parametrize("start", [
    error_document, rewritten_error_document, error_handler, error_page,
    handle_errors])
def test_error_document_has_no_path(place, start):
    """What the server has refused does not reach the application by its being the
    error document: it is asked for its own script's page, which it has not."""
    running = Running(place, Setup("", start))
    place.logs.allow(r"forbidden|File does not exist|AH00128|failed \(2: No such")
    assert running.site.ask("/file.txt").status == 200
    for path in ("/admin/x", "/page/x"):
        got = running.site.ask(path)
        assert got.status in (403, 404) and SECRET not in got.text, (path, got)
        assert '"name"' not in got.text


# --- the doctor --------------------------------------------------------------------


def said_by_doctor(site, path):
    got = site.ask(path, headers={"Accept": "text/plain"})
    assert got.status == 200, got
    return got.text


def doctor_script(place, name, mount=""):
    write(place.root / name, "#!%s --doctor%s\n" % (
        place.binary, mount and " --mount " + mount))


def test_doctor_behind_htaccess(place):
    """Without --mount: the line that is missing. With it: nothing is."""
    def files(place):
        install(place, "root/.htaccess", ".htaccess")
        doctor_script(place, "app.cgi")
    site = Site(apache(files)(place, SETUPS[0]))
    said = said_by_doctor(site, "/page/x")
    assert said.startswith("wsgi-cgi --doctor: 1 thing to change\n")
    assert "\nchange: The server has rewritten the URL" in said
    assert "        --mount /\n" in said
    doctor_script(place, "app.cgi", "/")
    said = said_by_doctor(site, "/page/x")
    assert said.startswith("wsgi-cgi --doctor: Nothing to change\n")
    assert "\nnote: The server has rewritten the URL to the script; the " in said
    assert "\nSCRIPT_NAME: (empty) " in said
    assert "\nPATH_INFO: /page/x " in said
    assert "<- the same path" in said
    assert "the requested path below --mount" in said
    write(place.root / ".htaccess", "RewriteEngine On\n"
          "RewriteRule ^old/(.*)$ app.cgi/new/$1 [L]\n")
    said = said_by_doctor(site, "/old/x")
    assert "\nnote: The server has rewritten this URL to another path" in said
    assert "\nPATH_INFO: /new/x " in said
    write(place.root / ".htaccess", "ErrorDocument 404 /app.cgi\n")
    said = said_by_doctor(site, "/page/x")
    assert "\nchange: This is an error document" in said
    assert "        FallbackResource /app.cgi\n" in said


@pytest.mark.parametrize("server", ["lighttpd", "nginx", "Caddy"])
def test_doctor_where_the_path_is_missing(place, server):
    """The script alone is named: the line that hands the path on."""
    setup = Setup("", None)
    prepare(place, setup)
    if server == "lighttpd":
        port = lighttpd({ALL: 'server.error-handler-404 = "/app.cgi"'})(
            place, setup)
        doctor_script(place, "app.cgi", "/")
        line = "url.rewrite-if-not-file = ( \"\" => " \
               '"/app.py${url.path}${qsa}" )'
        found = "\nchange: This is an error document"
    elif server == "nginx":
        port = nginx({"$uri /app.cgi$uri": "$uri /app.cgi"})(place, setup)
        doctor_script(place, "app.cgi", "/")
        line = "try_files $uri /app.py$uri$is_args$args;"
        found = "\nchange: The server has rewritten the URL to a script, with"
    else:
        place.gateway("--doctor", "--mount", "/")
        text = (HOST / "app.caddyfile").read_text()
        config = place.folder / "host.caddyfile"
        config.write_text(text.replace("/app.py{path}", "/app.py"))
        port = fronts.caddy(place, str(config), root=place.root,
                            socket=place.socket)
        line = "rewrite @url /app.py{path}"
        found = "\nchange: The server has rewritten the URL to a script, with"
    said = said_by_doctor(Site(port), "/page/x")
    assert found in said and "        %s\n" % line in said, said
    assert "/app." in re.search(r"\nPATH_INFO: (.*)", said)[1]
