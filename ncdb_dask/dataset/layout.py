"""Where the files of a frame lie in an NCDB tree.

RGB at ``<dataset_root>/image_a6/<stem>.png`` (``.jpg`` as fallback), depth at ``<dataset_root>/<variant>/<stem>.png``,
the first existing of an ordered list of variants.
"""

import errno
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ncdb_dask.dataset.png import MAX_FILE_BYTES
from ncdb_dask.dataset.split import IMAGE_FOLDER, Roots, inside
from ncdb_dask.errors import DataFault, NcdbError, PlanError
from ncdb_dask.store.folder import Folder, Listing, open_folder

DEFAULT_VARIANTS = ("newest_depth_maps", "newest_synthetic_depth_maps", "new_depth_maps", "depth_maps")
VARIANT_VARIABLE = "NCDB_DEPTH_VARIANT"
IMAGE_SUFFIXES = (".png", ".jpg")
# About 250 MB of names in one process: a scene of a million frames still fits, a million scenes do not pile up.
REMEMBERED_NAMES = 2_000_000


def depth_variants(given: Sequence[str] | str | None, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the variant folders in the order in which they are tried.

    Parameters
    ----------
    given : sequence of str, or comma list, or None
        The caller's choice; it outranks the environment.
    environ : mapping
        Where ``NCDB_DEPTH_VARIANT`` (a comma list) is looked up; it outranks the default.

    Raises
    ------
    NcdbError
        Where a name is not that of a folder inside the scene.
    """
    for source in (given, environ.get(VARIANT_VARIABLE)):
        parts = source.split(",") if isinstance(source, str) else list(source or ())
        names = tuple(dict.fromkeys(name.strip() for name in parts if name.strip()))
        bad = [name for name in names if name.startswith("/") or ".." in name.split("/")]
        if bad:
            raise NcdbError(f"depth variant {bad[0]!r} leaves the scene's folder; give folder names such as depth_maps")
        if names:
            return names
    return DEFAULT_VARIANTS


def require_data_root(root: Folder) -> None:
    """Refuse a folder that cannot hold a data set, before anything is planned.

    Raises
    ------
    PlanError
        Where it is not there, empty, or cannot be read.
    """
    try:
        there = root.holds_something()
    except OSError as error:
        raise PlanError(f"{root.url}: cannot be read ({error.strerror or error})") from error
    if not there:
        raise PlanError(f"{root.url}: no such folder, or an empty one; expected a folder that holds a data set")


@dataclass(frozen=True, slots=True)
class FramePaths:
    """The files of one frame, relative to the root (absolute inside an allowed folder)."""

    image: str
    depth: str
    variant: str


@dataclass
class Tree:
    """Looks frames up, listing each folder once: asking for four variants a frame is slow on network file systems.

    Parameters
    ----------
    root : Folder
        Root of the data set.
    roots : Roots
        Where the files of a frame may lie once their symbolic links are resolved.
    variants : sequence of str
        Depth folders in the order in which they are tried.
    """

    root: Folder
    roots: Roots
    variants: Sequence[str]
    _listings: OrderedDict[str, Listing | DataFault] = field(default_factory=OrderedDict, repr=False)
    _names: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def locate(self, dataset_root: str, stem: str) -> FramePaths:
        """Return where image and depth of a frame lie.

        Raises
        ------
        DataFault
            ``missing_image``, ``missing_depth`` or ``unsafe_path``.
        """
        image = self.locate_image(dataset_root, stem)
        variant, depth = self.locate_depth(dataset_root, stem)
        return FramePaths(image, depth, variant)

    def locate_depth(self, dataset_root: str, stem: str) -> tuple[str, str]:
        """Return the variant in which the depth map of a frame lies, and where.

        Raises
        ------
        DataFault
            ``missing_depth`` or ``unsafe_path``.
        """
        depth = self._first("depth", dataset_root, self.variants, [stem + ".png"])
        if depth is None:
            looked = ", ".join(self.variants)
            raise DataFault("missing_depth", f"no depth {stem}.png in {dataset_root} under any of {looked}")
        return depth

    def locate_image(self, dataset_root: str, stem: str) -> str:
        """Return where the image of a frame lies.

        Raises
        ------
        DataFault
            ``missing_image`` or ``unsafe_path``.
        """
        image = self._first("image", dataset_root, [IMAGE_FOLDER], [stem + suffix for suffix in IMAGE_SUFFIXES])
        if image is None:
            looked = f"{dataset_root}/{IMAGE_FOLDER}/{stem}"
            raise DataFault("missing_image", f"no image {looked} with suffix {' or '.join(IMAGE_SUFFIXES)}")
        return image[1]

    def require_root(self, path: str) -> None:
        """Check that the data set is still there, before `path` is called missing.

        A mount that went away, or that a worker's machine never had, makes every frame look missing.

        Raises
        ------
        OSError
            Where the root, or the allowed folder that holds `path`, is gone or empty or may not be listed.
        """
        base = next((base for base in self.roots.allowed if inside(path, base)), None)
        folder = self.root if base is None else open_folder(base)
        if not folder.holds_something():
            raise OSError(errno.ESTALE, "the data set is gone: its root is empty or missing here", folder.url)

    def _first(
        self, what: str, dataset_root: str, folders: Sequence[str], names: Sequence[str]
    ) -> tuple[str, str] | None:
        """Return the first of `folders` that holds one of `names`, and the path of that file."""
        for folder in folders:
            path = folder if dataset_root == "." else f"{dataset_root}/{folder}"
            listing = self._listing(what, path)
            for name in names:
                if name in listing.sizes:
                    self._check_file(what, f"{path}/{name}", listing.sizes[name], name in listing.links)
                    return folder, f"{path}/{name}"
        return None

    def _check_file(self, what: str, path: str, size: int, is_link: bool) -> None:
        if size > MAX_FILE_BYTES:
            raise DataFault(f"unreadable_{what}", f"{path}: has {size} bytes; the limit is {MAX_FILE_BYTES}")
        if is_link:
            self._check_link(path)

    def _listing(self, what: str, folder: str) -> Listing:
        with self._lock:  # a worker may have several threads, and a folder is listed once for all of them
            if folder in self._listings:
                self._listings.move_to_end(folder)
                found = self._listings[folder]
            else:
                found = self._list(what, folder)
                self._remember(folder, found)
        if isinstance(found, DataFault):
            raise DataFault(found.status, found.detail)
        return found

    def _list(self, what: str, folder: str) -> Listing | DataFault:
        """List a folder, or say what every frame of it suffers from."""
        try:
            listing = self.root.list(folder)
            if listing.sizes:
                self._check_link(folder)
        except PermissionError as error:
            self.require_root(folder)
            return DataFault(f"unreadable_{what}", f"{folder}: may not be listed ({error.strerror or error})")
        except DataFault as fault:
            return fault
        if not listing.sizes:
            self.require_root(folder)
        return listing

    def _remember(self, folder: str, found: Listing | DataFault) -> None:
        self._listings[folder] = found
        self._names += _weight(found)
        while self._names > REMEMBERED_NAMES and len(self._listings) > 1:
            _, oldest = self._listings.popitem(last=False)
            self._names -= _weight(oldest)

    def _check_link(self, path: str) -> None:
        real = self.root.real(path)
        if not self.roots.holds(real):
            raise DataFault("unsafe_path", f"{path} is a link out of the root, to {real}; allow it with --allow-root")


def _weight(found: Listing | DataFault) -> int:
    """Return what a remembered folder counts for: its names, and itself."""
    return 1 if isinstance(found, DataFault) else 1 + len(found.sizes)
