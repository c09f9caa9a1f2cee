"""Trees made simple, and the texts in them joined.

A stop word ("the") alone finds nothing, but Postgres leaves it out beside other words: so the texts of a
group must reach it as one query. Where all of them are negated, the query is what they negate.
"""

from collections.abc import Iterable

from backend.rules.tree import AllOf, AnyOf, Node, Not, Term


def all_of(parts: Iterable[Node]) -> Node:
    return _group(AllOf, parts)


def any_of(parts: Iterable[Node]) -> Node:
    return _group(AnyOf, parts)


def negation(part: Node) -> Node:
    if isinstance(part, Not):
        return part.part
    if isinstance(part, Term) and part.name == "completed":
        return Term("completed", not part.value)
    return Not(part)


def texts_joined(node: Node) -> Node:
    """The texts of each group as one term, where the first of them stood."""
    if _is_text(node):
        return Not(_term(node.part)) if isinstance(node, Not) else _term(node)
    if isinstance(node, Not):
        return Not(texts_joined(node.part))
    if isinstance(node, Term):
        return node
    texts = [part for part in node.parts if _is_text(part)]
    first = next((at for at, part in enumerate(node.parts) if _is_text(part)), 0)
    parts = [texts_joined(part) for part in node.parts if not _is_text(part)]
    if texts:
        parts.insert(first, texts_joined(_group(type(node), texts)))
    return type(node)(tuple(parts))


def _group(kind: type[AllOf] | type[AnyOf], parts: Iterable[Node]) -> Node:
    flat: list[Node] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, kind) else [part])
    if len(flat) == 1:
        return flat[0]
    negated = [part.part for part in flat if isinstance(part, Not) and _is_text(part.part)]
    if flat and len(negated) == len(flat):
        return Not(_group(AnyOf if kind is AllOf else AllOf, negated))
    return kind(tuple(flat))


def _is_text(node: Node) -> bool:
    if isinstance(node, Term):
        return node.name == "text"
    if isinstance(node, Not):
        return _is_text(node.part)
    return bool(node.parts) and all(_is_text(part) for part in node.parts)


def _term(node: Node) -> Term:
    return Term("text", _tsquery(node))


def _tsquery(node: Node) -> str:
    if isinstance(node, Term):
        return str(node.value)
    if isinstance(node, Not):
        return f"!{_nested(node.part)}"
    return (" & " if isinstance(node, AllOf) else " | ").join(_nested(part) for part in node.parts)


def _nested(node: Node) -> str:
    return f"({_tsquery(node)})" if isinstance(node, AllOf | AnyOf) else _tsquery(node)
