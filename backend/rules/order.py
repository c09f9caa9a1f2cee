"""An order by hand: keys of text between any two of which there is room for another.

In the format of Greenspan's "Implementing Fractional Indexing", which libraries for JavaScript, Swift, Kotlin and
others speak, so that a device without a connection can place what it moves. A key is an integer and a fraction in
digits to base 62; the first character says how many digits the integer has. Compared byte by byte.
"""

from typing import Final

DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
MOST_CHARACTERS: Final = 250
_LEAST: Final = "A" + "0" * 26


def check(key: str) -> str:
    """Raises ValueError for what is no such key."""
    if not 2 <= len(key) <= MOST_CHARACTERS or any(character not in DIGITS for character in key):
        raise ValueError(f"expected 2 to {MOST_CHARACTERS} of 0-9, A-Z and a-z, like a0")
    if key[0].isdigit() or len(key) < _width(key) or key == _LEAST or (len(key) > _width(key) and key.endswith("0")):
        raise ValueError("expected a key of fractional indexing, like a0, a0V or Zz")
    return key


def between(before: str | None, after: str | None) -> str:
    """A key after `before` and before `after`; None stands for either end. Raises ValueError where no room is."""
    if before is not None and after is not None and before >= after:
        raise ValueError(f"{before} is not before {after}")
    if before is None:
        return "a0" if after is None else _first(after)
    whole, fraction = _parts(before)
    following = _stepped(whole, 1)
    if following is not None and (after is None or following < after):
        return following
    if after is not None and after.startswith(whole):
        return whole + _middle(fraction, after[len(whole) :])
    return whole + _middle(fraction, None)


def spread(before: str | None, after: str | None, count: int) -> list[str]:
    """`count` keys, all between the two, in order and as short as they can be."""
    if count == 0:
        return []
    middle = between(before, after)
    if before is None or after is None:  # one after the other, away from the end that is taken
        keys = [middle]
        while len(keys) < count:
            keys.append(between(None, keys[-1]) if before is None and after is not None else between(keys[-1], None))
        return sorted(keys)
    left = count // 2
    return [*spread(before, middle, left), middle, *spread(middle, after, count - left - 1)]


def _width(key: str) -> int:
    """How many characters the integer has with its first, from a (two) to z and from Z (two) to A."""
    return ord(key[0]) - ord("a") + 2 if key[0] >= "a" else ord("Z") - ord(key[0]) + 2


def _parts(key: str) -> tuple[str, str]:
    return key[: _width(key)], key[_width(key) :]


def _first(after: str) -> str:
    whole, fraction = _parts(after)
    if fraction and whole != _LEAST:
        return whole
    previous = _stepped(whole, -1)
    if previous is not None and previous != _LEAST:
        return previous
    return _LEAST + _middle("", fraction if whole == _LEAST else None)


def _stepped(whole: str, step: int) -> str | None:
    """The integer after or before; None past the last of all."""
    head, size, value = whole[0], len(whole) - 1, step
    for place, digit in enumerate(reversed(whole[1:])):
        value += DIGITS.index(digit) * 62**place
    if value < 0 or value >= 62**size:
        heads = DIGITS[10:]
        turn = heads.index(head) + step
        if not 0 <= turn < len(heads):
            return None
        head = heads[turn]
        size = _width(head) - 1
        value = 0 if step > 0 else 62**size - 1
    digits = ""
    for _ in range(size):
        value, rest = divmod(value, 62)
        digits = DIGITS[rest] + digits
    return head + digits


def _middle(low: str, high: str | None) -> str:
    """A fraction between two, of which `high` None is one. It never ends in 0: between x and x0 is nothing."""
    if high is not None:
        same = 0
        while same < len(high) and (low[same : same + 1] or "0") == high[same]:
            same += 1
        if same:
            return high[:same] + _middle(low[same:], high[same:])
    first = DIGITS.index(low[0]) if low else 0
    last = DIGITS.index(high[0]) if high else len(DIGITS)
    if last - first > 1:
        return DIGITS[(first + last) // 2]
    if high is not None and len(high) > 1:
        return high[0]
    return DIGITS[first] + _middle(low[1:], None)
