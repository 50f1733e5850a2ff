"""gcloud's Python, begun once: each command is a fork of it, which has imported already.

It is told commands at a Unix socket by `hand_over`, and ends when its standard input does.
"""

import gc
import marshal
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module

EXPORTED = {
    *("CLOUDSDK_ROOT_DIR", "CLOUDSDK_PYTHON_ARGS", "CLOUDSDK_PYTHON_SITEPACKAGES"),
    *("CLOUDSDK_GSUTIL_PYTHON", "CLOUDSDK_BQ_PYTHON", "CLOUDSDK_ENCODING", "PYTHONIOENCODING"),
}
"""What gcloud's shell script says to the Python that it starts."""
IMPORTED = ("googlecloudsdk.gcloud_main",)
"""What most commands import, directly or not. What this gcloud lacks, no command imports."""


def serve(listener: socket.socket) -> None:
    """Return in a process of its own for each command, as if started for it; else never."""
    warm()
    exported = {name: os.environ[name] for name in EXPORTED & set(os.environ)}
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for who waits for a command
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:  # who started it has ended, or wants it to end
            os.killpg(0, signal.SIGKILL)
        caller, _ = listener.accept()
        if not os.fork():
            break
        caller.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    listener.close()
    start, streams, _, _ = socket.recv_fds(caller, 65536, 3)
    rest = iter(lambda: caller.recv(65536), b"")
    arguments, environment, folder = marshal.loads(b"".join([start, *rest]))
    if command := os.fork():
        _, status = os.waitpid(command, 0)
        with suppress(BrokenPipeError):  # the caller was stopped
            caller.sendall(marshal.dumps(os.waitstatus_to_exitcode(status)))
        os._exit(0)
    caller.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environb.clear()
    os.environb.update(environment)
    os.environ.update(exported)
    sys.argv[1:] = arguments


def warm() -> None:
    """Import what commands need, from where gcloud.py finds it, and leave it to all forks."""
    library = os.path.dirname(sys.argv[0])
    path = sys.path[:]
    sys.path[:0] = [os.path.join(library, "third_party"), library]
    for name in IMPORTED:
        with suppress(ImportError):
            import_module(name)
    sys.path[:] = path
    gc.collect()
    gc.freeze()  # a collection in a fork would write to, and so copy, all that was imported
