"""What people type into a search box, as text for Postgres's `to_tsquery`."""

import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_PIECE: Final = re.compile(r'(?P<minus>-*)(?:"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]*))')  # the word may be empty
_SAYING: Final = re.compile(r"[^\W_]|[^\x00-\x7f]")  # anything but ASCII's own punctuation may be a word to Postgres
_PART: Final = re.compile(r"[^\s/<>]+")  # search_text() makes spaces of three of them
_AROUND_WORDS: Final = string.punctuation + "“”„‘’‚«»‹›…–—¿¡"


@dataclass(frozen=True, slots=True)
class Search:
    tsquery: str  # for to_tsquery; empty when there is nothing to look for
    any_of: str  # the same without what must not be there: all of its words and phrases, any of them
    words: tuple[str, ...]  # whole ones that must or may be there, stop words among them
    places: tuple[int, ...]  # where each of them begins
    prefixes: bool  # whether a beginning is looked for


def read(text: str) -> Search:
    """Words, `"a phrase"`, `or`, `-without`, `begin*`. Never raises: whatever is typed means something.

    It means what `websearch_to_tsquery` makes of it, but for these: a word may end in a star; any punctuation
    inside a word makes a phrase of it, `10:30` and `home/plants` as well as `well-known`; a minus on its own is
    nothing, not the next word's; so is an `or` that has nothing on one side; `or,` is a word.
    """
    groups: list[list[str]] = [[]]
    likely: list[str] = []
    words: list[tuple[str, int]] = []
    prefixes = False
    for piece in _PIECE.finditer(text):
        minus, phrase, word = piece.groups(default="")
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
            likely.append(wanted)
            if not word.endswith("*"):  # what is not finished is not misspelt
                words.extend(_words(phrase or word, piece.start("phrase" if phrase else "word")))
    return Search(
        tsquery=" | ".join(" & ".join(group) for group in groups if group),
        any_of=" | ".join(likely),
        words=tuple(word for word, _ in words),
        places=tuple(place for _, place in words),
        prefixes=prefixes,
    )


def reworded(text: str, words: Sequence[str | None]) -> str:
    """The same search with another word for each of `read(text).words`, or with the same. Its signs stay."""
    found = read(text)
    parts: list[str] = []
    end = 0
    for old, place, new in zip(found.words, found.places, words, strict=True):
        parts += [text[end:place], new or old]
        end = place + len(old)
    return "".join([*parts, text[end:]])


def operand(text: str, prefix: bool = False) -> str:
    """A word or phrase, or its beginning, quoted; empty when there is nothing to look for.

    Postgres makes words of what is in the quotes, as it did of the task's text: a phrase, if they are several.
    """
    if not _SAYING.search(text):
        return ""
    quoted = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{quoted}'" + ":*" * prefix


def _words(text: str, start: int) -> Iterator[tuple[str, int]]:
    for part in _PART.finditer(text):
        if word := part[0].strip(_AROUND_WORDS):
            yield word, start + part.start() + part[0].index(word)
