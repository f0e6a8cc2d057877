"""Streams that are coded and decoded while they come."""
