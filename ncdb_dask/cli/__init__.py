"""The command line: options in, one clear line on failure, pictures and figures out."""
