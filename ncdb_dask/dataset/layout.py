"""Where the files of a frame lie in an NCDB tree.

RGB at ``<dataset_root>/image_a6/<stem>.png`` (``.jpg`` as fallback), depth at ``<dataset_root>/<variant>/<stem>.png``,
the first existing of an ordered list of variants.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ncdb_dask.dataset.split import IMAGE_FOLDER, Roots
from ncdb_dask.errors import DataFault, NcdbError
from ncdb_dask.store.folder import Folder, Listing

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
    _listings: OrderedDict[str, Listing] = field(default_factory=OrderedDict, repr=False)
    _names: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def locate(self, dataset_root: str, stem: str) -> FramePaths:
        """Return where image and depth of a frame lie.

        Raises
        ------
        DataFault
            ``missing_image``, ``missing_depth`` or ``unsafe_path``.
        """
        image = self._first("image", dataset_root, [IMAGE_FOLDER], [stem + suffix for suffix in IMAGE_SUFFIXES])
        if image is None:
            looked = f"{dataset_root}/{IMAGE_FOLDER}/{stem}"
            raise DataFault("missing_image", f"no image {looked} with suffix {' or '.join(IMAGE_SUFFIXES)}")
        depth = self._first("depth", dataset_root, self.variants, [stem + ".png"])
        if depth is None:
            looked = ", ".join(self.variants)
            raise DataFault("missing_depth", f"no depth {stem}.png in {dataset_root} under any of {looked}")
        return FramePaths(image[1], depth[1], depth[0])

    def _first(
        self, what: str, dataset_root: str, folders: Sequence[str], names: Sequence[str]
    ) -> tuple[str, str] | None:
        """Return the first of `folders` that holds one of `names`, and the path of that file."""
        for folder in folders:
            path = folder if dataset_root == "." else f"{dataset_root}/{folder}"
            try:
                listing = self._listing(path)
            except PermissionError as error:
                raise DataFault(
                    f"unreadable_{what}", f"{path}: may not be listed ({error.strerror or error})"
                ) from error
            for name in names:
                if name in listing.sizes:
                    if name in listing.links:
                        self._check(f"{path}/{name}")
                    return folder, f"{path}/{name}"
        return None

    def _listing(self, folder: str) -> Listing:
        with self._lock:  # a worker may have several threads, and a folder is listed once for all of them
            if folder in self._listings:
                self._listings.move_to_end(folder)
                return self._listings[folder]
            listing = self.root.list(folder)
            if listing.sizes:
                self._check(folder)
            self._listings[folder] = listing
            self._names += len(listing.sizes) + 1  # a folder that is not there is remembered too
            while self._names > REMEMBERED_NAMES and len(self._listings) > 1:
                _, oldest = self._listings.popitem(last=False)
                self._names -= len(oldest.sizes) + 1
            return listing

    def _check(self, path: str) -> None:
        real = self.root.real(path)
        if not self.roots.holds(real):
            raise DataFault("unsafe_path", f"{path} is a link out of the root, to {real}; allow it with --allow-root")
