"""What an evaluation is asked to do: the options, checked and with every default resolved."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ncdb_dask.dataset.split import Roots, inside
from ncdb_dask.errors import EvaluationError
from ncdb_dask.evaluation.frame import FrameOptions
from ncdb_dask.evaluation.predictions import FORMS
from ncdb_dask.evaluation.predictor import FilePredictor, NetworkPredictor
from ncdb_dask.evaluation.protocol import Protocol
from ncdb_dask.evaluation.schema import SCHEMA_VERSION
from ncdb_dask.exporting.manifest import ExportManifest
from ncdb_dask.sampling.scanned import ScanTable
from ncdb_dask.scanning.request import checked_scale
from ncdb_dask.store.folder import Folder


@dataclass(frozen=True)
class EvaluationRequest:
    """What is asked for.

    Attributes
    ----------
    predictor : NetworkPredictor or FilePredictor
        What is evaluated.
    out, root : Folder
        The table and the data set.
    allowed : tuple of Folder
        Further folders in which frames may lie.
    splits : tuple of str
        Split files as given; empty where a scan is evaluated.
    scan : ScanTable or None
        Where the frames come from, if not from splits.
    where : str or None
        Which rows of the scan.
    manifest : ExportManifest or None
        Of an export, by whose file names predictions are matched.
    variants : tuple of str
        Depth folders in the order in which they are tried, or were by the scan.
    options : FrameOptions
        How a frame is judged.
    save : str or None
        Form of predictions that are kept: ``npy`` or ``png``.
    shard_size : int or None
        Frames a shard; None lets the plan choose.
    storage_options : mapping
        For splits that are URLs.
    """

    predictor: NetworkPredictor | FilePredictor
    out: Folder
    root: Folder
    allowed: tuple[Folder, ...]
    splits: tuple[str, ...]
    scan: ScanTable | None
    where: str | None
    manifest: ExportManifest | None
    variants: tuple[str, ...]
    options: FrameOptions
    save: str | None
    shard_size: int | None
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        *,
        predictor: NetworkPredictor | FilePredictor,
        protocol: Protocol,
        out: Folder,
        root: Folder | None,
        allowed: Iterable[Folder] = (),
        splits: Iterable[str] = (),
        scan: ScanTable | None = None,
        where: str | None = None,
        manifest: ExportManifest | None = None,
        variants: Iterable[str] | None = None,
        depth_scale: float | str | None = None,
        stretch: bool = False,
        save: str | None = None,
        shard_size: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> "EvaluationRequest":
        """Check the options and make a request of them.

        Raises
        ------
        EvaluationError
            Options that do not go together.
        """
        names = tuple(splits)
        _check_source(names, scan, where, root, depth_scale)
        _check_options(predictor, protocol, out, manifest, save, shard_size)
        if scan is not None:
            scanned = scan.manifest.plan.settings
            place, scale, folders = scan.root, scanned["depth_scale"], scanned["variants"]
        else:
            assert root is not None  # as was checked
            place, scale, folders = root, _one_scale(depth_scale), variants or ()
        unit = 256.0 if scale in (None, "auto") else float(scale)  # under auto, each row of the scan has its own
        return cls(
            predictor,
            out,
            place,
            tuple(allowed),
            names,
            scan,
            where,
            manifest,
            tuple(folders),
            FrameOptions(protocol, unit, allow_8bit=scale is not None, stretch=stretch),
            save,
            shard_size,
            storage_options or {},
        )

    @property
    def roots(self) -> Roots:
        """Where frames may lie."""
        return Roots.of(self.root, self.allowed) if self.scan is None else self.scan.roots

    def settings(self) -> dict[str, Any]:
        """Return what shapes the rows, as JSON values: an evaluation continues only under the same."""
        return {
            "root": self.root.url,
            "allow_root": [folder.url for folder in self.allowed],
            "scan": None if self.scan is None else self.scan.folder.url,
            "where": self.where,
            "variants": list(self.variants),
            "depth_scale": self.options.depth_scale,
            "allow_8bit": self.options.allow_8bit,
            "stretch": self.options.stretch,
            "protocol": self.options.rules.as_dict(),
            "predictor": self._predictor(),
            "save_predictions": self.save,
            "schema": SCHEMA_VERSION,
        }

    def _predictor(self) -> dict[str, Any]:
        if isinstance(self.predictor, NetworkPredictor):
            reference = self.predictor.reference
            about = {"kind": "network", "model": reference.path, "provider": reference.provider}
            return about | {"spec": _spec(reference.spec.as_dict())}
        spec = self.predictor.spec
        read = None if spec is None else _spec(spec.as_dict())
        return {"kind": "files", "folder": self.predictor.folder.url, "raw": self.predictor.raw, "spec": read}


def _spec(values: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Leave out what the protocol holds already."""
    return {name: section for name, section in values.items() if name != "evaluation"}


def _check_source(
    splits: tuple[str, ...], scan: ScanTable | None, where: str | None, root: Folder | None, depth_scale: object
) -> None:
    if bool(splits) == (scan is not None):
        found = "both" if splits else "neither"
        raise EvaluationError(f"give the frames with --split or with --scan; found {found}")
    if scan is None and root is None:
        raise EvaluationError("--root is missing: where the frames of --split lie")
    if scan is None and where is not None:
        raise EvaluationError("--where chooses rows of --scan; a split has no columns")
    if scan is not None and depth_scale is not None:
        raise EvaluationError("--depth-scale is for --split; a scan knows the unit of its frames")


def _check_options(
    predictor: NetworkPredictor | FilePredictor,
    protocol: Protocol,
    out: Folder,
    manifest: ExportManifest | None,
    save: str | None,
    shard_size: int | None,
) -> None:
    if save is not None and save not in FORMS:
        raise EvaluationError(f"save predictions {save!r}: expected {' or '.join(FORMS)}")
    if shard_size is not None and shard_size < 1:
        raise EvaluationError(f"shard size {shard_size}: expected at least 1")
    if isinstance(predictor, NetworkPredictor):
        if manifest is not None:
            raise EvaluationError("an export's manifest names predictions that are files; a network needs none")
        return
    if protocol.flip != "none":
        raise EvaluationError(f"flip {protocol.flip}: is for networks; files hold no prediction of a mirrored picture")
    if inside(predictor.folder.real(), out.real()):
        raise EvaluationError(f"{predictor.folder.url}: lies in {out.url}, which is written; choose another folder")


def _one_scale(given: float | str | None) -> float | str | None:
    scale = checked_scale(given)
    if scale == "auto":
        raise EvaluationError("depth scale auto guesses frame by frame; give raw units a metre, or evaluate a scan")
    return scale
