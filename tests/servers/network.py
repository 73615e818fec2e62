"""Several hosts on one machine: network namespaces, joined by a bridge.

    10.0.0.1           the balancer: the thread that made the network, and what
                       it starts from then on
    10.0.0.11, 12, 13  the hosts

They are the addresses that the files of examples/servers name. The namespaces
have no names, so nothing is left of them when the last process has ended and
the descriptors are closed, however that comes about.
"""

import contextlib
import ctypes
import os
import subprocess

from harness import find_program, free_port

BALANCER = "10.0.0.1"
ADDRESSES = ("10.0.0.11", "10.0.0.12", "10.0.0.13")
PORT = 9000

CLONE_NEWNET = 0x40000000


class Missing(Exception):
    """Namespaces cannot be made here; says why."""


def call(name, *args):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (name, os.strerror(number)))


def ip(*words):
    done = subprocess.run([find_program("ip"), *words], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise Missing("ip %s: %s" % (" ".join(words), done.stdout.strip()))


def current():
    """A descriptor of this thread's namespace."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def enter(fd):
    call("setns", fd, CLONE_NEWNET)


def create():
    """Enters a new namespace; a descriptor of it."""
    call("unshare", CLONE_NEWNET)
    ip("link", "set", "lo", "up")
    return current()


class Host:
    """address: where its gateway listens; peer: who connects to it; command:
    what runs a command on it."""

    def __init__(self, address, port, peer, command=()):
        self.address, self.port, self.peer = address, port, peer
        self.command = list(command)
        self.bound = "%s:%d" % (address, port)


def path_of(fd):
    """For other processes."""
    return "/proc/%d/fd/%d" % (os.getpid(), fd)


def join(number, address, fd):
    """A cable from the bridge to that host's namespace."""
    port, home = "host%d" % number, current()
    try:
        ip("link", "add", port, "type", "veth", "peer", "name", "eth0",
           "netns", path_of(fd))
        ip("link", "set", port, "master", "bridge", "up")
        enter(fd)
        ip("addr", "add", address + "/24", "dev", "eth0")
        ip("link", "set", "eth0", "up")
    finally:
        enter(home)
        os.close(home)


def unplug(number):
    """That host (1, 2 or 3) is off: nothing comes from it, not even a no."""
    ip("link", "set", "host%d" % number, "down")


def plug(number):
    ip("link", "set", "host%d" % number, "up")


@contextlib.contextmanager
def namespaces():
    """with namespaces() as hosts: three of them, and this thread is on the
    balancer. Raises Missing."""
    for name in ("ip", "nsenter"):
        if find_program(name) is None:
            raise Missing("%s is not installed" % name)
    home = current()
    fds = []
    try:
        try:
            fds += [create() for _ in ADDRESSES]
            fds.append(create())
            ip("link", "add", "bridge", "type", "bridge")
            ip("addr", "add", BALANCER + "/24", "dev", "bridge")
            ip("link", "set", "bridge", "up")
            for number, address in enumerate(ADDRESSES, 1):
                join(number, address, fds[number - 1])
        except OSError as error:
            raise Missing(error.strerror) from error
        yield [Host(address, PORT, BALANCER,
                    [find_program("nsenter"), "--net=" + path_of(fd)])
               for address, fd in zip(ADDRESSES, fds)]
    finally:
        if not os.path.samestat(os.stat("/proc/thread-self/ns/net"),
                                os.fstat(home)):
            enter(home)
        for fd in (home, *fds):
            os.close(fd)


def loopback():
    """Three hosts that are but addresses of this one."""
    port = free_port()
    return [Host("127.0.0.%d" % number, port, "127.0.0.1")
            for number in (2, 3, 4)]
