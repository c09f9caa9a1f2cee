"""How titles are ordered, and things counted in words."""

import unicodedata
from typing import Final

SORT_KEY_CHARACTERS: Final = 200


def sort_key(title: str) -> str:
    """Without regard to case and accents: what "A first" compares, byte by byte.

    At most 200 characters: a title can unfold to many times its length, and an index entry is limited.
    """
    unfolded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", title).casefold())
    bare = "".join(character for character in unfolded if not unicodedata.combining(character))
    return bare[:SORT_KEY_CHARACTERS]


def counted(count: int, noun: str) -> str:
    """`1 task`, `2,000 tasks`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
