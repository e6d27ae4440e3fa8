"""What the backend ``onnxruntime`` has done, as lines for people."""

from collections.abc import Iterator, Mapping
from typing import Any

WORST = 5


def summary(report: Mapping[str, Any]) -> dict[str, str]:
    """Return lines for people: what, and a sentence or figure."""
    return dict(_lines(report))


def _lines(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    options = report["options"]
    percent = "" if options["percentile"] is None else f" {options['percentile']:g}"
    weights = "int8, a scale a channel" if options["per_channel"] else "int8, a scale a tensor"
    yield "Activations", f"{report['scheme']['name']}, {options['method']}{percent}"
    yield "Weights", weights
    balanced = report.get("equalization")
    if balanced is not None and balanced["used"]:
        before, after = (balanced["expected_noise"][when] for when in ("before", "after"))
        yield (
            "Equalized",
            f"expected noise {before:.3g} -> {after:.3g}; outputs equal to {balanced['difference']:.1g}",
        )
    if "bias_correction" in report:
        yield "Biases", f"{len(report['bias_correction']['layers'])} layers corrected"
    noisy = [row for row in report["tensors"] if row["signal_to_noise_db"] is not None]
    worst = sorted(noisy, key=lambda row: row["signal_to_noise_db"])[:WORST]
    if worst:
        yield "Noisiest", "\n".join(f"{row['signal_to_noise_db']:5.1f} dB  {row['tensor']}" for row in worst)
