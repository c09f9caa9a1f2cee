"""The filter language: `priority>=medium due<=friday (tag:home or figs) -is:overdue`.

docs/filters.md has it for those who use it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Final, cast

from backend.rules import criteria
from backend.rules.criteria import Calendar, one_of, shown
from backend.rules.normal_form import all_of, any_of, negation, texts_joined
from backend.rules.tree import Node

if TYPE_CHECKING:
    from lark import Lark, Token, Tree
    from lark.parsers.lalr_interactive_parser import InteractiveParser

CHARACTERS: Final = 1_000
TERMS: Final = 50  # each word of a phrase is one
NESTING: Final = 10

# A word ends where a sign begins, so that no `color:red` is taken for text in silence. The lookaheads
# tell a field by its sign, and keywords from words that begin like them.
_GRAMMAR: Final = r"""
?start: any
?any: all (_OR all)*
?all: part (_AND? part)*
?part: (MINUS | NOT)* (criterion | WORD | STRING | _OPEN any _CLOSE)
criterion: FIELD SIGN (VALUE | STRING)

_AND.3: /and(?![^\s()"])/i
_OR.3: /or(?![^\s()"])/i
NOT.3: /not(?![^\s()"])/i
FIELD.2: /[^\s()":<>=-][^\s()":<>=]*(?=\s*[:<>=])/
WORD.1: /(?!(and|or|not)(?![^\s()"]))[^\s()":<>=-][^\s()":<>=]*/i
STRING: /"([^"\\]|\\.)*"/s
SIGN: /[:<>=]+/
VALUE: /[^\s()"]+/
MINUS: /-(?=[^\s)])/
_OPEN: "("
_CLOSE: ")"
%ignore /\s+/
"""
_NAMED: Final = {
    **dict.fromkeys(("FIELD", "WORD", "STRING", "MINUS", "NOT", "_OPEN"), "a term"),
    "_AND": "`and`",
    "_OR": "`or`",
    "_CLOSE": "`)`",
    "$END": "the end",
    "VALUE": "a value",
}
_ESCAPED: Final = re.compile(r'\\(["\\])')
_FOUND: Final = re.compile(r"[()]|[^\s()]+")


class FilterError(ValueError):
    """`position` is the character where it went wrong, from 0; the message says it from 1, in words."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"At character {position + 1}: {reason.rstrip('.')}.")
        self.position = position

    @property
    def message(self) -> str:
        return str(self)


def read(text: str, today: date, zone: str) -> Node:
    """In normal form; days are those of an IANA `zone`. Raises FilterError.

    At most 1,000 characters, 50 terms and 10 levels of parentheses.
    """
    if len(text) > CHARACTERS:
        raise FilterError(CHARACTERS, f"a filter has at most {CHARACTERS:,} characters, and this one {len(text):,}")
    if not text.strip():
        raise FilterError(0, "the filter is empty; expected a term, as in priority:high")
    return texts_joined(_node(_parsed(text), Calendar(today, zone)))


def _parsed(text: str) -> "Tree[Token] | Token":
    from lark.exceptions import UnexpectedCharacters, UnexpectedToken

    parser = language().parse_interactive(text)
    terms = nesting = 0
    before = ""
    try:
        for token in parser.iter_parse():
            terms += _weight(token) if before != "SIGN" else 0
            nesting += {"_OPEN": 1, "_CLOSE": -1}.get(token.type, 0)
            before = token.type
            with _at(token):
                _limit(terms, nesting)
        return cast("Tree[Token] | Token", parser.feed_eof())  # type: ignore[no-untyped-call]
    except UnexpectedCharacters as error:
        raise _unexpected(text, error.pos_in_stream or 0, parser) from None
    except UnexpectedToken as error:
        at = len(text) if error.token.type == "$END" else error.token.start_pos or 0
        raise _unexpected(text, at, parser) from None


@cache
def language() -> "Lark":
    """Made once; a worker asks for it when it starts."""
    # Importing lark takes twice as long as importing all the rules, and making the parser as long again: a
    # tenth of a second together, which no command line needs.
    from lark import Lark

    return Lark(_GRAMMAR, parser="lalr", lexer="contextual")


def _weight(token: "Token") -> int:
    if token.type == "STRING":
        return max(1, len(token[1:-1].split()))
    return 1 if token.type in {"FIELD", "WORD"} else 0


@contextmanager
def _at(token: "Token") -> Iterator[None]:
    """Whatever is wrong is wrong there."""
    try:
        yield
    except ValueError as error:
        raise FilterError(token.start_pos or 0, str(error)) from None


def _limit(terms: int, nesting: int) -> None:
    """Raises ValueError."""
    if terms > TERMS:
        raise ValueError(f"a filter has at most {TERMS} terms, and each word of a phrase is one")
    if nesting > NESTING:
        raise ValueError(f"parentheses are at most {NESTING} deep")
    if nesting < 0:
        raise ValueError("found `)`, and no parenthesis is open; expected one before it, as in (figs or lemons)")


def _unexpected(text: str, at: int, parser: "InteractiveParser") -> FilterError:
    accepted = parser.accepts()  # type: ignore[no-untyped-call]
    found = _FOUND.match(text, at)
    what = f"found {shown(found[0])}" if found else "the filter ends here"
    if text[at : at + 1] == '"':
        return FilterError(at, 'the quote is not closed; expected another " after it, as in "the kitchen"')
    if text[at : at + 1] == "-":
        return FilterError(at, "`-` stands alone; expected a term right after it, as in -tag:home")
    if "VALUE" in accepted:
        return FilterError(at, f"{what}; expected a value, as in due:today")
    expected = tuple(dict.fromkeys(words for name, words in _NAMED.items() if name in accepted))
    return FilterError(at, f"{what}; expected {one_of(expected)}, as in (figs or lemons) and not is:completed")


def _node(found: "Tree[Token] | Token", calendar: Calendar) -> Node:
    if isinstance(found, str):
        return _text(found)
    if found.data == "criterion":
        return _criterion(calendar, *cast("list[Token]", found.children))
    if found.data == "part":
        *negations, last = found.children
        node = _node(last, calendar)
        return negation(node) if len(negations) % 2 else node
    parts = [_node(part, calendar) for part in found.children]
    return all_of(parts) if found.data == "all" else any_of(parts)


def _text(token: "Token") -> Node:
    with _at(token):
        return criteria.phrase(_unquoted(token)) if token.type == "STRING" else criteria.text(token)


def _criterion(calendar: Calendar, name: "Token", sign: "Token", value: "Token") -> Node:
    with _at(name):
        field = criteria.field(name)
    with _at(sign):
        criteria.check(field, sign)
    with _at(value):
        return field.meaning(sign, _unquoted(value) if value.type == "STRING" else str(value), calendar)


def _unquoted(token: "Token") -> str:
    return _ESCAPED.sub(r"\1", token[1:-1])
