"""Split files as files: finding, reading and naming them; `ncdb_dask.dataset.split` looks at their items."""

import hashlib
import json
import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ncdb_dask.errors import SplitError
from ncdb_dask.store.folder import Folder, LocalFolder, open_folder


@dataclass(frozen=True)
class SplitFile:
    """A split file that was read and is a list; its items are not looked at yet."""

    name: str
    sha256: str
    items: tuple[object, ...]


def read_splits(given: Iterable[str], root: Folder, options: Mapping[str, object] | None = None) -> list[SplitFile]:
    """Read every split file once, in the order given.

    Parameters
    ----------
    given : iterable of str
        Paths or URLs, each looked for as given and then under the root.
    root : Folder
        The data set.
    options : mapping, optional
        fsspec storage options for URLs.

    Returns
    -------
    list of SplitFile
        Each named by its file name, or as given where two share one.

    Raises
    ------
    SplitError
        A file that is not there or holds no split.
    """
    return [parse_split(find_split(path, root, options), name) for path, name in _names(given).items()]


def _names(given: Iterable[str]) -> dict[str, str]:
    """Name each split by its file name, or as given where two share one."""
    paths = list(dict.fromkeys(given))
    for path in paths:
        if plain(path) != path:
            raise SplitError(f"{plain(path)}: the file's name is no UTF-8; rename it")
    bases = Counter(path.rsplit("/", 1)[-1] for path in paths)
    return {path: base if bases[base := path.rsplit("/", 1)[-1]] == 1 else path for path in paths}


def find_split(given: str, root: Folder, options: Mapping[str, object] | None = None) -> bytes:
    """Read a split file, looked for as given and then under the root.

    Raises
    ------
    SplitError
        Where it is in neither place or cannot be read.
    """
    places: list[tuple[Folder, str]] = []
    parent, name = posixpath.split(given)
    if "://" in given:
        places.append((open_folder(parent, options), name))
    else:
        places += [(LocalFolder(os.getcwd()), os.path.expanduser(given)), (root, given)]
    for folder, place in places:
        try:
            return folder.read(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise SplitError(f"{given}: cannot be read ({error.strerror or error})") from error
    looked = " and ".join(dict.fromkeys(posixpath.join(folder.url, place) for folder, place in places))
    raise SplitError(f"{given}: no such split file (looked for {looked}); give the path of yours")


def parse_split(data: bytes, name: str) -> SplitFile:
    """Check that `data` is a JSON list with at least one item.

    Raises
    ------
    SplitError
        Where it is no JSON, no list, or empty.
    """
    expected = "expected a JSON list of {'dataset_root': ..., 'new_filename': ...}"
    try:
        items = json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise SplitError(f"{name}: is no JSON ({reason}); {expected}") from error
    if not isinstance(items, list):
        raise SplitError(f"{name}: holds a JSON {json_kind(items)}; {expected}")
    if not items:
        raise SplitError(f"{name}: is an empty list; {expected}")
    return SplitFile(name, hashlib.sha256(data).hexdigest(), tuple(items))


def json_kind(value: object) -> str:
    """Return what JSON calls the kind of a parsed value."""
    names = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def plain(text: str) -> str:
    """Replace what UTF-8 cannot encode (JSON allows lone surrogates)."""
    return text.encode("utf-8", "replace").decode("utf-8")
