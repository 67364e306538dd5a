"""Encodes that take minutes: shown, ended early, interrupted, and gone on with."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from omnicodec.codecs import Cancelled, Progress, Work
from omnicodec.codecs.work import is_checkpoint
from omnicodec.service.cli.console import UsageError, note
from omnicodec.service.cli.naming import shown_name
from omnicodec.service.cli.screen import Screen, Shown, reached
from omnicodec.service.targets import Targets

if TYPE_CHECKING:
    from omnicodec.codecs.registry import AnyCodec

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class LongWork:
    """The long work of one invocation.

    Its checkpoint lies beside the result, under the result's name with `.part` behind it, until
    the result is written. What goes to stdout has no such place, and begins anew each time.
    """

    def __init__(self, screen: Screen, targets: Targets) -> None:
        self._screen, self._targets = screen, targets
        self._works: list[_Watched] = []
        self._interrupted = False
        # A queue that signal handlers may put into, unlike others.
        self._to_tell: SimpleQueue[bool] = SimpleQueue()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let Ctrl-C and SIGTERM end long work with a checkpoint; twice, the program.

        While there is no long work they end the program as they always do.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # A handler may stand in the middle of a line, or of the start of a thread: it can do
        # neither itself.
        teller = threading.Thread(target=self._tell, daemon=True)
        teller.start()
        before = [signal.signal(number, self._on_signal) for number in _SIGNALS]
        try:
            yield
        finally:
            for number, handler in zip(_SIGNALS, before, strict=True):
                signal.signal(number, handler)
            self._to_tell.put(False)
            teller.join()  # what comes of the interruption is said after that there was one

    def check(self, codec: AnyCodec, path: Path | None) -> None:
        """Raise `UsageError` for targets that the codec does not know, or a place that is taken."""
        if self._targets and not codec.spec.resumable:
            raise UsageError(
                f"{codec.spec.name} does not work towards a target, so --target-psnr and "
                f"--target-size are not for it"
            )
        part = checkpoint(path) if codec.spec.resumable else None
        if part is not None and part.exists() and not is_checkpoint(part):
            raise UsageError(
                f"{str(part)!r} would be the checkpoint, and is some other file; move it away"
            )

    @contextmanager
    def on(self, file: str, codec: AnyCodec, path: Path | None) -> Iterator[Work | None]:
        """Give what an encode reports to; None for a codec that does not.

        `path` is that of the result. Raises `Cancelled` with the line to end with.
        """
        if not codec.spec.resumable:
            yield None
            return
        name = shown_name(file)
        shown = Shown(self._screen, name)
        part = checkpoint(path)
        work = _Watched(name, shown, self._targets, part)
        self._works.append(work)
        try:
            if self._interrupted:  # before this was among the works that the signal ends
                raise Cancelled("interrupted")
            yield work
        except Cancelled as e:
            if part is None or not part.exists():
                raise Cancelled("interrupted") from e
            raise Cancelled(f"interrupted; the same command goes on from {str(part)!r}") from e
        finally:
            self._works.remove(work)
            shown.remove()
        if work.last is not None and self._targets and not self._targets.met(work.last):
            note(f"{name}: the target was not met: {reached(work.last)}")

    def written(self, codec: AnyCodec, path: Path | None) -> None:
        """Remove the checkpoint: the result is safe."""
        if codec.spec.resumable and (part := checkpoint(path)) is not None:
            part.unlink(missing_ok=True)

    def _on_signal(self, number: int, frame: Any) -> None:
        if not self._works:
            raise KeyboardInterrupt
        self._interrupted = True
        # What is behind Python now ends the process at once, whatever it is doing.
        for known in _SIGNALS:
            signal.signal(known, signal.SIG_DFL)
        self._to_tell.put(True)
        for work in list(self._works):
            work.cancel()

    def _tell(self) -> None:
        if not self._to_tell.get():
            return
        self._screen.stop()
        note("interrupted: keeping what there is; again, and it ends at once")


class _Watched(Work):
    """Work that is shown, and says where it goes on from."""

    def __init__(self, name: str, shown: Shown, targets: Targets, part: Path | None) -> None:
        super().__init__(listen=self._heard, enough=targets.met, checkpoint=part)
        self._name, self._shown, self._part = name, shown, part
        self._told = False
        self.last: Progress | None = None

    def restore(self, key: str) -> dict[str, Any] | None:
        found = super().restore(key)
        if self._part is not None and self._part.exists() and not self._told:
            how = "going on from" if found is not None else "beginning anew, not the work of"
            note(f"{self._name}: {how} {str(self._part)!r}")
        self._told = True
        return found

    def _heard(self, progress: Progress) -> None:
        self.last = progress
        self._shown.show(progress)


def checkpoint(path: Path | None) -> Path | None:
    """Return where the checkpoint of a result lies; None where nothing can lie beside it."""
    from omnicodec.codecs.files import is_special

    if path is None or is_special(path):
        return None
    return path.with_name(f"{path.name}.part")
