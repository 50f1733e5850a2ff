"""`gcloud`, for who finds it here first: hands its command to a Python that has begun already.

It is run as a script, with the address of that and gcloud's arguments. It imports what is built in
alone, for it is to start in a few milliseconds: `os` and `socket` would double them.
"""

import _socket
import marshal
import posix
import sys

zygote = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
zygote.connect(sys.argv[1])
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
command = marshal.dumps((sys.argv[2:], posix.environ, posix.getcwdb()), 2)  # all versions read 2
sent = zygote.sendmsg([command], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
zygote.sendall(command[sent:])
zygote.shutdown(_socket.SHUT_WR)
answer = zygote.recv(64)
if not answer:
    sys.exit("gcloud was to run in a process that has ended.")
status = int(answer)
if status < 0:  # a signal ended it
    posix.kill(posix.getpid(), -status)
posix._exit(status)
