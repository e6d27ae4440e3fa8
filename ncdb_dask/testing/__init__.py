"""Contract suites, for our own backends and for other people's: what a class must keep to, tried out.

>>> from ncdb_dask.testing import check_quantizer
>>> def test_my_backend(tmp_path):
...     check_quantizer(MyBackend, tmp_path)
"""

from ncdb_dask.testing.quantizers import check_quantizer

__all__ = ["check_quantizer"]
