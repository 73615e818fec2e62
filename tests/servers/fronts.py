"""Web servers with a file of examples/servers each, nothing but paths and ports
replaced. What Debian's own main configuration does otherwise stands here.

Each function returns the port. lighttpd, whose file is a whole, is Place's.
"""

import os
import re
from pathlib import Path

from harness import (as_server_user, current_user, missing, server_user,
                     wait_until)

# --- nginx --------------------------------------------------------------------

NGINX = """daemon off;
%(user)s
worker_processes 1;
pid %(run)s/nginx.pid;
error_log %(log)s/error.log notice;
events { worker_connections 256; }
http {
    access_log off;
    include /etc/nginx/mime.types;
    client_body_temp_path %(run)s/body;
    fastcgi_temp_path %(run)s/fastcgi;
    proxy_temp_path %(run)s/proxy;
    scgi_temp_path %(run)s/scgi;
    uwsgi_temp_path %(run)s/uwsgi;
    include %(part)s;
}
"""


def nginx(place, name, http2=False, **pairs):
    program = place.need("nginx")
    part, main = place.folder / "part.conf", place.folder / "nginx.conf"
    main.write_text(NGINX % {
        "user": "user %s %s;" % server_user() if os.geteuid() == 0 else "",
        "run": place.run_dir, "log": place.logs.folder, "part": part})

    def command(port):
        listen = "%d http2" % port if http2 else port
        part.write_text(place.example(name, port=listen, root=place.root,
                                      **pairs))
        return [program, "-p", place.folder, "-c", main,
                "-e", place.logs.path("error.log")]

    return place.start_on_port("nginx", command, "Address already in use")[1]


def fcgiwrap(place):
    """Its socket."""
    path = place.run_dir / "wrap.sock"
    place.start("fcgiwrap", [place.need("fcgiwrap"), "-s", "unix:%s" % path],
                **as_server_user())
    place.right_codes["fcgiwrap"] = (-15,)
    place.wait_for_path(path)
    return path


# --- Apache -------------------------------------------------------------------

APACHE_MODULES = Path("/usr/lib/apache2/modules")

APACHE = """ServerRoot %(folder)s
ServerName localhost
PidFile %(run)s/apache.pid
DefaultRuntimeDir %(run)s
ErrorLog %(log)s/error.log
LogLevel warn
TypesConfig /dev/null
%(user)s
%(load)s
<Directory "/">
    Require all denied
</Directory>
%(more)s
Include %(part)s
"""

# The modules that a file says it needs ("cgid" may also be "cgi"), and those
# that Debian loads anyway.
APACHE_ALWAYS = ("authz_core", "alias", "mime", "env")
APACHE_MORE = {
    "fcgid": "FcgidIPCDir %(run)s\nFcgidProcessTableFile %(run)s/fcgid_shm\n",
    "cgid": "ScriptSock %(run)s/cgid.sock\n",
}


def apache(place, name, *modules, extra="", **pairs):
    """extra: more lines of the main configuration."""
    program = place.need("apache2")
    # It is stopped right after an answer, and cannot wait for another request.
    place.logs.allow("AH03093: process_socket: .* for keep alive")
    mpm = "mpm_prefork" if "cgi" in modules else "mpm_event"
    for module in modules:
        if not (APACHE_MODULES / ("mod_%s.so" % module)).exists():
            missing("mod_" + module)
    words = {"folder": place.folder, "run": place.run_dir,
             "log": place.logs.folder, "part": place.folder / "part.conf"}
    words["user"] = "" if os.geteuid() else "User www-data\nGroup www-data"
    words["load"] = "\n".join(
        "LoadModule %s_module %s/mod_%s.so" % (module, APACHE_MODULES, module)
        for module in (mpm, *APACHE_ALWAYS, *modules))
    words["more"] = extra + "".join(
        APACHE_MORE.get(m, "") for m in modules) % words
    main = place.folder / "apache.conf"
    main.write_text(APACHE % words)

    def command(port):
        words["part"].write_text(place.example(
            name, port=port, root=place.root, **pairs))
        return [program, "-DFOREGROUND", "-f", main]

    # At its end mpm_prefork sends TERM to its whole process group, which must
    # not be ours.
    port = place.start_on_port("apache2", command, "Address already in use",
                               start_new_session=True)[1]
    if "cgid" in modules and os.geteuid() == 0:
        # Its daemon gives the socket away a moment after it listens; until
        # then requests are answered 503.
        wait_until(lambda: any(path.stat().st_uid != 0 for path in
                               place.run_dir.glob("cgid.sock*")),
                   "mod_cgid's socket is www-data's")
    return port


# --- the others -----------------------------------------------------------------

def haproxy(place, name, **pairs):
    program = place.need("haproxy")
    config = place.folder / "haproxy.cfg"

    def command(port):
        text = place.example(name, port=port, root=place.root, **pairs)
        if os.geteuid() != 0:  # it ends where it cannot become another
            text = re.sub(r"^ +(user|group) .*\n", "", text, flags=re.M)
        config.write_text(text)
        return [program, "-db", "-f", config]

    # Its way to end after TERM.
    place.right_codes["haproxy"] = (-15,)
    return place.gives_up_root(*place.start_on_port(
        "haproxy", command, "Address already in use|cannot bind socket"))


def caddy(place, name, **pairs):
    program = place.need("caddy")
    config = place.folder / "caddyfile"

    def command(port):
        config.write_text(place.example(name, port=port, **pairs))
        return [program, "run", "--adapter", "caddyfile", "--config", config]

    place.logs.allow("no OCSP stapling for .localhost")
    env = {**os.environ, "HOME": str(place.run_dir),
           "XDG_DATA_HOME": str(place.run_dir),
           "XDG_CONFIG_HOME": str(place.run_dir)}
    return place.start_on_port("caddy", command, "address already in use",
                               env=env, **as_server_user())[1]


def mini_httpd(place, name, **pairs):
    place.need("mini_httpd")
    script = place.folder / "httpd.sh"

    def command(port):
        script.write_text(place.example(name, port=port, root=place.root,
                                        **pairs))
        # It would be "nobody", who cannot look into our folder.
        return ["sh", script, "-u", current_user()[0],
                "-i", place.run_dir / "mini_httpd.pid"]

    # Its way to end after TERM.
    place.right_codes["mini_httpd"] = (1,)
    return place.start_on_port("mini_httpd", command,
                               "Address already in use|bind:")[1]


def busybox(place, name, **pairs):
    place.need("busybox")
    script = place.folder / "httpd.sh"

    def command(port):
        script.write_text(place.example(name, port=port, root=place.root,
                                        **pairs))
        return ["sh", script]

    place.right_codes["busybox"] = (-15,)
    return place.start_on_port("busybox", command,
                               "Address already in use|bind:")[1]
