"""The rows of the matrix: every configuration of examples/servers that serves an
application, and how its server differs from others.

The tests check each fact, and wsgi-cgi-servers(7) documents it: when a server
changes its behavior, a test fails.
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
    """How a server treats requests and responses. The defaults are what most
    servers do."""
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
class ServerSetup:
    """One configuration file, how to start its server, and the server's facts."""
    file: str                 # below examples/servers
    start: Callable           # (place, setup) -> (the script, the server's port)
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


def run_gateway(place, setup):
    """The application on its own: the pairs for the example that lead to it."""
    script = place.copy_app(setup.app)
    return script, connect_gateway(place, setup, script, setup.options)


def connect_gateway(place, setup, script, options, bound=None):
    """bound: what it listened on before, and is to again."""
    options = ("--threads", str(THREADS), *options)
    if "9000" not in (SERVERS / setup.file).read_text():
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


def pairs_in(setup, pairs):
    """Those that the file has a word for."""
    text = (SERVERS / setup.file).read_text()
    words = {"certificate": "/certs/app.pem", "key": "/private/app.key",
             "both": "/private/app-both.pem"}
    return {name: value for name, value in pairs.items()
            if name not in words or words[name] in text}


def tls_pairs(place, setup):
    if setup.scheme != "https":
        return {}
    # lighttpd 1.4.79 logs it where the client has closed the connection before
    # the server's close_notify.
    place.logs.allow(r"mod_openssl.*SSL: 5 -1 .*Broken pipe")
    return pairs_in(setup, certificates(place))


def shebang(place, setup, folder):
    folder.mkdir(exist_ok=True)
    return place.copy_app(setup.app, setup.options, folder)


def lighttpd_socket(place, setup):
    script, pairs = run_gateway(place, setup)
    pairs.update(tls_pairs(place, setup))
    return script, place.lighttpd(setup.file, **pairs)


def lighttpd_bin_path(place, setup):
    script = place.copy_app(setup.app)
    return script, place.lighttpd(
        setup.file, binary=place.binary, socket=place.socket, app=script,
        breakage_log=place.logs.path("app.log"))


def lighttpd_cgi(place, setup):
    script = shebang(place, setup, place.root / "cgi-bin")
    return script, place.lighttpd(setup.file,
                                  breakage_log=place.logs.path("app.log"))


def lighttpd_cgi_root(place, setup):
    script = shebang(place, setup, place.app_dir)
    return script, place.lighttpd(setup.file, app=script,
                                  breakage_log=place.logs.path("app.log"))


def nginx(place, setup):
    script, pairs = run_gateway(place, setup)
    pairs.update(tls_pairs(place, setup))
    return script, fronts.nginx(place, setup.file, **pairs)


def nginx_fcgiwrap(place, setup):
    script = shebang(place, setup, place.root / "cgi-bin")
    return script, fronts.nginx(place, setup.file,
                                fcgiwrap=fronts.fcgiwrap(place))


def apache_proxy(place, setup):
    script, pairs = run_gateway(place, setup)
    pairs.update(tls_pairs(place, setup))
    if "proxy-fcgi-file" in setup.file:
        pairs.update(app=script, app_dir='"%s"' % place.app_dir)
    return script, fronts.apache(place, setup.file, "proxy", "proxy_fcgi",
                                 *(["ssl", "http2"] if setup.scheme == "https" else []),
                                 **pairs)


def apache_script(module):
    def start(place, setup):
        script = shebang(place, setup, place.app_dir)
        pairs = {"app": script, "app_dir": '"%s"' % place.app_dir}
        if setup.file == "apache/fcgid.conf":
            pairs["binary"] = place.binary
        return script, fronts.apache(place, setup.file, module, **pairs)
    return start


def apache_folder(*modules):
    """Scripts that are not executable, and have no first line."""
    def start(place, setup):
        script = place.copy_app(setup.app, None, place.root)
        return script, fronts.apache(place, setup.file, *modules,
                                     binary=place.binary)
    return start


def haproxy(place, setup):
    script, pairs = run_gateway(place, setup)
    pairs.update(tls_pairs(place, setup))
    return script, fronts.haproxy(place, setup.file, **pairs)


