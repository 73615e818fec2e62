"""The rows of the table of rewrites: web servers that lead URLs to one script.

Those with a file come from examples/servers/shared-host; the others are what else
is found on servers, most with the lines of those files and a few of their own.
"""

import dataclasses
import re
from typing import Callable

import fronts
from harness import APPS, EXAMPLE_APP_DIR, EXAMPLE_BINARY, SERVERS, substitute

HOST = SERVERS / "shared-host"

# Every server denies the pages below /admin by their path, and the application
# has a secret there.
APACHE_DENIES = """
<Location "%s/admin">
    Require all denied
</Location>
"""


@dataclasses.dataclass(frozen=True)
class Setup:
    """A row of the table: how a server leads URLs to the script, and where it
    deviates. The defaults are what most of them do."""
    name: str
    start: Callable           # (place, setup) -> the server's port
    prefix: str = ""          # the application's URL
    script: str = "/app.cgi"  # the script's own
    old: bool = True          # /old/x leads to /page/x
    question: int = 200       # what %3F in a path leads to
    percent: int = 200        # the same of %25
    slash: int = 200          # the same of %2F
    files: bool = True        # has some of its own
    rule: bool = True         # reads a path before it looks at its rules
    slashes: int = 200        # the same of //


def install(place, example, target, **more):
    """A file of shared-host, in its place on the server."""
    text = (HOST / example).read_text()
    if text.startswith("#!"):
        text = substitute(text, {EXAMPLE_BINARY: place.binary,
                                 EXAMPLE_APP_DIR: place.app_dir})
    for old, new in more.items():
        assert old in text, old
        text = text.replace(old, new)
    write(place.root / target, text)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755 if text.startswith("#!") else 0o644)


def prepare(place, setup):
    """The application, and a file that is not its."""
    place.copy_app(APPS / "links.py")
    (place.app_dir / "app.py").write_text(
        (place.app_dir / "links.py").read_text())
    (place.app_dir / "app.py").chmod(0o644)
    write(place.root / setup.prefix.strip("/") / "file.txt", "a file\n")


def script(place, target, mount):
    """root/app.cgi under another name or mount."""
    install(place, "root/app.cgi", target)
    path = place.root / target
    path.write_text(path.read_text().replace("--mount / ",
                                             "--mount %s " % (mount or "/")))


# --- Apache -------------------------------------------------------------------


def apache(files, *modules, host="", denies=APACHE_DENIES):
    """files(place): what the user has put there; host: lines of the host's."""
    def start(place, setup):
        prepare(place, setup)
        files(place)
        lines = host.replace("@SOCKET@", str(place.socket))
        if "@SOCKET@" in host:
            place.gateway(place.app_dir / "app.py", "--mount",
                          setup.prefix or "/")
        text = (HOST / "apache.conf").read_text()
        end = "</VirtualHost>"
        assert text.count(end) == 1
        config = place.folder / "host.conf"
        config.write_text(text.replace(end, lines + (
            denies % setup.prefix if "%s" in denies else denies) + end))
        place.logs.allow("client denied by server configuration",
                         r"AH10508|AH10244.*\(\S*/page/100%\)")
        modules_ = modules or ("cgid", "rewrite", "dir")
        return fronts.apache(place, str(config), *modules_)
    return start


def root(place):
    install(place, "root/.htaccess", ".htaccess")
    install(place, "root/app.cgi", "app.cgi")
    add_old(place)


OLD = "RewriteRule ^old/(.*)$ %s/page/$1 [QSA,L]\n"


def add_old(place, name="app.cgi", file=".htaccess"):
    """A page that has moved, as site/.htaccess has it."""
    assert OLD % "app.cgi" in (HOST / "site/.htaccess").read_text()
    path = place.root / file
    path.write_text(path.read_text().replace(
        "RewriteEngine On\n", "RewriteEngine On\n" + OLD % name))


def site(place):
    install(place, "site/.htaccess", "site/.htaccess")
    install(place, "site/app.cgi", "site/app.cgi")


def fcgid(place):
    install(place, "fcgid/.htaccess", ".htaccess")
    install(place, "fcgid/app.fcgi", "app.fcgi")
    add_old(place, "app.fcgi")


def fallback(place):
    install(place, "fallback/.htaccess", ".htaccess")
    install(place, "root/app.cgi", "app.cgi")


def fallback_fcgid(place):
    install(place, "fallback/.htaccess", "site/.htaccess",
            **{"/app.cgi": "/site/app.fcgi", "DirectoryIndex app.cgi":
               "DirectoryIndex app.fcgi"})
    script(place, "site/app.fcgi", "/site")


def alone(place):
    """Without $1: "RewriteRule ^ app.cgi"."""
    root(place)
    path = place.root / ".htaccess"
    path.write_text(path.read_text().replace("^(.*)$ app.cgi/$1 [QSA,L]",
                                             "^ app.cgi [L]"))


