"""The engine in a process of its own, for programs that already have threads.

A process with threads cannot enter a user namespace. The child reads one pickled request from a
pipe, enters the namespaces, and writes pickled messages to another: events, and at last the result
or the error. Both ends are this very package, so pickle is safe here. Standard input, output and
error are the program's.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, BinaryIO

from viaduct.base.errors import BuildError, Canceled
from viaduct.base.tasks import Stop

if TYPE_CHECKING:
    from viaduct.base.events import Event, Sink
    from viaduct.engine.request import BuildRequest, BuildResult


def run_in_child(request: BuildRequest, sink: Sink, stop: Stop) -> BuildResult:
    """`viaduct.engine.build.run` in a child process; the same events, result and errors.

    The child stops by itself when this process ends, however it ends.
    """
    read, say = os.pipe()
    hear, write = os.pipe()
    with open(read, "rb") as messages, open(write, "wb") as asked:
        with open(say, "wb"), open(hear, "rb"):
            child = subprocess.Popen(
                # -P: a module that lies in the current directory is not ours to import.
                [*(sys.executable, "-P", "-m"), "viaduct.engine.child", str(hear), str(say)],
                pass_fds=(hear, say),
            )
        key = stop.on_stop(child.terminate)
        try:
            # A child that died at once is explained by what it did not say.
            with contextlib.suppress(BrokenPipeError):
                pickle.dump(request, asked)
                asked.flush()
            return _receive(messages, sink, stop)
        except BaseException:
            child.terminate()
            raise
        finally:
            stop.forget(key)
            # A child that nobody listens to must not wait for somebody to read.
            messages.close()
            with contextlib.suppress(BrokenPipeError):
                asked.close()
            child.wait()


def _receive(messages: BinaryIO, sink: Sink, stop: Stop) -> BuildResult:
    while True:
        try:
            kind, value = pickle.load(messages)
        except EOFError:
            stop.check()
            raise BuildError(
                "the build process ended without an answer",
                hint="its standard error may say why; was it killed?",
            ) from None
        if kind == "event":
            sink(value)
        elif kind == "result":
            result: BuildResult = value
            return result
        else:
            raise value


def _serve(hear: int, say: int) -> None:
    import signal

    from viaduct.sandbox import enter

    stop = Stop()

    def ask(*_: object) -> None:
        # Not from here: this thread may be holding the very lock that setting takes.
        threading.Thread(target=stop.set, name="stop", daemon=True).start()

    with open(hear, "rb", buffering=0) as asked, open(say, "wb", buffering=0) as out:
        lock = threading.Lock()

        def send(kind: str, value: object) -> None:
            data = pickle.dumps((kind, value))
            try:
                with lock:
                    while data:
                        data = data[out.write(data) or 0 :]
            except BrokenPipeError:
                stop.set()

        def send_event(event: Event) -> None:
            send("event", event)

        try:
            request = pickle.load(asked)
            enter.enter()
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, ask)
            threading.Thread(target=_watch_parent, args=(hear, stop), daemon=True).start()
            from viaduct.engine.build import run

            send("result", run(request, send_event, stop, env=dict(os.environ)))
        except KeyboardInterrupt:
            send("error", Canceled())
        except Exception as error:  # noqa: BLE001 - handed to the parent, which raises it
            send("error", error)


def _watch_parent(asked: int, stop: Stop) -> None:
    """Stop when the parent is gone: it keeps the pipe `asked` open while it lives."""
    with contextlib.suppress(OSError):
        while os.read(asked, 1):
            pass
    stop.set()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]))