def caddy(place, setup):
    script, pairs = run_gateway(place, setup)
    pairs.update(tls_pairs(place, setup))
    return script, fronts.caddy(place, setup.file, root=place.root, **pairs)


def x_sendfile(front, header, *modules):
    """What is special of these is tested in test_x_sendfile.py."""
    def start(place, setup):
        files = place.folder / "files"
        files.mkdir()
        script = place.copy_app(setup.app)
        place.gateway(script, "--threads", str(THREADS), "--x-sendfile",
                      "%s%s" % (header, files))
        return script, front(place, setup.file, *modules,
                             socket=place.socket, files=files)
    return start


def small_server(front):
    def start(place, setup):
        script = shebang(place, setup, place.root / "cgi-bin")
        # Scripts whose client has gone, and that nobody waits for.
        place.right_codes["orphan"] = (1,)
        return script, front(place, setup.file)
    return start


def relayed(start):
    """The script only passes its requests on to a FastCGI application, which is
    the same file. The web server cannot kill that."""
    def start_both(place, setup):
        script, port = start(place, change(
            setup, options=("--relay", str(place.socket))))
        place.gateway(script, "--threads", str(THREADS))
        return script, port
    return start_both


def warmed(start):
    """CGI processes that leave an instance behind, which serves all of them. The web
    server cannot kill that."""
    def start_warm(place, setup):
        place.use_own_tmp()
        script, port = start(place, change(
            setup, options=("--keep-warm", *setup.options)))
        first = Site(port, setup.prefix).ask("/first")  # there is one from now on
        assert first.status == 200, first
        return script, port
    return start_warm


# --- the rows -------------------------------------------------------------------

CGI = "/cgi-bin/matrix.py"
ACTION = ("cgid", "actions")
FEW = ("urls", "auth", "user", "upload", "end")