def index(place):
    """Folders are not the application's, but the first page is."""
    root(place)
    path = place.root / ".htaccess"
    path.write_text("DirectoryIndex app.cgi\n" + path.read_text().replace(
        "RewriteRule ^(.*)", "RewriteCond %{REQUEST_FILENAME} !-d\n"
        "RewriteRule ^(.*)"))


def other_folder(place):
    """The script is not in the folder whose URLs it has."""
    install(place, "root/.htaccess", "site/.htaccess",
            **{"app.cgi/$1": "/cgi-bin/app.cgi/$1"})
    script(place, "cgi-bin/app.cgi", "/site")
    add_old(place, "/cgi-bin/app.cgi", "site/.htaccess")


def public(place):
    """Two .htaccess files, one leads to the other."""
    install(place, "root/.htaccess", "public/.htaccess")
    script(place, "public/app.cgi", "/")
    (place.root / "file.txt").rename(place.root / "public/file.txt")
    write(place.root / ".htaccess",
          "RewriteEngine On\nRewriteRule ^(.*)$ public/$1 [L]\n")
    add_old(place, "/page", ".htaccess")
    path = place.root / ".htaccess"
    path.write_text(path.read_text().replace("/page/page", "page"))


def only_script(place):
    install(place, "root/app.cgi", "app.cgi")


def proxy_file(place):
    """The script is only a name: mod_proxy_fcgi has the application."""
    install(place, "root/.htaccess", ".htaccess", **{"app.cgi": "app.py"})
    write(place.root / "app.py", "")
    add_old(place, "app.py")


VIRTUAL_HOST = """
RewriteEngine On
RewriteRule ^/admin - [F]
RewriteRule ^/old/(.*)$ /app.cgi/page/$1 [PT,L]
RewriteCond %{DOCUMENT_ROOT}%{REQUEST_URI} !-f
RewriteRule ^/(.*)$ /app.cgi/$1 [PT]
"""
PROXY_FILE = """
<Files app.py>
    SetHandler "proxy:unix:@SOCKET@|fcgi://localhost/"
</Files>
"""
PROXY_FCGI = ("proxy", "proxy_fcgi", "rewrite", "dir")
# No script anywhere: an application at /app.
PROXY_PASS = """
RewriteEngine On
RewriteRule ^/app/old/(.*)$ /app/page/$1 [PT]
ProxyPass "/app" "unix:@SOCKET@|fcgi://localhost/app"
"""


def proxy_pass(place):
    """All of /app is the application's."""


# --- the others -----------------------------------------------------------------


def lighttpd(replace=None, fcgi=False, mount=""):
    """replace: {words of the file: others}."""
    def start(place, setup):
        prepare(place, setup)
        text = (HOST / "lighttpd.conf").read_text()
        for old, new in (replace or {}).items():
            assert old in text, old
            text = text.replace(old, new.replace("@SOCKET@",
                                                 str(place.socket)))
        config = place.folder / "host.conf"
        config.write_text(text.replace('( "mod_rewrite"',
                                       '( "mod_access", "mod_rewrite"'))
        if fcgi:
            place.gateway(place.app_dir / "app.py", "--mount", mount or "/")
        else:
            script(place, setup.script.strip("/"), mount)
        # Asked before anything is rewritten.
        extra = ('$HTTP["url"] =~ "^%s/admin(/|$)" { url.access-deny = ("") }\n'
                 'url.rewrite-once = ( "^%s/old/(.*)$" => '
                 '"%s/page/$1" )\n' % (setup.prefix, setup.prefix,
                                       setup.script))
        return place.lighttpd(str(config), extra,
                              breakage_log=place.logs.path("app.log"))
    return start


ALL = 'url.rewrite-if-not-file = ( "" => "/app.cgi${url.path}${qsa}" )'
LIGHTTPD_ALONE = {ALL: '''$HTTP["url"] =~ "^/site(/|$)" {
  url.rewrite-if-not-file = ( "" => "/cgi-bin/app.cgi${qsa}" )
}'''}
LIGHTTPD_FCGI = {
    '"mod_cgi"': '"mod_fastcgi"', "/app.cgi$": "/app.py$",
    'cgi.assign = ( ".cgi" => "" )':
        'fastcgi.server = ( "/app.py" => (( "socket" => "@SOCKET@", '
        '"check-local" => "disable" )) )'}


def nginx(replace=None, fcgi=False, lines=""):
    def start(place, setup):
        prepare(place, setup)
        text = (HOST / "nginx.conf").read_text()
        for old, new in (replace or {}).items():
            assert old in text, old
            text = text.replace(old, new)
        if fcgi:
            place.gateway(place.app_dir / "app.py", "--mount",
                          setup.prefix or "/")
            text = text.replace("/run/fcgiwrap.socket", str(place.socket))
            pairs = {}
        else:
            script(place, setup.script.strip("/"), setup.prefix)
            pairs = {"fcgiwrap": fronts.fcgiwrap(place)}
        deny = "    location %s/admin { deny all; }\n%s" % (setup.prefix,
                                                            lines)
        config = place.folder / "host.conf"
        config.write_text(re.sub(r"(?m)^}\n\Z", deny + "}\n", text))
        place.logs.allow("access forbidden by rule")
        return fronts.nginx(place, str(config), **pairs)
    return start


