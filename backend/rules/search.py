"""What people type into a search box, as text for Postgres's `to_tsquery`."""

import re
import string
from dataclasses import dataclass
from typing import Final

_PIECE: Final = re.compile(r'(?P<minus>-*)(?:"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]*))')  # the word may be empty
_SAYING: Final = re.compile(r"[^\W_]|[^\x00-\x7f]")  # anything but ASCII's own punctuation may be a word to Postgres
_BREAK: Final = re.compile(r"[\s/<>]+")  # search_text() makes spaces of three of them
_AROUND_WORDS: Final = string.punctuation + "“”„‘’‚«»‹›…–—¿¡"


@dataclass(frozen=True, slots=True)
class Search:
    tsquery: str  # for to_tsquery; empty when there is nothing to look for
    words: tuple[str, ...]  # that must or may be there, stop words among them, a beginning without its star
    prefixes: bool  # whether a beginning is looked for


def read(text: str) -> Search:
    """Words, `"a phrase"`, `or`, `-without`, `begin*`. Never raises: whatever is typed means something.

    It means what `websearch_to_tsquery` makes of it, but for these: a word may end in a star; any punctuation
    inside a word makes a phrase of it, `10:30` and `home/plants` as well as `well-known`; a minus on its own is
    nothing, not the next word's; so is an `or` that has nothing on one side; `or,` is a word.
    """
    groups: list[list[str]] = [[]]
    words: list[str] = []
    prefixes = False
    for minus, phrase, word in _PIECE.findall(text):
        if word.lower() == "or" and not minus:
            groups.append([])
            continue
        wanted = operand(phrase or word.rstrip("*"), prefix=word.endswith("*"))
        negated = len(minus) % 2 == 1
        if not wanted:
            continue
        groups[-1].append("!" * negated + wanted)
        prefixes = prefixes or word.endswith("*")
        if not negated:
            words.extend(_words(phrase or word))
    return Search(" | ".join(" & ".join(group) for group in groups if group), tuple(words), prefixes)


def operand(text: str, prefix: bool = False) -> str:
    """A word or phrase, or its beginning, quoted; empty when there is nothing to look for.

    Postgres makes words of what is in the quotes, as it did of the task's text: a phrase, if they are several.
    """
    if not _SAYING.search(text):
        return ""
    quoted = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{quoted}'" + ":*" * prefix


def _words(text: str) -> list[str]:
    return [word for part in _BREAK.split(text) if (word := part.strip(_AROUND_WORDS))]
