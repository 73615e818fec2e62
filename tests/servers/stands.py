"""The rows of the matrix: every configuration of examples/servers that serves an
application, and what its server does otherwise than others.

A fact is what a test sees there and wsgi-cgi-servers(7) says: where a server
changes its mind, the test fails.
"""

import dataclasses
import subprocess
from pathlib import Path
from typing import Callable

import fronts
from harness import APPS, SERVERS, Site, version_of
from place import Place

APP = APPS / "matrix.py"
THREADS = 4  # of the application


@dataclasses.dataclass(frozen=True)
class Facts:
    slash: str = "decoded"    # %2F in a path: decoded, kept (as %2F), 404
    slashes: str = "merged"   # //x//y: merged, kept
    duplicates: str = ", "    # what joins two headers of a name; "": last wins
    cookies: str = "; "       # the same of two Cookie headers
    headers: bool = True      # all request headers are handed on
    claimed_user: bool = False  # REMOTE_USER from an unverified Authorization
    apple: int = 404          # /apple, where the application is at /app
    final_slash: int = 200    # a path that ends in a slash
    raw_uri: bool = True      # REQUEST_URI is what was asked for, encoded
    no_host: str = ""         # what is wrong without a Host header
    request_headers: int = 200   # 64 KiB of them
    response_headers: int = 200  # 64 KiB of them
    two_packets: bool = False  # head and body of a POST must not come together
    chunked: int = 200        # a chunked upload of 11 bytes
    chunked_large: int = 200  # of 1 MiB
    put: bool = True          # hands on the body of a PUT
    continues: bool = True    # answers Expect: 100-continue with 100
    kills: bool = False       # ends the script when the client has gone
    keeps: bool = True        # says so where it closes the connection
    lengths: bool = True      # hands on the Content-Length of a response
    buffers: bool = False     # takes 16 MiB from the application at once


@dataclasses.dataclass(frozen=True)
class Stand:
    file: str                 # below examples/servers
    start: Callable           # (place, stand) -> (the script, the server's port)
    facts: Facts
    prefix: str = ""          # the application's URL
    options: tuple = ()       # wsgi-cgi's, where the file says they are needed
    variant: str = ""
    scheme: str = "http"
    gateway: bool = False     # we start the application: it can be restarted
    columns: tuple = ()       # those of the table that it has; (): all
    app: Path = APP

    @property
    def name(self):
        return self.file + (" " + self.variant if self.variant else "")


LIGHTTPD = Facts(request_headers=431, apple=200, buffers=True)
NGINX = Facts(request_headers=400, response_headers=502, buffers=True)
APACHE = Facts(slash="kept", cookies=", ", lengths=False)
FCGID = Facts(slash="kept", cookies=", ", request_headers=500)
APACHE_CGI = Facts(slash="kept", cookies=", ", kills=True)
HAPROXY = Facts(slashes="kept", claimed_user=True, chunked_large=400,
                request_headers=400, response_headers=502)
CADDY = Facts(slashes="kept", cookies=", ", no_host="SERVER_PORT is 80")
MINI_HTTPD = Facts(duplicates="", cookies="", headers=False, two_packets=True,
                   chunked=411, chunked_large=411, continues=False)
# Before 1.37 it appended index.html to such a path, in cgi-bin as well.
BUSYBOX_SLASH = 404 if version_of("busybox") < (1, 37) else 200
BUSYBOX = Facts(slash="404", final_slash=BUSYBOX_SLASH, raw_uri=False, duplicates="",
                cookies="", no_host="SERVER_PORT is 80", request_headers=413,
                chunked=411, chunked_large=411, put=False, continues=False,
                keeps=False)

change = dataclasses.replace

# --- starting -------------------------------------------------------------------


def run_gateway(place, stand):
    """The application on its own: the pairs for the example that lead to it."""
    script = place.copy_app(stand.app)
    return script, connect_gateway(place, stand, script, stand.options)


def connect_gateway(place, stand, script, options, bound=None):
    """bound: what it listened on before, and is to again."""
    options = ("--threads", str(THREADS), *options)
    if "9000" not in (SERVERS / stand.file).read_text():
        place.gateway(script, *options)
        return {"socket": place.socket}
    if bound:
        place.tcp_gateway_again(bound, script, *options)
        return None
    return {"backend_port": place.tcp_gateway(script, *options)[1]}


def certificates(place):
    """One self-signed certificate: {name: path} of it, its key, both."""
    paths = {name: place.folder / (name + ".pem")
             for name in ("certificate", "key", "both")}
    subprocess.run(
        [place.need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-keyout", paths["key"], "-out",
         paths["certificate"]], check=True, capture_output=True)
    paths["both"].write_text(paths["certificate"].read_text()
                             + paths["key"].read_text())
    for path in paths.values():
        path.chmod(0o644)
    return paths


