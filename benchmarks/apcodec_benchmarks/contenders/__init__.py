"""The codecs that are compared, each behind one interface."""
