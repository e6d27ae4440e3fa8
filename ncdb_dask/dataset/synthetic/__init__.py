"""A valid NCDB tree made from a seed: ray-cast rooms and streets whose depth belongs exactly to their pictures."""

from ncdb_dask.dataset.synthetic.tree import SyntheticTree, write_tree

__all__ = ["SyntheticTree", "write_tree"]
