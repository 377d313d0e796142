"""Processes that start at once: a server loads libraries, and answers each request by a fork of itself; and the client
that asks it.

Loading torch and transformers costs seconds of processor time, a fork costs none, and work that crashes takes nothing
with it and leaves nothing behind. A fork ends, with all that it started, when the process that asked for it ends.
Servers belong to a folder that the environment names, so that a worker finds the servers of the command that started
it; they end with the process that made the folder, or when no request has come for a while. Knows nothing of models.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lqmf import child_process, errors
from lqmf.child_process import Send
from lqmf.errors import WorkerDied

FOLDER_VARIABLE = "LQMF_FORKS"  # the folder of the servers' sockets, for child processes to find

Answer = Callable[[Mapping[str, Any], Send], int]  # a fork's whole work: its exit code

_IDLE_SECONDS = 120.0  # after which a server ends: it holds some 300 MB
_ASKING_SECONDS = 10.0  # in which a request must have come whole
_LONGEST_FOLDER = 80  # characters: a socket's whole path has 107 at most
_TAKEN = b"{}\n"  # a server's word that it has the request
_READ_BY_LIBRARIES = ("TORCH", "PYTORCH_", "OMP_", "GOMP_", "MKL_", "CUDA_", "LD_", "PYTHON")  # as they are loaded
_PID = ".pid"  # the ending of a file that holds a server's process id
_MODULES = "HF_MODULES_CACHE"  # where transformers keeps a model's own code: each request has a folder of its own
_ALIVE = "alive"  # a pipe in the folder, open for writing as long as its maker lives
_LIMITS = (resource.RLIMIT_FSIZE, resource.RLIMIT_AS)
_starting = threading.Lock()
_started: list[subprocess.Popen[bytes]] = []  # held, or Python warns of processes that nobody waits for


# ---------------------------------------------------------------- who asks


@dataclass(frozen=True)
class Server:
    """A server's program: a Python module, which gets `arguments` and the descriptor of the socket to `serve` at.
    `environment` is that of its forks; what libraries read of it as they are loaded tells servers apart."""

    module: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]


def ask(server: Server, request: Mapping[str, Any], folder: Path, hear: Send, *, quiet: bool = False) -> int:
    """Run `request` in a fork of `server`, with `folder` as its working folder, and return its exit code; each object
    that the fork sends is passed to `hear`. When this returns or raises, the fork is gone.

    `quiet` drops its standard error. Raises the LqmfError that it sends, WorkerDied where no server can be started.
    """
    with reach(server, request, folder, quiet=quiet) as connection, connection.makefile("rb") as lines:
        try:
            for line in lines:
                message = json.loads(line) if line.endswith(b"\n") else {}  # a killed fork's last line may be half one
                if "error" in message:
                    raise errors.from_json(message["error"])
                if "ended" in message:
                    return int(message["ended"])
                hear(message)
        finally:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)  # the server ends the fork, then closes its end
                lines.read()
    return -signal.SIGKILL  # the server itself is gone


def reach(server: Server, request: Mapping[str, Any], folder: Path, *, quiet: bool = False) -> socket.socket:
    """Hand `request` to a running `server`, or to a new one where none takes it, and return the connection, on which
    the fork's lines come. Raises WorkerDied where no server can be started."""
    told = {
        "request": request,
        "folder": str(folder),
        "environment": server.environment,
        "limits": [resource.getrlimit(kind)[0] for kind in _LIMITS],
    }
    asked = json.dumps(told).encode() + b"\n"
    with _starting:
        address = _address(server)
        found = _hand_over(address, asked, quiet=quiet)
        if found is None:
            _start(server, address)
            found = _hand_over(address, asked, quiet=quiet)
    if found is None:
        raise WorkerDied(f"{server.module} could not be started.", "`lqmf doctor` checks the installation.")
    return found


