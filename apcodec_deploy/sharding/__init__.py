"""Folders of codes as what training reads: shards of many files, in the formats of the field."""