STOCK = {
    "location / {": "location /site/ {", "/app.cgi$uri": "/app.py$uri",
    "^/app\\.cgi(/|$)": "^/app\\.py(/|$)", "/old/": "/site/old/",
    "/page/": "/site/page/",
    "        fastcgi_split_path_info ^(/app\\.cgi)((?s:.*))$;\n": "",
    "        fastcgi_param SCRIPT_FILENAME "
    "$document_root$fastcgi_script_name;\n": "",
    "        fastcgi_param PATH_INFO $fastcgi_path_info;\n": ""}
NAMED = {
    "$uri /app.cgi$uri$is_args$args": "$uri @app",
    "location ~ ^/app\\.cgi(/|$)": "location @app", **{
        line: "" for line in STOCK if "fastcgi_" in line}}


def caddy(place, setup):
    prepare(place, setup)
    place.gateway(place.app_dir / "app.py", "--mount", "/")
    text = (HOST / "app.caddyfile").read_text()
    # "respond" comes behind "rewrite", wherever it stands.
    text = text.replace("\trewrite @url", "\t@admin path /admin /admin/*\n"
                        "\terror @admin 403\n\trewrite @url")
    text = text.replace("\t@url {\n", "\t@url {\n\t\tnot path /admin "
                        "/admin/*\n")
    config = place.folder / "host.caddyfile"
    config.write_text(text)
    return fronts.caddy(place, str(config), root=place.root,
                        socket=place.socket)


def haproxy(place, setup):
    """It rewrites REQUEST_URI as well."""
    prepare(place, setup)
    _, port = place.tcp_gateway(place.app_dir / "app.py", "--mount", "/app")
    text = (SERVERS / "haproxy/mount.cfg").read_text()
    text = text.replace(
        "    http-request return", "    http-request replace-path "
        "/app/old/(.*) /app/page/\\1\n    http-request deny if { path_beg "
        "/app/admin }\n    http-request return")
    config = place.folder / "host.cfg"
    config.write_text(text)
    return fronts.haproxy(place, str(config), backend_port=port)


SETUPS = [
    Setup("Apache cgid, .htaccess at /", apache(root), question=403, percent=400),
    Setup("Apache cgi, .htaccess at /", apache(root, "cgi", "rewrite", "dir"),
          question=403, percent=400),
    Setup("Apache, the script alone", apache(alone)),
    Setup("Apache, .htaccess at /site", apache(site), "/site",
          "/site/app.cgi"),
    Setup("Apache, script elsewhere", apache(other_folder), "/site",
          "/cgi-bin/app.cgi", question=403, percent=400),
    Setup("Apache, DirectoryIndex", apache(index), question=403, percent=400),
    Setup("Apache, public/.htaccess", apache(public), "",
          "/public/app.cgi", question=403, percent=400),
    Setup("Apache, FallbackResource", apache(fallback), old=False, slash=404,
          slashes=404),
    Setup("Apache, virtual host", apache(
        only_script, host=VIRTUAL_HOST, denies=""), question=403),
    Setup("fcgid, .htaccess at /", apache(
        fcgid, "fcgid", "rewrite", "dir"), "", "/app.fcgi", question=403, percent=400),
    Setup("fcgid, FallbackResource", apache(
        fallback_fcgid, "fcgid", "rewrite", "dir"), "/site",
          "/site/app.fcgi", old=False, slash=404, slashes=404),
    Setup("proxy_fcgi, .htaccess at /", apache(
        proxy_file, *PROXY_FCGI, host=PROXY_FILE), "", "/app.py",
          question=403, percent=400),
    Setup("Apache, ProxyPass", apache(
        proxy_pass, *PROXY_FCGI, host=PROXY_PASS), "/app", "", percent=400,
          files=False),
    Setup("lighttpd, CGI", lighttpd()),
    Setup("lighttpd, the script alone", lighttpd(LIGHTTPD_ALONE,
                                                 mount="/site"),
          "/site", "/cgi-bin/app.cgi", slash=404, slashes=404),
    Setup("lighttpd, FastCGI", lighttpd(LIGHTTPD_FCGI, fcgi=True), "",
          "/app.py"),
    Setup("nginx, fcgiwrap", nginx(), question=404),
    Setup("nginx, stock, /site", nginx(STOCK, fcgi=True), "/site", "/app.py",
          question=404),
    Setup("nginx, @named", nginx(NAMED, fcgi=True), script=""),
    Setup("Caddy", caddy, "", "/app.py", old=False, question=404),
    Setup("HAProxy, replace-path", haproxy, "/app", script="",
          files=False, rule=False),
]
