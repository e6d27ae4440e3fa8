"""The tar of all frames: written so that equal sets give equal bytes, and read frame by frame without an index."""

import io
import tarfile
from collections.abc import Iterable
from typing import IO, BinaryIO

_BLOCK = tarfile.BLOCKSIZE


def write_tar(file: IO[bytes], members: Iterable[tuple[str, bytes]]) -> None:
    """Write files at the root of a tar; nothing in it tells when or by whom."""
    # USTAR ends names at 100 bytes; for shorter ones the two forms are the same but for their magic number.
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def room(name: str, size: int) -> int:
    """Return the bytes that a member takes in a tar of `write_tar`."""
    long = len(name.encode()) > tarfile.LENGTH_NAME
    heads = _BLOCK + (_BLOCK + _blocks(len(name.encode()) + 1) if long else 0)
    return heads + _blocks(size)


def _blocks(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def read_member(file: BinaryIO, start: int, name: str) -> bytes:
    """Read the member `name`, which begins at `start` in a tar of `write_tar`; in another tar it is looked for.

    Raises
    ------
    KeyError
        Where there is no such member.
    tarfile.TarError
        Where the tar is damaged.
    """
    try:
        file.seek(start)
        with tarfile.open(fileobj=file, mode="r:") as tar:
            member = tar.next()
            if member is not None and member.name == name:
                return _content(tar, member)
    except tarfile.TarError:
        pass  # no member begins here
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as tar:
        return _content(tar, tar.getmember(name))


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = tar.extractfile(member)
    return b"" if content is None else content.read()