def pairs_in(stand, pairs):
    """Those that the file has a word for."""
    text = (SERVERS / stand.file).read_text()
    words = {"certificate": "/certs/app.pem", "key": "/private/app.key",
             "both": "/private/app-both.pem"}
    return {name: value for name, value in pairs.items()
            if name not in words or words[name] in text}


def tls_pairs(place, stand):
    return (pairs_in(stand, certificates(place))
            if stand.scheme == "https" else {})


def shebang(place, stand, folder):
    folder.mkdir(exist_ok=True)
    return place.copy_app(stand.app, stand.options, folder)


def lighttpd_socket(place, stand):
    script, pairs = run_gateway(place, stand)
    pairs.update(tls_pairs(place, stand))
    return script, place.lighttpd(stand.file, **pairs)


def lighttpd_bin_path(place, stand):
    script = place.copy_app(stand.app)
    return script, place.lighttpd(
        stand.file, binary=place.binary, socket=place.socket, app=script,
        breakage_log=place.logs.path("app.log"))


def lighttpd_cgi(place, stand):
    script = shebang(place, stand, place.root / "cgi-bin")
    return script, place.lighttpd(stand.file,
                                  breakage_log=place.logs.path("app.log"))


def lighttpd_cgi_root(place, stand):
    script = shebang(place, stand, place.app_dir)
    return script, place.lighttpd(stand.file, app=script,
                                  breakage_log=place.logs.path("app.log"))


def nginx(place, stand):
    script, pairs = run_gateway(place, stand)
    pairs.update(tls_pairs(place, stand))
    return script, fronts.nginx(place, stand.file, **pairs)


def nginx_fcgiwrap(place, stand):
    script = shebang(place, stand, place.root / "cgi-bin")
    return script, fronts.nginx(place, stand.file,
                                fcgiwrap=fronts.fcgiwrap(place))


def apache_proxy(place, stand):
    script, pairs = run_gateway(place, stand)
    pairs.update(tls_pairs(place, stand))
    if "proxy-fcgi-file" in stand.file:
        pairs.update(app=script, app_dir='"%s"' % place.app_dir)
    return script, fronts.apache(place, stand.file, "proxy", "proxy_fcgi",
                                 *(["ssl", "http2"] if stand.scheme == "https" else []),
                                 **pairs)


def apache_script(module):
    def start(place, stand):
        script = shebang(place, stand, place.app_dir)
        pairs = {"app": script, "app_dir": '"%s"' % place.app_dir}
        if stand.file == "apache/fcgid.conf":
            pairs["binary"] = place.binary
        return script, fronts.apache(place, stand.file, module, **pairs)
    return start


def apache_folder(*modules):
    """Scripts that are not executable, and have no first line."""
    def start(place, stand):
        script = place.copy_app(stand.app, None, place.root)
        return script, fronts.apache(place, stand.file, *modules,
                                     binary=place.binary)
    return start


def haproxy(place, stand):
    script, pairs = run_gateway(place, stand)
    pairs.update(tls_pairs(place, stand))
    return script, fronts.haproxy(place, stand.file, **pairs)


def caddy(place, stand):
    script, pairs = run_gateway(place, stand)
    pairs.update(tls_pairs(place, stand))
    return script, fronts.caddy(place, stand.file, root=place.root, **pairs)


def x_sendfile(front, header, *modules):
    """What is special of these is tested in test_x_sendfile.py."""
    def start(place, stand):
        files = place.folder / "files"
        files.mkdir()
        script = place.copy_app(stand.app)
        place.gateway(script, "--threads", str(THREADS), "--x-sendfile",
                      "%s%s" % (header, files))
        return script, front(place, stand.file, *modules,
                             socket=place.socket, files=files)
    return start


def small_server(front):
    def start(place, stand):
        script = shebang(place, stand, place.root / "cgi-bin")
        # Scripts whose client has gone, and that nobody waits for.
        place.right_codes["orphan"] = (1,)
        return script, front(place, stand.file)
    return start


# --- the rows -------------------------------------------------------------------

CGI = "/cgi-bin/matrix.py"
ACTION = ("cgid", "actions")
FEW = ("urls", "auth", "user", "upload", "end")