def share() -> Path:
    """Return the folder of this process's servers; make it, and name it in the environment, if there is none."""
    named = Path(os.environ.get(FOLDER_VARIABLE, os.devnull))
    with contextlib.suppress(OSError):
        os.close(os.open(named / _ALIVE, os.O_WRONLY | os.O_NONBLOCK))  # refused where nobody holds it
        return named
    short = len(tempfile.gettempdir()) < _LONGEST_FOLDER
    folder = Path(tempfile.mkdtemp(prefix="lqmf-", dir=None if short else "/tmp"))  # readable by its owner alone
    os.mkfifo(folder / _ALIVE)
    os.open(folder / _ALIVE, os.O_RDWR)  # never closed: servers end when this process does
    os.environ[FOLDER_VARIABLE] = str(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def runs(server: Server) -> bool:
    """Tell whether a server of this program runs or starts."""
    return _address(server).exists()


def idle_bytes() -> int:
    """Return the memory of servers that wait for a request: it is free again when they end."""
    import psutil

    folder, held = Path(os.environ.get(FOLDER_VARIABLE) or os.devnull), 0
    for file in folder.glob(f"*{_PID}"):
        with contextlib.suppress(psutil.Error, OSError, ValueError):
            process = psutil.Process(int(file.read_text(encoding="ascii")))
            busy = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii")
            if process.cwd() == str(folder) and not busy:
                held += process.memory_info().rss
    return held


def _address(server: Server) -> Path:
    """Where the server listens that runs this program, with libraries that were loaded in this environment."""
    read = {name: value for name, value in server.environment.items() if name.startswith(_READ_BY_LIBRARIES)}
    key = repr((server.module, server.arguments, sorted(read.items()), sys.executable, str(Path(__file__).resolve())))
    return share() / hashlib.sha256(key.encode()).hexdigest()[:16]


def _hand_over(address: Path, asked: bytes, *, quiet: bool) -> socket.socket | None:
    """Return the connection to a server that took the request; None if there is no server."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(address))
        with open(os.devnull, "wb") as nowhere:
            socket.send_fds(connection, [asked[:1]], [nowhere.fileno() if quiet else 2])
        connection.sendall(asked[1:])
        if connection.recv(len(_TAKEN)) == _TAKEN:
            return connection
    except OSError:
        pass
    connection.close()
    return None


def _start(server: Server, address: Path) -> None:
    address.unlink(missing_ok=True)
    alive = os.open(address.parent / _ALIVE, os.O_RDONLY | os.O_NONBLOCK)
    with socket.socket(socket.AF_UNIX) as listener, open(alive, "rb"):
        listener.bind(str(address))
        listener.listen()
        process = subprocess.Popen(
            [sys.executable, "-m", server.module, *server.arguments, str(listener.fileno())],
            stdin=alive,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=address.parent,
            env={**server.environment, _MODULES: str(address.parent / "modules")},
            pass_fds=[listener.fileno()],
            start_new_session=True,  # a Ctrl-C in the terminal is for whoever asked
        )
    address.with_suffix(_PID).write_text(str(process.pid), encoding="ascii")
    _started[:] = [each for each in _started if each.poll() is None] + [process]


# ---------------------------------------------------------------- the server


@contextlib.contextmanager
def while_owned() -> Iterator[None]:
    """End this process at once if its owner ends while the context is open. For the time before `serve`, which watches
    the owner itself; the thread that watches here ends with the context, because `serve` forks."""
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if select.select([0], [], [], 0.2)[0]:
                os._exit(1)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def serve(listener: socket.socket, answer: Answer) -> None:
    """Answer requests on `listener` by forks, until standard input closes or no request has come for _IDLE_SECONDS."""
    _Server(listener, answer).run()


class _Server:
    def __init__(self, listener: socket.socket, answer: Answer) -> None:
        self._listener, self._answer = listener, answer
        self._askers: dict[int, socket.socket] = {}  # by the fork that answers
        self._woken, self._wake = os.pipe()

    def run(self) -> None:
        os.set_blocking(self._wake, False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wake)
        while True:
            watched: list[int | socket.socket] = [0, self._woken, self._listener, *self._askers.values()]
            ready, _, _ = select.select(watched, [], [], None if self._askers else _IDLE_SECONDS)
            if not ready or 0 in ready:
                break
            if self._woken in ready:
                os.read(self._woken, 4096)
            self._end([pid for pid, asker in self._askers.items() if asker in ready])
            self._bury()
            if self._listener in ready:
                self._take()
        Path(self._listener.getsockname()).unlink(missing_ok=True)
        self._end(list(self._askers))

    def _end(self, pids: list[int]) -> None:
        """End forks whose askers are gone: they send nothing after their request, so they are read as closed."""
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            _end_group(pid)

    def _bury(self) -> None:
        """Send the exit code of each fork that ended to the process that asked for it."""
        while self._askers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            _end_group(pid)
            with self._askers.pop(pid) as asker, contextlib.suppress(OSError):
                asker.sendall(json.dumps({"ended": os.waitstatus_to_exitcode(status)}).encode() + b"\n")

    def _take(self) -> None:
        asker, _ = self._listener.accept()
        asker.settimeout(_ASKING_SECONDS)
        try:
            first, passed, _, _ = socket.recv_fds(asker, 1, 1)
            with asker.makefile("rb") as lines:
                asked = json.loads(first + lines.readline())
            asker.sendall(_TAKEN)
        except (OSError, ValueError):
            asker.close()
            return
        asker.settimeout(None)
        pid = os.fork()
        if pid == 0:
            self._become(asker, passed[0], asked)
        os.close(passed[0])
        self._askers[pid] = asker

    def _become(self, asker: socket.socket, complaints: int, asked: Mapping[str, Any]) -> NoReturn:
        """Answer the request as a fork, in the folder, the environment and the limits of the process that asked; then
        end."""
        code = 1
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for other in (self._listener, *self._askers.values()):
                other.close()
            for ours in (self._woken, self._wake):
                os.close(ours)
            os.dup2(asker.fileno(), 0)
            os.dup2(complaints, 2)
            send = child_process.claim_stdout(asker.fileno())
            child_process.end_with_parent()
            os.chdir(asked["folder"])
            os.environ.clear()
            os.environ.update(asked["environment"])
            for kind, limit in zip(_LIMITS, asked["limits"], strict=True):
                resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))
            code = self._answer(asked["request"], send)
            sys.stderr.flush()
        finally:
            os._exit(code)  # torch takes over a second to take itself apart


def _end_group(pid: int) -> None:
    """End what a fork started and left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
