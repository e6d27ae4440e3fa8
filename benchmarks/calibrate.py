"""Claim: activation statistics cost a quarter of the time of ONNX Runtime's Percentile, in memory that does not grow.

A ResNet-18 U-Net with random weights at 640 x 384 (77 million activations a frame), rendered pictures. Both measure the
same tensors of the same network on the same frames, one thread each, and end with ranges by percentile. ONNX Runtime
keeps every activation until the end, so it gets few frames. Opening a cluster is not counted.

    python benchmarks/calibrate.py
"""

import argparse
import json
import shutil
import tempfile
from multiprocessing import get_context
from pathlib import Path

from common import markdown, peak_bytes, seconds
from unet import write_unet

import ncdb_dask
from ncdb_dask.dataset.synthetic import write_tree

SPLIT = "train_split.json"
WIDTH, HEIGHT = 640, 384


def peak_megabytes() -> int:
    """Return the largest resident size that this process has had."""
    return peak_bytes() >> 20


def onnxruntime_percentile(model: str, root: str, split: str, answer: object) -> None:
    """Calibrate as ``quantize_static`` does, in a process of its own."""
    import onnxruntime
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    from ncdb_dask.calibration.adapters import onnxruntime_reader

    feed = ncdb_dask.calibration_feed(split, root=root, model=model)
    calibrator = create_calibrator(
        Path(model),
        augmented_model_path=str(Path(model).with_name("augmented.onnx")),
        calibrate_method=CalibrationMethod.Percentile,
        extra_options={"percentile": 99.999},
    )
    # Its session takes all cores and no optimization; here each has one thread, and what it can make of it.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    calibrator.infer_session = onnxruntime.InferenceSession(calibrator.augmented_model_path, options)

    def calibrate() -> None:
        calibrator.collect_data(onnxruntime_reader(feed))
        calibrator.compute_data()

    answer.put((seconds(calibrate), peak_megabytes()))


def ours(client: object, model: Path, root: Path, split: Path, out: Path) -> None:
    """Measure, and find the ranges."""
    shutil.rmtree(out, ignore_errors=True)
    ncdb_dask.activation_statistics(model, out, root=root, split=str(split), client=client).ranges("percentile")


def bare_inference(model: str, root: str, split: str, answer: object) -> None:
    """Run the network alone, one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options)
    tensors = list(ncdb_dask.calibration_feed(split, root=root, model=model))
    answer.put((seconds(lambda: [session.run(None, {"image": tensor}) for tensor in tensors]), peak_megabytes()))


def alone(work: object, *arguments: str) -> tuple[float, int]:
    """Run in a fresh process; return seconds and peak."""
    context = get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=work, args=(*arguments, answer))
    process.start()
    found = answer.get()
    process.join()
    return found


def first(root: Path, count: int, work: Path) -> Path:
    """Write a split of the first frames, and return its path."""
    items = json.loads((root / SPLIT).read_text())
    assert len(items) >= count, f"the tree has {len(items)} frames"
    path = work / f"first_{count}.json"
    path.write_text(json.dumps(items[:count]))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=300, help="for the longest run")
    parser.add_argument("--few", type=int, default=8, help="for ONNX Runtime, and the shortest run")
    parser.add_argument("--work", type=Path, help="where to put tree, network and statistics")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        work = Path(folder)
        write_tree(work / "tree", frames=-(-arguments.frames // 4), width=WIDTH, height=HEIGHT)  # of each of six scenes
        root, model = work / "tree", write_unet(work / "unet.onnx", WIDTH, HEIGHT)
        few, many = (first(root, count, work) for count in (arguments.few, arguments.frames))
        rows = []

        def row(name: str, count: int, time: float, megabytes: list[int]) -> float:
            rows.append([name, f"{count}", f"{time:.1f}", f"{time / count:.2f}", ", ".join(map(str, megabytes))])
            return time / count

        place = tuple(map(str, (model, root, few)))
        time, peak = alone(bare_inference, *place)
        row("inference alone", arguments.few, time, [peak])
        time, peak = alone(onnxruntime_percentile, *place)
        theirs = row("ONNX Runtime, Percentile", arguments.few, time, [peak])
        figures = {}
        for workers, split, count in (
            (1, few, arguments.few),
            (1, many, arguments.frames),
            (2, many, arguments.frames),
        ):
            with ncdb_dask.open_client(workers=workers) as client:
                time = seconds(lambda split=split, client=client: ours(client, model, root, split, work / "out"))
                peaks = sorted(client.run(peak_megabytes).values())
            named = f"statistics, {workers} worker{'s' * (workers > 1)}"
            figures[workers, count] = row(named, count, time, peaks), max(peaks)
        print(markdown(["", "frames", "seconds", "seconds a frame", "peak MB"], rows))
        one, two = figures[1, arguments.frames][0], figures[2, arguments.frames][0]
        print(f"\nx ONNX Runtime, 1 worker: {theirs / one:.1f}; two workers x one: {one / two:.2f}")
        print(
            f"peak at {arguments.frames} against {arguments.few} frames: "
            f"{figures[1, arguments.frames][1] / figures[1, arguments.few][1]:.2f}"
        )


if __name__ == "__main__":
    main()
