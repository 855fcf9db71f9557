"""The tag of cloned speech: a comment in a file's metadata, which what only changes its sound keeps."""

from __future__ import annotations

PROVENANCE = "synthetic speech in the voice of a reference, made by wavemill"
"""What is spoken in a voice that a recording told says of itself."""


def found_in(comment: str) -> str:
    """The tag, where a comment holds it, else an empty text."""
    return PROVENANCE if PROVENANCE in comment else ""
