"""Languages, and the text search configurations that Postgres has for them."""

from typing import Final

LANGUAGES: Final = {
    "ar": "arabic",
    "ca": "catalan",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "eu": "basque",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}
"""Languages with a stemmer in Postgres 15 and later, by ISO 639-1; all others are searched word by word."""


def configuration(language: str) -> str:
    """The text search configuration of a language, as the database's `search_config` chooses it."""
    return f"tend_{LANGUAGES.get(language, 'simple')}"


def search_configurations() -> str:
    """Copies of Postgres's own configurations with `unaccent` before the stemmer, and the choice among them.

    The function is immutable, as a generated column must be: it maps a closed set of literals.
    """
    words, numbered = "hword, hword_part, word", "numhword, hword_numpart, numword"
    lines = []
    for name in [*LANGUAGES.values(), "simple"]:
        stemmer = "simple" if name == "simple" else f"{name}_stem"
        lines.append(f"CREATE TEXT SEARCH CONFIGURATION tend_{name} (COPY = pg_catalog.{name});")
        lines.append(f"ALTER TEXT SEARCH CONFIGURATION tend_{name} ALTER MAPPING FOR {words} WITH unaccent, {stemmer};")
        lines.append(f"ALTER TEXT SEARCH CONFIGURATION tend_{name} ALTER MAPPING FOR {numbered} WITH unaccent, simple;")
    cases = "\n".join(f"WHEN '{code}' THEN 'tend_{name}'::regconfig" for code, name in LANGUAGES.items())
    lines.append(
        "CREATE FUNCTION search_config(language text) RETURNS regconfig LANGUAGE sql IMMUTABLE PARALLEL SAFE "
        f"RETURN CASE language\n{cases}\nELSE 'tend_simple'::regconfig END;"
    )
    return "\n".join(lines)


SEARCH_TEXT = """
CREATE FUNCTION search_text(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN translate($1, '/<>', '   ')
"""  # or `home/plants` would be a path and `<figs>` a tag of HTML, of which no word is found
