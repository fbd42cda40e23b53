"""Readers, one a kind of source; each ends in :class:`Sequences` or in windows of time tables."""
