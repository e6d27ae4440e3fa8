"""What a caller may give as a place."""

import os

Location = str | os.PathLike[str]