SETUPS = [
    ServerSetup("lighttpd/socket.conf", lighttpd_socket, LIGHTTPD, gateway=True),
    ServerSetup("lighttpd/tcp.conf", lighttpd_socket, LIGHTTPD, gateway=True),
    ServerSetup("lighttpd/mount.conf", lighttpd_socket, LIGHTTPD, "/app",
                gateway=True),
    ServerSetup("lighttpd/stream.conf", lighttpd_socket,
                change(LIGHTTPD, chunked_large=411, buffers=False), gateway=True),
    ServerSetup("lighttpd/bin-path.conf", lighttpd_bin_path, LIGHTTPD),
    ServerSetup("lighttpd/cgi.conf", lighttpd_cgi, LIGHTTPD, CGI),
    ServerSetup("lighttpd/cgi.conf", relayed(lighttpd_cgi), LIGHTTPD, CGI,
                variant="relay"),
    ServerSetup("lighttpd/cgi.conf", warmed(lighttpd_cgi), LIGHTTPD, CGI,
                variant="warm"),
    ServerSetup("lighttpd/cgi-root.conf", lighttpd_cgi_root, LIGHTTPD),
    ServerSetup("lighttpd/tls.conf", lighttpd_socket, LIGHTTPD, scheme="https",
                gateway=True),
    ServerSetup("lighttpd/x-sendfile.conf",
                x_sendfile(Place.lighttpd, "X-Sendfile:"), LIGHTTPD, columns=FEW),
    ServerSetup("nginx/socket.conf", nginx, NGINX, gateway=True),
    ServerSetup("nginx/tcp.conf", nginx, NGINX, gateway=True),
    ServerSetup("nginx/mount.conf", nginx, NGINX, "/app", ("--mount", "/app")),
    ServerSetup("nginx/split.conf", nginx, NGINX, "/app", gateway=True),
    ServerSetup("nginx/stream.conf", nginx, change(NGINX, buffers=False),
                gateway=True),
    ServerSetup("nginx/tls.conf", nginx, NGINX, scheme="https", gateway=True),
    ServerSetup("nginx/fcgiwrap.conf", nginx_fcgiwrap, NGINX, CGI),
    ServerSetup("nginx/fcgiwrap.conf", warmed(nginx_fcgiwrap), NGINX, CGI,
                variant="warm"),
    ServerSetup("nginx/x-accel-redirect.conf",
                x_sendfile(fronts.nginx, "X-Accel-Redirect:/protected="), NGINX,
                columns=FEW),
    ServerSetup("apache/proxy-fcgi.conf", apache_proxy, APACHE, gateway=True),
    ServerSetup("apache/proxy-fcgi-tcp.conf", apache_proxy, APACHE, gateway=True),
    ServerSetup("apache/proxy-fcgi-mount.conf", apache_proxy, APACHE, "/app",
                ("--mount", "/app")),
    ServerSetup("apache/proxy-fcgi-file.conf", apache_proxy, APACHE, "/app",
                gateway=True),
    ServerSetup("apache/fcgid.conf", apache_script("fcgid"), FCGID),
    ServerSetup("apache/fcgid-script.conf", apache_script("fcgid"), FCGID, "/app"),
    ServerSetup("apache/fcgid-scripts.conf", apache_folder("fcgid"), FCGID,
                "/matrix.py"),
    ServerSetup("apache/cgi.conf", apache_script("cgid"), APACHE_CGI, "/app",
                variant="cgid"),
    ServerSetup("apache/cgi.conf", apache_script("cgi"), APACHE_CGI, "/app",
                variant="cgi"),
    ServerSetup("apache/cgi.conf", relayed(apache_script("cgid")),
                change(APACHE_CGI, kills=False), "/app", variant="cgid relay"),
    ServerSetup("apache/cgi.conf", relayed(apache_script("cgi")),
                change(APACHE_CGI, kills=False), "/app", variant="cgi relay"),
    ServerSetup("apache/cgi.conf", warmed(apache_script("cgid")),
                change(APACHE_CGI, kills=False), "/app", variant="cgid warm"),
    ServerSetup("apache/cgi.conf", warmed(apache_script("cgi")),
                change(APACHE_CGI, kills=False), "/app", variant="cgi warm"),
    ServerSetup("apache/cgi-root.conf", apache_script("cgid"), APACHE_CGI),
    ServerSetup("apache/scripts.conf", apache_folder(*ACTION), APACHE_CGI,
                "/matrix.py"),
    ServerSetup("apache/tls.conf", apache_proxy, APACHE, scheme="https",
                gateway=True),
    ServerSetup("apache/x-sendfile.conf",
                x_sendfile(fronts.apache, "X-Sendfile:", "proxy", "proxy_fcgi",
                           "xsendfile"), APACHE, columns=FEW),
    ServerSetup("haproxy/root.cfg", haproxy, HAPROXY, gateway=True),
    ServerSetup("haproxy/mount.cfg", haproxy, HAPROXY, "/app", gateway=True),
    ServerSetup("haproxy/tls.cfg", haproxy, HAPROXY, scheme="https", gateway=True),
    ServerSetup("caddy/root.caddyfile", caddy, CADDY, gateway=True),
    ServerSetup("caddy/mount.caddyfile", caddy, change(CADDY, slashes="merged"),
                "/app", gateway=True),
    ServerSetup("caddy/stream.caddyfile", caddy, CADDY, gateway=True),
    ServerSetup("caddy/tls.caddyfile", caddy, CADDY, scheme="https", gateway=True),
    ServerSetup("mini_httpd/httpd.sh", small_server(fronts.mini_httpd), MINI_HTTPD,
                CGI),
    ServerSetup("mini_httpd/httpd.sh", relayed(small_server(fronts.mini_httpd)),
                MINI_HTTPD, CGI, variant="relay"),
    ServerSetup("mini_httpd/httpd.sh", warmed(small_server(fronts.mini_httpd)),
                MINI_HTTPD, CGI, variant="warm"),
    ServerSetup("busybox/httpd.sh", small_server(fronts.busybox), BUSYBOX, CGI),
    ServerSetup("busybox/httpd.sh", relayed(small_server(fronts.busybox)), BUSYBOX,
                CGI, variant="relay"),
    ServerSetup("busybox/httpd.sh", warmed(small_server(fronts.busybox)), BUSYBOX,
                CGI, variant="warm"),
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
    """A setup that has been started: what its tests ask."""

    def __init__(self, place, setup):
        self.place, self.setup, self.facts = place, setup, setup.facts
        place.logs.allow(*LOGGED)
        self.script, port = setup.start(place, setup)
        self.site = Site(port, setup.prefix, scheme=setup.scheme,
                         two_packets=setup.facts.two_packets)
        self.folder = self.script.parent
