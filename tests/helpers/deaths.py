"""Deaths of this process, played: whatever would have been done after the moment is not done."""

import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from ncdb_dask.store.folder import LocalFolder


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def killed(temporary: str) -> BaseException:
    """Leave the half-written file behind, as a process that is killed does."""
    head, _, _ = temporary.rpartition(".tmp")[0].rpartition(".")
    shutil.copyfile(temporary, f"{head}.{uuid.uuid4().hex}.tmp", follow_symlinks=False)
    return Killed()


def full_disk(temporary: str) -> BaseException:
    return OSError(errno.ENOSPC, "No space left on device", temporary)


@contextmanager
def at_write(number: int, death: Callable[[str], BaseException] = killed) -> Iterator[list[str]]:
    """Die at the `number`-th file that would take its name, and yield the names of those that did."""
    replace, done = os.replace, []

    def struck(temporary: str, target: str) -> None:
        if len(done) + 1 == number:
            raise death(temporary)
        replace(temporary, target)
        done.append(target)

    with mock.patch("ncdb_dask.store.folder.os.replace", struck):
        yield done


@contextmanager
def at_removal(number: int) -> Iterator[list[str]]:
    """Die before the `number`-th removal of a file."""
    remove, done = LocalFolder.remove, []

    def struck(self: LocalFolder, name: str) -> None:
        if Path(self.path, name).exists():
            if len(done) + 1 == number:
                raise Killed
            done.append(name)
        remove(self, name)

    with mock.patch.object(LocalFolder, "remove", struck):
        yield done
