"""The ``apcodec`` command: parses, calls the library, prints."""
