"""The verifier `json-schema`: JSON read exactly, against a JSON schema whose patterns are those of ECMA-262 and whose formats are checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from operant.worlds.text.fences import read_blocks

if TYPE_CHECKING:
    from operant.worlds.text.tasks import Problem


def json_schema(problem: Problem, completion: str) -> float:
    """1.0 where the completion is JSON that its schema accepts: metadata "schema", or the answer as a schema.

    The completion is JSON by RFC 8259 from its first to its last character, or one fenced block that is: no text beside it, no NaN or Infinity, no name twice
    in an object. Its numbers are the decimals that are written. Raises `ValueError` where the schema is no JSON, or no JSON schema, or has a format of the
    specification that is not checked here, and `RecursionError` where JSON is nested too deeply to be read.
    """
    import jsonschema

    schema = problem.metadata.get("schema")
    schema = problem.answer if schema is None else schema
    if isinstance(schema, str):
        try:
            schema = _json(schema)
        except ValueError as error:
            raise ValueError(f"the problem's schema is no JSON: {error}") from None
    else:
        schema = _json(json.dumps(schema))
    if not isinstance(schema, bool | dict):
        raise ValueError(f"the problem's schema is no JSON schema: {str(schema)[:80]}")
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    if isinstance(schema, dict) and schema and not any(name.startswith("$") or name in kind.VALIDATORS for name in schema):
        raise ValueError(f"the problem's schema is no JSON schema: {', '.join(map(repr, schema))[:80]} is no keyword, so that it would accept everything")
    try:
        kind.check_schema(_binary(schema), format_checker=jsonschema.FormatChecker(()))
    except jsonschema.SchemaError as error:
        raise ValueError(f"the problem's schema is no JSON schema: {error.message[:200]}") from None
    schema = _with_patterns(schema)
    if isinstance(schema, dict):
        schema.pop("$schema", None)  # by which a reference to the root would be read by another class than `_exactly(kind)`
    try:
        value = _json(_unfenced(completion))
    except ValueError:
        return 0.0
    return float(_exactly(kind)(schema, format_checker=_formats()).is_valid(value))


def _json(text: str) -> Any:
    """A JSON text, its numbers exact; ValueError where it is none, holds NaN or Infinity, or names a member of an object twice."""

    def once(members: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(members)) < len(members):
            raise ValueError("an object names a member twice")
        return found

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    def whole(digits: str) -> int | Decimal:
        return int(digits) if len(digits) < 1000 else Decimal(digits)  # Python reads no int of more than 4,300 digits

    text = text.strip().removeprefix("\ufeff")
    return json.loads(text, object_pairs_hook=once, parse_constant=refuse, parse_float=Decimal, parse_int=whole)


def _unfenced(text: str) -> str:
    """What the one fenced block holds that a text consists of; a text that is anything else as it is."""
    stripped = text.strip().replace("\r\n", "\n")
    if not stripped.startswith(("```", "~~~")) or not stripped.endswith(stripped[:3]):
        return text
    blocks = read_blocks(stripped)
    whole = len(blocks) == 1 and blocks[0].closed and blocks[0].language in ("", "json", "jsonc", "json5")
    return blocks[0].code if whole and stripped.count("\n") >= blocks[0].code.count("\n") + 1 else text


def _binary(value: Any) -> Any:
    """The same JSON with floats, which the schemas of schemas know."""
    if isinstance(value, dict):
        return {name: _binary(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_binary(each) for each in value]
    return float(value) if isinstance(value, Decimal) else value


@lru_cache
def _exactly(kind: Any) -> Any:
    """A class of validators for which decimals are numbers, and multiples are exact."""
    import jsonschema

    whole_floats = kind.TYPE_CHECKER.is_type(1.0, "integer")  # since draft 6

    def is_integer(checker: Any, value: Any) -> bool:
        if isinstance(value, Decimal):
            return value.as_tuple().exponent == 0 or (whole_floats and value == value.to_integral_value())
        return kind.TYPE_CHECKER.is_type(value, "integer")

    def multiple(validator: Any, factor: Any, value: Any, schema: Any) -> Iterator[Any]:
        if validator.is_type(value, "number") and not _is_multiple(value, factor):
            yield jsonschema.ValidationError("not a multiple")

    keywords = {name: multiple for name in ("multipleOf", "divisibleBy") if name in kind.VALIDATORS}
    return jsonschema.validators.extend(kind, keywords, type_checker=kind.TYPE_CHECKER.redefine("integer", is_integer))


def _is_multiple(value: int | Decimal, factor: int | Decimal) -> bool:
    (above, raised), (below, lowered) = _scaled(value), _scaled(factor)
    if raised >= lowered:
        return above * pow(10, raised - lowered, below) % below == 0
    if lowered - raised > above.bit_length():  # more zeros than it has digits
        return above == 0
    return above % (below * 10 ** (lowered - raised)) == 0


def _scaled(value: int | Decimal) -> tuple[int, int]:
    """The size of a number as a whole number and the power of ten that it is multiplied by."""
    if isinstance(value, int):
        return abs(value), 0
    _, digits, exponent = value.as_tuple()
    return int(Decimal((0, digits, 0))), int(exponent)


# --- patterns ------------------------------------------------------------------------------------------------------------------------------------------------

_OF_DATA = frozenset(("enum", "const", "default", "examples"))
_OF_NAMES = frozenset(("properties", "$defs", "definitions", "dependentSchemas", "dependencies", "patternProperties"))
_WHITE = r"\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_PIECE = re.compile(r"\\k<(?P<again>\w+)>|\(\?<(?P<group>[A-Za-z_]\w*)>|\[\^?\]|\\.|[\[\].$]", re.DOTALL)


def _with_patterns(schema: Any) -> Any:
    """A schema whose patterns of ECMA-262 are written as Python's; ValueError for one that is none, and for a format that is not checked."""
    if isinstance(schema, list):
        return [_with_patterns(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _OF_DATA:
            made[name] = value
        elif name in _OF_NAMES and isinstance(value, dict):
            made[name] = {_ecma(each) if name == "patternProperties" else each: _with_patterns(inner) for each, inner in value.items()}
        else:
            made[name] = _ecma(value) if name == "pattern" and isinstance(value, str) else _with_patterns(value)
    if isinstance(made.get("format"), str) and made["format"] in _UNCHECKED:
        raise ValueError(f"the problem's schema has the format {made['format']!r}, which is not checked here")
    return made


def _ecma(pattern: str) -> str:
    """A regular expression of ECMA-262 as one of Python: `$` is the end of the text, and `\\d`, `\\w` and `\\b` know ASCII alone."""
    inside = False

    def piece(found: re.Match) -> str:
        nonlocal inside
        said = found[0]
        if inside:
            inside = said != "]"
            return {r"\s": _WHITE, "[": r"\["}.get(said, said) if len(said) < 3 else re.sub(r"\[", r"\\[", said)
        if found["again"] or found["group"]:
            return f"(?P={found['again']})" if found["again"] else f"(?P<{found['group']}>"
        inside = said == "["
        named = {"$": r"\Z", ".": r"[^\n\r\u2028\u2029]", r"\s": f"[{_WHITE}]", r"\S": f"[^{_WHITE}]", "[]": "(?!)", "[^]": r"[\s\S]", r"\/": "/"}
        return named.get(said, said)

    translated = f"(?a:{_PIECE.sub(piece, pattern)})"
    try:
        re.compile(translated)
    except re.error as error:
        raise ValueError(f"the problem's schema has the pattern {pattern[:80]!r}, which cannot be read: {error.msg}") from None
    return translated


# --- formats -------------------------------------------------------------------------------------------------------------------------------------------------

_UNCHECKED = frozenset(("idn-email", "idn-hostname", "uri-reference", "iri", "iri-reference", "uri-template", "json-pointer", "relative-json-pointer"))
_UNCHECKED |= {"duration"}
_HOST = r"(?=[A-Za-z\d.-]{1,253}\Z)[A-Za-z\d](?:[A-Za-z\d-]{0,61}[A-Za-z\d])?(?:\.[A-Za-z\d](?:[A-Za-z\d-]{0,61}[A-Za-z\d])?)*"
_ATOM = r"[\w!#$%&'*+/=?^`{|}~-]+"
_PATTERNS = {  # RFC 1123, RFC 5321 (without comments), RFC 3986
    "hostname": re.compile(_HOST, re.ASCII),
    "email": re.compile(rf"(?=[^@]{{1,64}}@|\")(?:{_ATOM}(?:\.{_ATOM})*|\"(?:[ !#-\[\]-~]|\\[ -~]){{0,62}}\")@(?:{_HOST}|\[[\dA-Fa-f:.]+\])", re.ASCII),
    "uri": re.compile(r"[A-Za-z][A-Za-z\d+.-]*:(?:[\w.~:/?@!$&'()*+,;=\[\]-]|%[\dA-Fa-f]{2})*(?:#(?:[\w.~:/?@!$&'()*+,;=-]|%[\dA-Fa-f]{2})*)?", re.ASCII),
}
_TIME = r"(\d\d:\d\d:)(\d\d)(?:\.\d+)?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
_MOMENTS = {"date-time": re.compile(rf"(\d{{4}}-\d\d-\d\d)[Tt]{_TIME}", re.ASCII), "time": re.compile(rf"(){_TIME}", re.ASCII)}  # RFC 3339


@lru_cache
def _formats() -> Any:
    """What checks formats: `ipv4`, `ipv6`, `date` and `uuid` by jsonschema, the others that need no more packages here."""
    import jsonschema

    checker = jsonschema.FormatChecker(("ipv4", "ipv6", "date", "uuid"))
    for name, pattern in _PATTERNS.items():
        checker.checks(name)(lambda value, pattern=pattern: not isinstance(value, str) or pattern.fullmatch(value) is not None)
    for name, pattern in _MOMENTS.items():
        checker.checks(name)(lambda value, pattern=pattern: not isinstance(value, str) or _is_moment(pattern.fullmatch(value)))
    checker.checks("regex", raises=ValueError)(lambda value: not isinstance(value, str) or bool(_ecma(value)))
    return checker


def _is_moment(found: re.Match | None) -> bool:
    if found is None:
        return False
    day, minute, second = found.groups()
    try:
        datetime.fromisoformat(f"{day or '2000-01-01'}T{minute}{'59' if second == '60' else second}")  # a leap second
    except ValueError:
        return False
    return True
