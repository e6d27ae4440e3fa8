"""Pictures of an evaluation: an overview of all frames, and the maps of single ones."""
