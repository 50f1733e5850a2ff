"""gcloud's Python, begun once: each command is a fork of it, which has imported already.

It is told commands at a Unix socket, by `hand_over`, and ends when its standard input does. It runs
none itself, but imports what a command had to import, so that the next of the kind need not.
"""

import atexit
import gc
import marshal
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from runpy import run_path
from typing import NoReturn

EXPORTED = (
    *("CLOUDSDK_ROOT_DIR", "CLOUDSDK_PYTHON_ARGS", "CLOUDSDK_PYTHON_SITEPACKAGES"),
    *("CLOUDSDK_GSUTIL_PYTHON", "CLOUDSDK_BQ_PYTHON", "CLOUDSDK_ENCODING", "PYTHONIOENCODING"),
)
"""What gcloud's shell script says to the Python that it starts."""
MOST = 1 << 20
"""How many bytes are received at once; the names of all modules are fewer."""


def serve(listener: socket.socket) -> NoReturn:
    """Run each command in a process of its own, as if started for it. Never return."""
    lessons, learned = socket.socketpair(type=socket.SOCK_DGRAM)
    learn(["googlecloudsdk.gcloud_main"])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for who waits for a command
    while True:
        ready, _, _ = select.select([sys.stdin, lessons, listener], [], [])
        if sys.stdin in ready:  # who started it has ended, or wants it to end
            os.killpg(0, signal.SIGKILL)
        if lessons in ready:
            learn(lessons.recv(MOST).decode().split())
            continue
        caller, _ = listener.accept()
        if not os.fork():
            break
        caller.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    listener.close()
    lessons.close()
    start, streams, _, _ = socket.recv_fds(caller, MOST, 3)
    rest = iter(lambda: caller.recv(MOST), b"")
    sent = b"".join([start, *rest])
    arguments, environment, folder = marshal.loads(sent)  # noqa: S302  # our own tests sent it
    if command := os.fork():
        _, status = os.waitpid(command, 0)
        with suppress(BrokenPipeError):  # the caller was stopped
            caller.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    caller.close()
    gc.disable()  # a command is over before it is worth it
    become(arguments, environment, folder, streams)
    known = set(sys.modules)
    atexit.register(
        lambda: learned.send(" ".join(each for each in sys.modules if each not in known).encode())
    )
    leave(run())


def run() -> int:
    """Run gcloud, and return the status that it ends with."""
    try:
        run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def leave(status: int) -> NoReturn:
    """End as Python does, but for taking apart what is in memory: that takes as long as to run."""
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.current_thread():
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def become(
    arguments: list[str], environment: dict[bytes, bytes], folder: bytes, streams: list[int]
) -> None:
    """Be what gcloud's shell script would have started for a command."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    exported = {name: os.environ[name] for name in EXPORTED if name in os.environ}
    os.environb.clear()
    os.environb.update(environment)
    os.environ.update(exported)
    sys.argv[1:] = arguments
    # This is what gcloud takes from its environment when it is imported.
    configs = import_module("googlecloudsdk.core.configurations.named_configs")
    configs.ActivePropertiesFile.Invalidate()
    import_module("googlecloudsdk.core.console.console_attr").ResetConsoleAttr()
    import_module("googlecloudsdk.core.log").Reset(sys.stdout, sys.stderr)


def learn(modules: Iterable[str]) -> None:
    """Import those that are gcloud's own, from where gcloud.py finds them, for all forks."""
    library = Path(sys.argv[0]).parent
    path = sys.path[:]
    sys.path[:0] = [str(library / "third_party"), str(library)]
    for name in modules:
        if name.startswith("googlecloudsdk."):
            import_module(name)
    sys.path[:] = path
    gc.freeze()  # a collection in a fork would write to, and so copy, all that was imported
