"""gcloud, loaded and waiting: run by gcloud's own Python, it forks for each command it is given.

Loading is four fifths of the time that a command takes. All else is as ever: a command runs in a
process, a folder and an environment of its own, with the input and the outputs of who asked.
Arguments: the root of the Cloud SDK, and the socket to wait at. It ends when its input does.
"""

import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import Any

OFTEN_NEEDED = (
    "googlecloudsdk.core.credentials.transports",
    "googlecloudsdk.core.requests",
    "googlecloudsdk.command_lib.run.serverless_operations",
    "googlecloudsdk.generated_clients.apis.compute.v1.compute_v1_client",
    "googlecloudsdk.generated_clients.apis.run.v1.run_v1_client",
)
"""What gcloud else loads at each command."""


def wait(root: str, address: str) -> None:
    """Load gcloud, then fork for whoever connects."""
    sys.path.insert(0, f"{root}/lib")
    import gcloud  # it finds the rest

    sys.path = gcloud.reorder_sys_path(sys.path)
    from googlecloudsdk import gcloud_main

    cli = gcloud_main.CreateCLI([])
    for module in OFTEN_NEEDED:
        with suppress(ImportError):  # another version of gcloud may name it otherwise
            importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.bind(address)
        waiting.listen(16)
        while sys.stdin not in select.select([waiting, sys.stdin], [], [])[0]:
            asking, _ = waiting.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                run(asking, f"{root}/lib/gcloud.py", lambda: gcloud_main.main(cli))
            asking.close()


def run(asking: socket.socket, program: str, main: Any) -> None:
    """Be the command that is asked for, and tell who asked how it ended."""
    first, streams, _, _ = socket.recv_fds(asking, 1, 3)
    with asking.makefile("rb") as rest:
        arguments, folder, environment = json.loads(first + rest.read())
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [program, *arguments]
    code = 1
    try:
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    asking.sendall(bytes([code]))
    os._exit(code)


if __name__ == "__main__":
    wait(*sys.argv[1:])
