"""What stands under a file's name in place of the file: what a download, a copy or another program left there."""

from __future__ import annotations

import re

AGAIN = "copy or download it again"
HEAD_BYTES = 1 << 16
"""First bytes of a file that are looked at."""
_ARCHIVES = {
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a rar archive",
}
_LFS = b"version https://git-lfs.github.com/spec/"


def disguise(head: bytes) -> str | None:
    """What a file is by its first bytes, and what to do; None where nothing is known to be wrong."""
    if not head:
        return f"it is empty; {AGAIN}"
    if head.startswith(_LFS):
        held = re.search(rb"^size (\d+)", head, re.MULTILINE)
        of = f" to {int(held[1]):,} bytes" if held else ""
        return f"it is a Git LFS pointer{of}, not the file itself; run 'git lfs pull' in its repository"
    if re.match(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|head|\?xml|!--)", head, re.IGNORECASE):
        return "it is a web page, as a link to a page or a failed login leaves it; download the file itself"
    if not head.strip(b"\0"):
        return f"it begins with nothing but zeros; {AGAIN}"
    for magic, name in _ARCHIVES.items():
        if head.startswith(magic):
            return f"it is {name}; unpack it and name the file inside"
    if head[257:262] == b"ustar":
        return "it is a tar archive; unpack it and name the file inside"
    return None
