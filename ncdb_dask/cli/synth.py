"""``ncdb-dask synth``."""

import click

from ncdb_dask.cli.progress import counted
from ncdb_dask.errors import NcdbError


@click.command()
@click.argument("out", type=click.Path(file_okay=False))
@click.option("--scenes", type=click.IntRange(min=1), default=6, show_default=True, help="Rooms and streets.")
@click.option("--frames", type=click.IntRange(min=1), default=40, show_default=True, help="Frames a scene.")
@click.option("--seed", type=int, default=42, show_default=True, help="The same seed gives the same tree.")
@click.option("--faults", is_flag=True, help="Add every kind of broken entry, listed in OUT/expected_status.json.")
def synth(out: str, scenes: int, frames: int, seed: int, faults: bool) -> None:
    """Make a small valid NCDB tree from a seed.

    Ray-cast rooms and streets with their depth in several variants, by day and by night, and the splits
    OUT/train_split.json and OUT/val_split.json.
    """
    from ncdb_dask.dataset.synthetic import write_tree

    with counted("frames") as on_frame:
        try:
            tree = write_tree(out, scenes=scenes, frames=frames, seed=seed, faults=faults, on_frame=on_frame)
        except (ValueError, OSError) as error:
            raise NcdbError(str(error)) from error
    click.echo(f"{tree.frames} frames in {len(tree.scenes)} scenes under {tree.root}")
    broken = f", and {tree.faults} broken entries" if faults else ""
    click.echo(f"splits: {tree.train} to train, {tree.val} to validate{broken}")