STANDS = [
    Stand("lighttpd/socket.conf", lighttpd_socket, LIGHTTPD, gateway=True),
    Stand("lighttpd/tcp.conf", lighttpd_socket, LIGHTTPD, gateway=True),
    Stand("lighttpd/mount.conf", lighttpd_socket, LIGHTTPD, "/app",
          gateway=True),
    Stand("lighttpd/stream.conf", lighttpd_socket,
          change(LIGHTTPD, chunked_large=411, buffers=False), gateway=True),
    Stand("lighttpd/bin-path.conf", lighttpd_bin_path, LIGHTTPD),
    Stand("lighttpd/cgi.conf", lighttpd_cgi, LIGHTTPD, CGI),
    Stand("lighttpd/cgi-root.conf", lighttpd_cgi_root, LIGHTTPD),
    Stand("lighttpd/tls.conf", lighttpd_socket, LIGHTTPD, scheme="https",
          gateway=True),
    Stand("lighttpd/x-sendfile.conf",
          x_sendfile(Place.lighttpd, "X-Sendfile:"), LIGHTTPD, columns=FEW),
    Stand("nginx/socket.conf", nginx, NGINX, gateway=True),
    Stand("nginx/tcp.conf", nginx, NGINX, gateway=True),
    Stand("nginx/mount.conf", nginx, NGINX, "/app", ("--mount", "/app")),
    Stand("nginx/split.conf", nginx, NGINX, "/app", gateway=True),
    Stand("nginx/stream.conf", nginx, change(NGINX, buffers=False),
          gateway=True),
    Stand("nginx/tls.conf", nginx, NGINX, scheme="https", gateway=True),
    Stand("nginx/fcgiwrap.conf", nginx_fcgiwrap, NGINX, CGI),
    Stand("nginx/x-accel-redirect.conf",
          x_sendfile(fronts.nginx, "X-Accel-Redirect:/protected="), NGINX,
          columns=FEW),
    Stand("apache/proxy-fcgi.conf", apache_proxy, APACHE, gateway=True),
    Stand("apache/proxy-fcgi-tcp.conf", apache_proxy, APACHE, gateway=True),
    Stand("apache/proxy-fcgi-mount.conf", apache_proxy, APACHE, "/app",
          ("--mount", "/app")),
    Stand("apache/proxy-fcgi-file.conf", apache_proxy, APACHE, "/app",
          gateway=True),
    Stand("apache/fcgid.conf", apache_script("fcgid"), FCGID),
    Stand("apache/fcgid-script.conf", apache_script("fcgid"), FCGID, "/app"),
    Stand("apache/fcgid-scripts.conf", apache_folder("fcgid"), FCGID,
          "/matrix.py"),
    Stand("apache/cgi.conf", apache_script("cgid"), APACHE_CGI, "/app",
          variant="cgid"),
    Stand("apache/cgi.conf", apache_script("cgi"), APACHE_CGI, "/app",
          variant="cgi"),
    Stand("apache/cgi-root.conf", apache_script("cgid"), APACHE_CGI),
    Stand("apache/scripts.conf", apache_folder(*ACTION), APACHE_CGI,
          "/matrix.py"),
    Stand("apache/tls.conf", apache_proxy, APACHE, scheme="https",
          gateway=True),
    Stand("apache/x-sendfile.conf",
          x_sendfile(fronts.apache, "X-Sendfile:", "proxy", "proxy_fcgi",
                     "xsendfile"), APACHE, columns=FEW),
    Stand("haproxy/root.cfg", haproxy, HAPROXY, gateway=True),
    Stand("haproxy/mount.cfg", haproxy, HAPROXY, "/app", gateway=True),
    Stand("haproxy/tls.cfg", haproxy, HAPROXY, scheme="https", gateway=True),
    Stand("caddy/root.caddyfile", caddy, CADDY, gateway=True),
    Stand("caddy/mount.caddyfile", caddy, change(CADDY, slashes="merged"),
          "/app", gateway=True),
    Stand("caddy/stream.caddyfile", caddy, CADDY, gateway=True),
    Stand("caddy/tls.caddyfile", caddy, CADDY, scheme="https", gateway=True),
    Stand("mini_httpd/httpd.sh", small_server(fronts.mini_httpd), MINI_HTTPD,
          CGI),
    Stand("busybox/httpd.sh", small_server(fronts.busybox), BUSYBOX, CGI),
]


# What servers say about the cases. The lints' application writes to
# wsgi.errors, which some call an error, and about clients that went away.
LOGGED = [
    r'stderr: "(lint: \d+ bytes|a|b)" while',
    r"AH01071: Got error '(lint: \d+ bytes|a|b)\\n'",
    r"AH01215: stderr from .*matrix\.py: (lint: \d+ bytes|a|b)$",
    "upstream sent too big header", "aborting with incomplete response",
    "AH01075: Error dispatching request .*reading input brigade",
    "AH012(70|25): Error reading request entity data",
    r'"http.log.error","msg":"unexpected EOF".*"uri":"[^"]*/-/upload"',
]


class Running:
    """A stand that has been started: what its tests ask."""

    def __init__(self, place, stand):
        self.place, self.stand, self.facts = place, stand, stand.facts
        place.logs.allow(*LOGGED)
        self.script, port = stand.start(place, stand)
        self.site = Site(port, stand.prefix, scheme=stand.scheme,
                         two_packets=stand.facts.two_packets)
        self.folder = self.script.parent
