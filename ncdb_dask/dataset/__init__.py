"""The NCDB layout: split files, where frames lie, and how their pictures are read."""
