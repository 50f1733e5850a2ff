"""gcloud's Python, begun once: each command is a fork of it, which has imported already.

It is told commands at a Unix socket, by `hand_over`, and ends when its standard input does. It runs
none itself, but loads of gcloud's tree of commands what is asked for, and imports what a command
had to import, so that the next of the kind need not.
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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from runpy import run_path
from typing import Any, NoReturn

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
    ended, ending = socket.socketpair()
    ending.setblocking(False)
    signal.set_wakeup_fd(ending.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # to be woken by `ended` is all
    running: dict[int, Command] = {}
    tree = Tree()
    while True:
        ready, _, _ = select.select([sys.stdin, lessons, ended, listener], [], [])
        if sys.stdin in ready:  # who started it has ended, or wants it to end
            os.killpg(0, signal.SIGKILL)
        if ended in ready:
            ended.recv(MOST)
            tell(running)
        if lessons in ready:
            tree.remember(lessons.recv(MOST))
        if listener in ready and (command := heard(listener)):
            path = tree.grow(command.arguments)
            if not (process := os.fork()):
                break
            command.close_streams()
            running[process] = command
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for each in (listener, lessons, ended, ending, *(it.caller for it in running.values())):
        each.close()
    gc.disable()  # a command is over before it is worth it
    command.become()
    known = set(sys.modules)
    status = run()
    if new := [each for each in sys.modules if each not in known]:
        learned.send(marshal.dumps((path, new)))
    leave(status)


class Command:
    """What a caller wants to be run."""

    def __init__(self, caller: socket.socket) -> None:
        self.caller = caller
        """Who is told how it ended."""
        start, self._streams, _, _ = socket.recv_fds(caller, MOST, 3)
        sent = b"".join([start, *iter(lambda: caller.recv(MOST), b"")])
        told = marshal.loads(sent)  # noqa: S302  # our own tests sent it
        self.arguments: list[str] = told[0]
        self._environment: dict[bytes, bytes] = told[1]
        self._folder: bytes = told[2]

    def become(self) -> None:
        """Be what gcloud's shell script would have started for it."""
        self.caller.close()
        for number, stream in enumerate(self._streams):
            os.dup2(stream, number)
        self.close_streams()
        os.chdir(self._folder)
        exported = {name: os.environ[name] for name in EXPORTED if name in os.environ}
        os.environb.clear()
        os.environb.update(self._environment)
        os.environ.update(exported)
        sys.argv[1:] = self.arguments
        # This is what gcloud takes from its environment when it is imported.
        configs = import_module("googlecloudsdk.core.configurations.named_configs")
        configs.ActivePropertiesFile.Invalidate()
        import_module("googlecloudsdk.core.console.console_attr").ResetConsoleAttr()
        import_module("googlecloudsdk.core.log").Reset(sys.stdout, sys.stderr)

    def close_streams(self) -> None:
        for stream in self._streams:
            os.close(stream)


def heard(listener: socket.socket) -> Command | None:
    """Return what somebody wants to be run; None for who was stopped while saying it."""
    try:
        return Command(listener.accept()[0])
    except (EOFError, ValueError):
        return None


def tell(running: dict[int, Command]) -> None:
    """Tell who called for what has ended how it did."""
    with suppress(ChildProcessError):  # none is running any more
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            process, status = ended
            with running.pop(process).caller as caller, suppress(BrokenPipeError):  # it was stopped
                caller.sendall(str(os.waitstatus_to_exitcode(status)).encode())


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


class Tree:
    """gcloud's tree of commands, which each fork begins with, as far as it was needed before."""

    def __init__(self) -> None:
        with its_own_modules():
            gcloud: Any = import_module("googlecloudsdk.gcloud_main")
            grown = gcloud.CreateCLI([])
        gcloud.CreateCLI = lambda _: grown
        self._root = grown.top_element
        self._lessons: dict[tuple[str, ...], list[str]] = {}
        gc.freeze()  # a collection in a fork would write to, and so copy, all that was imported

    def grow(self, arguments: list[str]) -> tuple[str, ...]:
        """Load a command, and what it imported by itself the last time. Return its path."""
        path: list[str] = []
        element = self._root
        with its_own_modules(), suppress(Exception):  # the fork will say it
            for word in arguments:
                element = element.LoadSubElement(word)
                if element is None:
                    break
                path.append(word)
            for name in self._lessons.pop(tuple(path), ()):
                import_module(name)
        gc.freeze()
        return tuple(path)

    def remember(self, lesson: bytes) -> None:
        """Keep which modules a command imported by itself, for when it comes again."""
        path, modules = marshal.loads(lesson)  # noqa: S302  # a fork of ours sent it
        self._lessons[path] = [each for each in modules if each.startswith("googlecloudsdk.")]


@contextmanager
def its_own_modules() -> Iterator[None]:
    """Find modules where gcloud.py finds them."""
    library = Path(sys.argv[0]).parent
    path = sys.path[:]
    sys.path[:0] = [str(library / "third_party"), str(library)]
    yield
    sys.path[:] = path
