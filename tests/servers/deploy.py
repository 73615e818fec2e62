"""The ways to deploy an application behind lighttpd, each by the very files of
examples/servers with nothing but paths and ports replaced."""

from harness import Site


def command_tail(script, options):
    """What stands in the place of APP in an example."""
    return " ".join([*options, str(script)])


def cgi(place, source, options):
    folder = place.root / "cgi-bin"
    folder.mkdir()
    script = place.copy_app(source, options, folder)
    port = place.lighttpd("lighttpd/cgi.conf",
                          breakage_log=place.logs.path("app.log"))
    return Site(port, "/cgi-bin/" + script.name, "app.log")


def cgi_relay(place, source, options):
    """The script only passes its requests on to a FastCGI application."""
    place.gateway(place.copy_app(source), *options)
    return cgi(place, source, ["--relay", str(place.socket)])


def bin_path(place, source, options):
    script = place.copy_app(source)
    return Site(place.lighttpd(
        "lighttpd/bin-path.conf", binary=place.binary, socket=place.socket,
        app=command_tail(script, options),
        breakage_log=place.logs.path("app.log")))


def spawn_fcgi(place, source, options):
    """supervisord, spawn-fcgi, application; lighttpd on the socket."""
    place.need("spawn-fcgi")
    script = place.copy_app(source)
    place.supervisord("supervisor-spawn-fcgi.conf",
                      app=command_tail(script, options))
    return Site(place.lighttpd("lighttpd/socket.conf", socket=place.socket),
                log="app.log")


def fcgi_program(place, source, options):
    """supervisord makes the socket for two processes."""
    script = place.copy_app(source)
    place.supervisord("supervisor-fcgi-program.conf",
                      app=command_tail(script, options))
    return Site(place.lighttpd("lighttpd/socket.conf", socket=place.socket),
                log="app.log")


DEPLOYMENTS = {
    "cgi": cgi,
    "cgi-relay": cgi_relay,
    "bin-path": bin_path,
    "spawn-fcgi": spawn_fcgi,
    "fcgi-program": fcgi_program,
}
