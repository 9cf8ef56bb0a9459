"""How a number is read, in a reference and in a completion alike. Imports the standard library alone.

One grammar for both sides. A number is a sign (a mark, or `negative`, `minus`), digits (grouped by commas, dots, apostrophes, underscores or any spaces, in
threes or as in India), decimals, an exponent, a power, a power of ten behind a multiplication sign, a fraction or a mixed number, a share in per cent or per
mille (a hundredth, a thousandth), a word such as "million", with marks of currency before or behind it and a unit behind it; in plain text, Unicode, Markdown,
HTML or LaTeX. Where two conventions disagree about one comma or dot, `1,234` and `1.234.567` are grouped, `1.234` and `3,14` are decimals.

What resembles a number and cannot be read as one raises `NotOneNumber`: lists (`1,2,3`, `5 or 6`), numbers side by side, ranges, bounds (`at least 5`), ratios,
dates, times, versions (`3.5.1`), sums, products and powers of anything but digits, inequalities, `5 ± 1`, factorials, multiples of π, of roots and of unknowns
(`3x`), other bases, identifiers (`GPT-4`), numbers of more than `MOST_DIGITS` digits. It is never read as another number. Numbers in words are none.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

LONGEST_READ = 100_000  # characters of a completion that are searched, from its end
LONGEST_NUMBER = 2_000  # characters among which a number is read; one that needs more to be told from something else is none
MOST_DIGITS = 400  # of a number as written, and as meant by its exponent or power
LARGEST_EXPONENT = 308


class NotOneNumber(ValueError):
    """A text looks like a number and is not one number; the message quotes it."""


def read_number(text: str) -> Fraction:
    """The one number that a text is: alone, in a `\\boxed{}`, behind `####`, or behind the equals sign of `x = 5`; of `1/3 ≈ 0.33`, 1/3.

    Raises:
        NotOneNumber: it holds none, or more than one.
    """
    boxes = _boxes(text)
    value = _boxed(text, boxes) if boxes else _single(text.rpartition("####")[2])
    if value is None:
        raise _unreadable(text, "is no number")
    return value


def last_number(completion: str) -> Fraction | None:
    """The number that a completion gives, or None: the one in its last `\\boxed{}`, else behind `####` on the last line so marked, else the last one in it.

    Lines at the end that name something else, such as `Confidence: 90%`, are left out where one before them says the answer.

    Args:
        completion: of which the last `LONGEST_READ` characters are searched.

    Raises:
        NotOneNumber: the box holds more than one number or is never closed, boxes side by side hold several, or what comes last only looks like a number.
    """
    text = completion[-LONGEST_READ:]
    if boxes := _boxes(text):
        return _boxed(text, boxes)
    marked = _MARKED.match(text, text.rfind("####")) if "####" in text else None
    if marked is not None:
        return _single(marked[1])
    lines, left = _to_the_answer(text.splitlines()), LONGEST_NUMBER
    while lines:
        line = lines.pop()
        held = _MAY_HOLD.search(line[::-1])
        if held is None:
            continue
        end = len(line) - held.start()
        start = max(0, end - left)
        left -= end - start
        # What stands above matters to a number as far as that something does: a dash then marks the item of a list.
        above = "-\n" if any(map(str.strip, lines)) else ""
        reader = _Reader(above + line[start : end + LONGEST_NUMBER], strict=False)
        if reader.items:
            return reader.last()
        if start > 0 or left <= 0:
            raise _unreadable(line[start:], "holds digits and no number")
    return None


def _to_the_answer(lines: list[str]) -> list[str]:
    """The lines without those at their end that name something else, `Confidence: 90%`, where one before them says the answer."""
    named = max((place for place, line in enumerate(lines) if _NAMES_THE_ANSWER.match(line)), default=None)
    if named is None:
        return lines
    end = len(lines)
    while end > named + 1 and (not lines[end - 1].strip() or (_NAMES_ANOTHER.match(lines[end - 1]) and not _NAMES_A_RESULT.match(lines[end - 1]))):
        end -= 1
    if end == len(lines) or any(_MAY_HOLD.search(line[::-1]) for line in lines[named:end]):
        return lines[:end]
    return lines[named:end] if _ANSWERS_IN_WORDS.match(lines[named]) else lines


def last_box(completion: str) -> str | None:
    """What the last `\\boxed{}` of a completion holds that is not empty; None where none is closed, or others stand beside it."""
    try:
        boxes = _boxes(completion[-LONGEST_READ:])
    except NotOneNumber:
        return None
    return boxes[0].inside if len(boxes) == 1 else None


@dataclass
class _Token:
    kind: str  # "number", "word" or "mark"
    text: str
    space: bool  # stands behind white space
    line: bool  # is the first of its line
    currency: bool = False  # stands behind a mark of currency


@dataclass
class _Item:
    start: int  # tokens, from the first to the one behind the last
    end: int
    value: Fraction | None  # None: looks like a number, and is not one
    text: str


# --- one spelling for each thing -----------------------------------------------------------------------------------------------------------------------------

_FRACTION, _OVERLINE, _EXPRESSION = "\x01", "\x02", "\x03"  # \frac, \overline, and what is worth a number and is not read here
_COMMANDS = (
    dict.fromkeys(("frac", "dfrac", "tfrac", "cfrac"), _FRACTION)
    | dict.fromkeys(("times", "cdot", "ast", "star", "bullet"), "×")
    | dict.fromkeys(("pm", "mp"), "±")
    | dict.fromkeys(("le", "leq", "leqslant", "ge", "geq", "geqslant", "lt", "gt", "ne", "neq", "ll", "gg"), "<")
    | dict.fromkeys(("approx", "sim", "simeq", "cong", "doteq", "thickapprox"), "≈")
    | dict.fromkeys(("to", "rightarrow", "Rightarrow", "longrightarrow", "Longrightarrow", "implies", "mapsto", "iff", "therefore", "because"), "→")
    | dict.fromkeys(("circ", "degree"), "°")
    | dict.fromkeys(("dots", "ldots", "cdots"), "...")
    | dict.fromkeys(
        ("sqrt", "ln", "log", "lg", "exp", "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sum", "prod", "int", "lim")
        + ("binom", "dbinom", "tbinom", "max", "min", "gcd", "lcm", "bmod", "pmod", "mod", "det", "lfloor", "lceil"),
        _EXPRESSION,
    )
    | dict.fromkeys(("cup", "cap", "setminus", "langle", "rangle", "mid", "nmid", "hat", "vec", "perp", "parallel", "oplus", "otimes", "partial"), _EXPRESSION)
    | dict.fromkeys(("cancel", "bcancel", "xcancel", "sout", "st"), _EXPRESSION)  # struck out
    | dict.fromkeys(("pi", "infty", "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota"), _EXPRESSION)
    | dict.fromkeys(("kappa", "lambda", "nu", "xi", "rho", "sigma", "tau", "phi", "varphi", "chi", "psi", "omega"), _EXPRESSION)
    | dict.fromkeys(("enspace", "enskip", "thinspace", "medspace", "thickspace", "space", "nobreakspace"), " ")
    | dict.fromkeys(("left", "right", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "displaystyle", "textstyle", "limits", "boxed", "fbox", "boldsymbol"), "")
    | dict.fromkeys(("text", "textbf", "textit", "textrm", "textsf", "texttt", "textnormal", "mbox", "hbox", "mathrm", "mathbf", "mathit"), "")
    | dict.fromkeys(("mathsf", "mathtt", "mathbb", "mathcal", "operatorname", "emph", "underline", "bm", "bf", "rm", "it", "cal", "prime"), "")
    | {"textsuperscript": "^", "textsubscript": "_", "quad": ";", "qquad": ";", "overline": _OVERLINE, "div": "÷", "percent": "%", "mu": "µ", "Omega": "Ω"}
    | {"textdollar": "$", "dollar": "$", "euro": "€", "pounds": "£", "yen": "¥"}
    | {"%": "%", "$": "$", "{": "[", "}": "]", "!": "", "\\": "\n", "/": ""}
    | dict.fromkeys(",;:> ()[]", " ")
)
_COMMAND = re.compile(r"\\([A-Za-z]+|.)", re.DOTALL)
_NOT_SHOWN = re.compile(
    r"\\(?:tag|label|ref|eqref|cite|hspace|vspace|phantom|end|style|class|href|fontsize)\*?\s?\{[^{}]{0,200}\}"
    r"|\\begin\s?\{[^{}]{0,40}\}(?:\s?\[[a-z]\])?(?:\s?\{[lcr|@ ]{1,40}\})?"
    r"|\\fcolorbox\s?\{[^{}]{0,40}\}\s?\{[^{}]{0,40}\}"
    r"|\\(?:(?:text|page)?color|colorbox)\s?(?:\[[^\[\]{}]{0,20}\])?\s?\{[^{}]{0,40}\}"
)
_BASE_TEN = re.compile(r"(?<=\d)_\s?\{\s?(?:10|ten)\s?\}|(?<=\d)₁₀(?![₀-₉])")
_TEXT = re.compile(r"\\(?:text[a-z]{0,6}|mbox|hbox|math[a-z]{2,4}|operatorname)\s?\{([^{}]{0,200})\}")
_ARGUMENT = r"\s?(?:\{([^{}]{0,400})\}|(\d))"
_FRACTIONS = re.compile(_FRACTION + _ARGUMENT + _ARGUMENT)
_REPEATING = re.compile(r"(\d{1,100})\.(\d{0,100})" + _OVERLINE + r"\s?\{(\d{1,100})\}")
_EXPONENT = re.compile(r"\^\s?[{(]([^{}()]{0,40})[)}]")
_DIGITS = r"(?:[1-9]\d{0,2}(?: \d{3}(?!\d))+(?:[.,]\d+)?|\d+(?:[.,'_]\d+)*|(?<!\w)\.\d+)"
_PLAIN = re.compile(rf"\s*([-−+]?)\s*({_DIGITS})\s*")
_UNIT = re.compile(r"\s*[^\W\d_]+(?:\^?-?\d)?(?:[\s×][^\W\d_]+(?:\^?-?\d)?)*\s*")

_SAME = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2043\ufe58\ufe63\uff0d", "-")
    | dict.fromkeys("·⋅∙∗✕✖⨯", "×")
    | dict.fromkeys("≃∼≅≐", "≈")
    | dict.fromkeys("⇒⟹⟶↦∴", "→")
    | dict.fromkeys("≤≥≠≪≫⩽⩾∓", "<")
    | dict.fromkeys("√∛∜π∞∑∏∫⌊⌈∪∩∖⟨⟩", _EXPRESSION)
    | dict.fromkeys("’‘ʼ′", "'")
    | dict.fromkeys("\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff\u202a\u202b\u202c\u202d\u202e\u00ad", None)
    | {"、": ", ", "٫": ".", "٬": ",", "٪": "%", "∕": "/", "∶": ":", "\u2028": "\n", "\u2029": "\n", "₋": "-"}
)
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+", strict=True))
_RAISED_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]{1,40}")
_LOWERED_RUN = re.compile("[₀₁₂₃₄₅₆₇₈₉]{1,40}")
_OVER_DIGITS = re.compile("(?<=\\d)[\u0304\u0305\u0307\u0332-\u0338]")  # repeats or strikes out
_MATRIX = re.compile(r"\\(?:begin|end)\s?\{(?:[a-zA-Z]?matrix|cases)\*?\}")
_ROUNDED = re.compile(r"(?:rounded |correct |accurate )?to \d{1,2} (?=decimal|significant|sig\b|d\.p|s\.f|dp\b|sf\b)")
_NUMERO = re.compile("№|(?<![^\\W_])[Nn][º°](?=\\s?\\d)")
_CIRCLED = re.compile("[①-⑳]")
_VULGAR = re.compile("[¼-¾⅐-⅞↉]")
_CURRENCY = "$€£¥₹₽₩₺₫₪฿₦₱¤"
_CURRENCY_WORD = re.compile(
    r"(?<![^\W_])(?:(?:US|CA|AU|NZ|HK|SG|NT|MX|[ACRSN])(?=\$)|(?:USD|EUR|GBP|JPY|CHF|CNY|RMB|INR|AUD|CAD|NZD|SEK|NOK|DKK|Rs\.?|Fr\.)\s?(?=[-−+]?\.?\d))"
)
_TAG = re.compile(r"<\|[^<>|]{1,40}\|>|</?[A-Za-z!][^<>]{0,200}>")
_ARROW = re.compile(r"(?<![-=])[-=]{1,8}>")
_BULLET = re.compile(r"^[ \t]*(?:[*+•][ \t]+)+", re.MULTILINE)
_STARS_POWER = re.compile(r"(?<=\d)\*\*(?=[-+(]?\d)|(?<=\d) \*\* (?=[-+(]?\d)")
_EMPHASIS = re.compile(r"(?<![\w*)])\*([^\s*](?:[^*\n]{0,60}[^\s*])?)\*(?![\w*(])")
_DOTS = re.compile(r"(\d?)\.{2,}(-?\d)?")


def _plain_text(text: str) -> str:
    """The text in the few characters that the grammar knows."""
    if "&" in text:
        text = re.sub(r"&(?:#x?[\da-fA-F]{1,6}|[A-Za-z]{2,8});", lambda found: html.unescape(found[0]), text)
    text = _BASE_TEN.sub("", _ROUNDED.sub(" ", text))
    if not text.isascii():
        text = _OVER_DIGITS.sub(_EXPRESSION, text)
        text = _CIRCLED.sub(lambda found: f" ({unicodedata.normalize('NFKC', found[0])}) ", _NUMERO.sub(" No. ", text))
        text = _VULGAR.sub(lambda found: _apart(found, unicodedata.normalize("NFKC", found[0])), text)
        text = _RAISED_RUN.sub(lambda found: "^" + "".join(_RAISED[each] for each in found[0]), text)
        text = _LOWERED_RUN.sub(lambda found: "_" + unicodedata.normalize("NFKC", found[0]), text)
        text = unicodedata.normalize("NFKC", text.translate(_SAME)).translate(_SAME)
        text = "".join(str(unicodedata.decimal(each)) if each.isdecimal() else each for each in text)
    latex = "\\" in text
    if latex:
        text = re.sub(r"\\not\s?=", "≠", text).replace("≠", "<")
        text = _BASE_TEN.sub("", _TEXT.sub(_shown, _TEXT.sub(_shown, _NOT_SHOWN.sub(" ", _MATRIX.sub(_EXPRESSION, text)))))
        text = _COMMAND.sub(lambda found: _COMMANDS.get(found[1], f" {found[1]} "), text)
    if "~" in text:  # what is struck out, and a range
        text = re.sub(r"(?<=\d)~(?=\d)", "÷", re.sub(r"~~[^~\n]{1,80}~~", " ", text))
    if "{" in text:
        text = re.sub(r"\{\s?([-−,. ]?)\s?\}", r"\1", text)
        text = _REPEATING.sub(_repeating, text)
    if "<su" in text:
        text = re.sub(r"<su([pb])>([^<>\n]{1,40})</su\1>", lambda found: f"{'^' if found[1] == 'p' else '_'}{{{found[2]}}}", text)
    if "^" in text:
        text = re.sub(r"\^\s?(?:st|nd|rd|th)\b", "", text)
        for _ in range(2):
            text = _EXPONENT.sub(_exponent, text)
        text = re.sub(r"\^\s?[{(]", f"^{_EXPRESSION} ", text).replace("^°", "°")
    if _FRACTION in text:
        for _ in range(2):
            text = _FRACTIONS.sub(_fraction, text)
        text = text.replace(_FRACTION, _EXPRESSION)
    text = text.replace(_OVERLINE, "")
    if latex:
        text = re.sub("[{}]", "", text.replace("}{", " "))
    elif "{" in text:  # a set
        text = re.sub(r"_\{([^{}]{0,40})\}", r"_\1", text).replace("{", "[").replace("}", "]")
    if "<" in text or ">" in text or "!" in text:
        text = re.sub("[<>!]=", "<", _ARROW.sub("→", _TAG.sub(" ", text)))
    if "*" in text or "•" in text or "+" in text:
        text = _STARS_POWER.sub("^", text)
        text = re.sub(r"\^\s?\(", f"^{_EXPRESSION} ", _EXPONENT.sub(_exponent, text))
        text = re.sub(r"\*\*+", "", _BULLET.sub("", text))
        text = _EMPHASIS.sub(r"\1", text).replace("*", "×")
    text = _DOTS.sub(lambda found: f"{found[1]}÷{found[2]}" if found[1] and found[2] else f"{found[1]} {found[2] or ''}", text)
    return _CURRENCY_WORD.sub(lambda found: "" if found.string[found.end() : found.end() + 1] == "$" else "¤", text)


def _apart(found: re.Match, text: str) -> str:
    """The text, behind a space where a digit stands before it, so that 1½ does not become 11/2."""
    before = found.string[found.start() - 1 : found.start()]
    return f" {text}" if before.isdecimal() or before == "." else text


def _shown(found: re.Match) -> str:
    """The text of `\\text{…}`, behind a space where it would become a letter of a product, as in `5\\text{b}`."""
    return found[1] if found[1][:1].isdecimal() or not found.string[found.start() - 1 : found.start()].isdecimal() else f" {found[1]}"


def _exponent(found: re.Match) -> str:
    inside = found[1].strip()
    if re.fullmatch(r"[-−+]?\s?\d+", inside):
        return "^" + inside.replace(" ", "").replace("−", "-") + " "
    if inside in ("°", "'", "''", "st", "nd", "rd", "th"):
        return inside if inside == "°" else ""
    return f"^{_EXPRESSION}"


def _fraction(found: re.Match) -> str:
    above, below = found[1] or found[2] or "", found[3] or found[4] or ""
    over, under = _PLAIN.fullmatch(above), _PLAIN.fullmatch(below)
    if over and under:
        return _apart(found, f"{over[1]}{over[2]}⁄{under[1]}{under[2]} ")
    if _UNIT.fullmatch(above) and _UNIT.fullmatch(below):
        return f" {above.strip()}/{below.strip()} "
    return _EXPRESSION


def _repeating(found: re.Match) -> str:
    whole, fixed, again = found.groups()
    nines = 10 ** len(fixed) * (10 ** len(again) - 1)
    return f"{int(whole + fixed + again) - int(whole + fixed)}⁄{nines}"


@dataclass
class _Box:
    start: int
    end: int
    inside: str


_MARKED = re.compile(r"####[ \t]*(?=[-−+$€£¥\\]{0,3}\.?\d)([^A-Za-z\n]{1,80})(?:\n|$)")  # not the heading `#### 2. Then`
_NAMES_THE_ANSWER = re.compile(r"\W{0,6}(?:(?:so|thus|therefore|hence|and|the|my|final),? ){0,4}answer\b", re.IGNORECASE)
_ANSWERS_IN_WORDS = re.compile(_NAMES_THE_ANSWER.pattern + r"[^\w]*(?:is\b\W*)?\w[^:]*$", re.IGNORECASE)
_NAMES_ANOTHER = re.compile(r"\W{0,6}[A-Z]\w{0,30}(?: \w{1,30}){0,2}[^\w\n:]{0,3}:")
_NAMES_A_RESULT = re.compile(
    r"[^:]{0,60}\b(?:answer|correct\w*|result|total|sum|solution|final\w*|wait|so|thus|hence|therefore|actually|revised|update\w*|edit|no|we|I)\b",
    re.IGNORECASE,
)
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BOX = re.compile(r"(?:\\(?:boxed|fbox)|(?<![^\W_])boxed(?=\s?\{))\s{0,9}")
_TO_END_OF_FORMULA = re.compile(r"(?:(?!\\[)\]])[^$\n])*")
_POWER_OF_TEN = r"(?:\\times|\\cdot|[×·⋅*])\s?10\s?(?:\^|\*\*)\s?(?:\{[^{}]{1,9}\}|[-−]?\d{1,4})|[×·⋅]\s?10[⁻⁰¹²³⁴-⁹]{1,4}"
_BEHIND_BOX = re.compile(
    rf"(?:\s|\\[,; ]|\\?\$|\\text\s?\{{){{0,9}}(?:\\?[%‰]|(?:per ?cent|hundred|thousand|million|billion|trillion)\b|{_POWER_OF_TEN}|\^\s?\S{{1,9}})"
    r"|\\pi|π|\\sqrt|[a-z](?![\w'’])|/\s?\d{1,9}"
)
_BETWEEN_BOXES = re.compile(r"(?:[\s,;&$]|\\[,; ()\[\]]|\\(?:text|mbox|quad|qquad)\b|[{}]|\b(?:and|or)\b|\b[A-Za-z]\w{0,3}\s?=){1,20}")


def _boxes(text: str) -> list[_Box]:
    """The last box that is not empty, behind those before it that nothing but commas, conjunctions and `y =` part from it; empty where there is no box.

    A box within another is a part of that. A sign, share, power or scale beside a box counts as inside.

    Raises:
        NotOneNumber: the last box holds digits and is never closed.
    """
    closing: dict[int, int] = {}
    opened: list[int] = []
    for brace in _BRACE.finditer(text):
        if brace[0] == "{":
            opened.append(brace.start())
        elif brace[0] == "}" and opened:
            closing[opened.pop()] = brace.start()
    boxes: list[_Box] = []
    unclosed = None
    for found in _BOX.finditer(text):
        place = found.end()
        if boxes and place < boxes[-1].end:
            continue
        if text[place : place + 1] != "{":
            rest = _TO_END_OF_FORMULA.match(text, place)
            start, end = place, rest.end()
        elif (stop := closing.get(place)) is None:
            unclosed = found.start()
            continue
        else:
            start, end = place + 1, stop + 1
        inside = text[start : end - (text[place] == "{")] if start < end else ""
        if inside.strip():
            boxes.append(_Box(found.start(), end, inside))
    if unclosed is not None and (not boxes or unclosed > boxes[-1].start) and re.search(r"\d", text[unclosed:]):
        raise _unreadable(text[unclosed:], "is never closed")
    for place, box in enumerate(reversed(boxes)):
        behind = _BEHIND_BOX.match(text, box.end)
        before = text[max(0, box.start - 1) : box.start]
        box.inside = (f"{before} " if before.isdecimal() or before in ("-", "−") else "") + box.inside + (behind[0] if behind else "")
        following = boxes[-place] if place else None
        if following is not None and (following.start - box.end > 40 or not _BETWEEN_BOXES.fullmatch(text, box.end, following.start)):
            return boxes[-place:]
        if place == 8:
            break
    return boxes[-9:]


def _boxed(text: str, boxes: list[_Box]) -> Fraction | None:
    """The one number of the boxes of a text; None where none holds one."""
    values = [_single(box.inside) for box in boxes]
    if any(value != values[-1] for value in values):
        raise _unreadable(text[boxes[0].start : boxes[-1].end], "is more than one number")
    return values[-1]


def _unreadable(text: str, why: str) -> NotOneNumber:
    text = text.strip()
    return NotOneNumber(f"{text[:80] + '…' * (len(text) > 80)!r} {why}")


# Of a line read backwards.
_MAY_HOLD = re.compile(f"[A-Za-z]\\\\|[{_EXPRESSION}\\d¼-¾⅐-⅞↉⁰¹²³⁴-⁹√∛∜π∞∑∏∫①-⓿]")

# --- the grammar ---------------------------------------------------------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    rf"(?P<space>\s+)|(?P<number>{_DIGITS}(?:[eE][-+−]?\d+(?![^\W_]))?)|(?P<word>[^\W\d_]+)|(?P<mark>.)",
    re.DOTALL,
)
_PERCENT = {"percent": 100, "pct": 100, "percentage": 100, "permille": 1000}
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12, "lakh": 5, "crore": 7, "tenth": -1, "hundredth": -2, "thousandth": -3}
_SCALES |= {"millionth": -6, "billionth": -9, "quadrillion": 15, "quintillion": 18, "lac": 5, "mn": 6, "bn": 9, "tn": 12}
_SCALES |= dict.fromkeys(("tausend", "tsd", "mille", "тыс", "тысяча", "тысячи", "тысяч"), 3)
_SCALES |= dict.fromkeys(("mio", "mln", "millionen", "millón", "millones", "milhão", "milhões", "milione", "milioni", "млн", "миллион"), 6)
_SCALES |= dict.fromkeys(("mrd", "mld", "mlrd", "milliard", "milliarde", "milliarden", "miliardo", "miliardi", "млрд", "миллиард", "миллиардов"), 9)
_SCALES |= dict.fromkeys(("billionen", "трлн", "триллион"), 12)
_SHARES = {"half": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "quarter": 4, "tenth": 10}
_MANY_SHARES = {f"{name}s": share for name, share in _SHARES.items() if name not in ("half", "quarter", "tenth")} | {"halves": 2}  # quarters are coins, too
_NUMERALS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9}
_ATTACHED_SCALES = {"k": 3, "K": 3, "M": 6, "m": 6, "B": 9, "T": 12, "mn": 6, "bn": 9, "tn": 12}  # behind money; k behind any number
_UNKNOWNS = frozenset("xyznijpqruwe") | frozenset("αβγδεζηθικλνξρστφχψω")
_GREEK = frozenset("αβγδεζηθικλνξρστφχψω")
_FUNCTIONS = frozenset(("log", "ln", "sin", "cos", "tan", "sqrt", "exp"))
_SHORT_UNITS = frozenset(  # of up to three letters: others behind digits are a product of unknowns, as in 3ab
    "kr mm cm dm m km nm um µm K sq cu in ft yd mi g kg mg µg lb lbs oz s ms ns µs h hr hrs min sec L ml mL dl dL cl cL kl Hz V mV kV A mA W kW MW GW J kJ "
    "MJ N kN Pa kPa MPa bar atm C F mol cal eV keV MeV GeV Wh kWh Ah mAh kB KB MB GB TB kb Mb Gb bit px pt pts em dpi fps rpm bpm mph kph kmh kgs gm gms "
    "cc am pm AM PM th st nd rd er e yr yrs wk wks mo mos day ha ac gal qt pc pcs pct deg rad lm lx cd Bq Gy Sv dB ppm ppb ppt psi hp Nm ohm Ω kΩ MΩ USD "
    "EUR GBP JPY CHF CNY RMB INR AUD CAD NZD SEK NOK DKK men box hat dog cat car egg pen cup bag ml mn bn tn".split()
)
_SHORT_WORDS = frozenset("a i is to of on at as by or so if we it an no up us he".split())
_SIGN_WORDS = {"negative": -1, "minus": -1, "moins": -1, "menos": -1, "positive": 1, "plus": 1}
_OPERATING = frozenset(("minus", "plus", "moins", "menos"))  # a sign at the beginning, and between two things an operator
_SAYING = frozenset("is was be are equals equal to of at get gets gives give giving answer obtain have has result exactly about just ist".split())
_NOT_OF_ITS_OWN = frozenset("base mod modulo times over under above below than twice thrice double triple half choose not except exceeds exceeding".split())
_OF = frozenset("half double square cube root power percent multiple multiples factorial logarithm reciprocal inverse opposite".split()) | {"quarters"}
_OF |= frozenset(_SHARES) | frozenset(_MANY_SHARES)
_RAISING = frozenset("squared cubed factorial mod modulo".split())
_SPOKEN_OPERATORS = frozenset("plus minus times over".split())
_COUNTING = frozenset("one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty hundred thousand million".split())
_RANGING = frozenset("by to in of through thru till until vs versus remainder rem r R".split())
_BOUNDING = frozenset("more less fewer greater higher lower above below over under later earlier older younger larger smaller longer shorter".split())
_NOT_AN_ASIDE = frozenset("base per out of or and to mod modulo plus minus times over".split())
_REASONS = frozenset("since because as where when for if given with assuming provided".split())
_UNSPACED_SCALES = dict.fromkeys("万萬만", 4) | dict.fromkeys("亿億억", 8)
_UNSPACED_PARTS = ("千", "百", "兆", "천", "백", "조", "十", "拾", "십", "分之", "分の", "割", "成", "打")
_UNSPACED_UNITS = ("千克", "千米", "千瓦", "千卡", "百合")
_UNSPACED_JOINTS = frozenset("点 點 時 时 年 月 日 分 小时 시 분 년 월 分之 分の 又 比 到 至 或 或者 和 与 及 と か または 加 减 減 乘 乘以 除以 또는".split())
_UNSPACED_MINUS = ("负", "負", "マイナス", "마이너스", "零下")
_MONTHS = frozenset("January February March April May June July August September October November December".split())
_MONTHS |= frozenset("Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec".split())
_LARGER_UNITS = frozenset("h hr hrs hour hours day days week weeks year years month months min minute minutes".split())
_LARGER_UNITS |= frozenset("ft foot feet yard yards lb lbs pound pounds dollar dollars".split())
_ABBREVIATED = frozenset(("ft", "lb", "lbs", "hr", "hrs", "yd"))
_LENGTHS = frozenset("m cm mm km dm nm um µm μm ft in yd mi s".split())
_OPERATORS = frozenset("-−+±÷×/:")
_SIGNS = frozenset("-−+")
_WORKED = frozenset("-−+×xX/")
_GROUPED = re.compile(r"[1-9]\d{0,2}(?:([,' _])\d{3})(?:\1\d{3})*(?:\.\d+)?|[1-9]\d?(?:,\d\d)+,\d{3}(?:\.\d+)?|[1-9]\d{0,2}(?:[' _]\d{3})+,\d+")
_DOTTED = re.compile(r"[1-9]\d{0,2}(?:\.\d{3})+,\d+|[1-9]\d{0,2}(?:\.\d{3}){2,}|\d+,\d+")

_IN_FOURS = re.compile(r"[1-9]\d{0,3},\d{4}")  # grouped as in China, or decimals


def _read_digits(text: str) -> Fraction | None:
    """What the digits of one token say; None where they are not one number."""
    if len(text) > 2 * MOST_DIGITS:
        return None
    mantissa, _, exponent = text.replace("−", "-").replace("E", "e").partition("e")
    if _GROUPED.fullmatch(mantissa):
        comma_decimal = "," in mantissa and any(each in mantissa for each in "' _")
        mantissa = re.sub("[' _]", "", mantissa) if comma_decimal else re.sub("[,' _]", "", mantissa)
        mantissa = mantissa.replace(",", ".")
    elif _IN_FOURS.fullmatch(mantissa):
        return None
    elif _DOTTED.fullmatch(mantissa):
        mantissa = mantissa.replace(".", "").replace(",", ".")
    if not re.fullmatch(r"\d+(?:\.\d+)?|\.\d+", mantissa) or len(mantissa) > MOST_DIGITS:
        return None
    if exponent and (len(exponent) > 5 or abs(int(exponent)) > LARGEST_EXPONENT):
        return None
    return Fraction(mantissa) * Fraction(10) ** int(exponent or 0)


def _parted(tokens: list[_Token]) -> list[list[_Token]]:
    """The sides of an equation."""
    parts: list[list[_Token]] = [[]]
    for token in tokens:
        if token.text == "=":
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _worked_out(tokens: list[_Token]) -> Fraction | None:
    """The worth of numbers joined by plus, minus, times and slash; None where anything else is there."""
    terms: list[Fraction] = []
    operator = "+"
    for place, token in enumerate(tokens):
        if place % 2:
            operator = token.text
            continue
        number = _read_digits(token.text) if token.kind == "number" else None
        if number is None or operator not in _WORKED or (operator == "/" and not number):
            return None
        if operator in "+-−":
            terms.append(number if operator == "+" else -number)
        else:
            terms[-1] = terms[-1] / number if operator == "/" else terms[-1] * number
    return sum(terms, Fraction()) if len(tokens) % 2 else None


def _unspaced(letter: str) -> bool:
    """Whether a letter is of a script whose words touch numbers: neither Latin, nor Greek, nor Cyrillic."""
    return not letter.isascii() and not unicodedata.name(letter, "").startswith(("LATIN", "GREEK", "CYRILLIC", "MICRO", "OHM", "KELVIN", "MODIFIER"))


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    space, line, currency = False, True, False
    for found in _TOKEN.finditer(text):
        kind, content = found.lastgroup, found[0]
        if kind == "space":
            if not currency:  # the space behind a mark of currency parts nothing
                space, line = True, line or "\n" in content
        elif content in _CURRENCY:
            if tokens and not (space or line or currency) and (tokens[-1].kind != "mark" or tokens[-1].text in ")]%°!"):
                tokens[-1].currency, space = True, True
            else:
                currency = True
        else:
            tokens.append(_Token(kind, content, space, line, currency))
            space = line = currency = False
    return tokens


class _Reader:
    """The tokens of a text, and what at each place is a number or resembles one."""

    def __init__(self, text: str, *, strict: bool):
        self.tokens = _tokens(_plain_text(text))
        self.strict = strict
        self.items: list[_Item] = []
        place = 0
        while place < len(self.tokens):
            place = self._item(place)
        self._drop_workings()
        self._drop_asides()

    def _drop_workings(self) -> None:
        """Leave out how a number is found that stands behind it in brackets, `11 (5 + 6)` and `11 (5 + 6 = 11)`; where another is found, there is no number."""
        closing = self.items[-1].end if self.items else 0
        opening = max((place for place in range(closing) if self.tokens[place].text == "("), default=None)
        if opening is None or self.at(closing) is None or self.tokens[closing].text != ")":
            return
        before = next((item for item in reversed(self.items) if item.end <= opening), None)
        parts = _parted(self.tokens[opening + 1 : closing])
        between = self.tokens[before.end : opening] if before is not None else []
        if before is None or len(between) > 3 or any(token.kind != "word" or token.line for token in between) or max(map(len, parts)) < 3:
            return
        values = [_worked_out(part) for part in parts]
        if before.value is None or None in values or not self.tokens[opening].space:
            return
        while self.items[-1] is not before:
            self.items.pop()
        if any(value != before.value for value in values):
            before.value = None

    def _drop_asides(self) -> None:
        """Leave out what stands behind a number in brackets and only speaks of it, `5 (since x > 0)`, and the marks of notes, `8 [1]`."""
        while len(self.items) > 1:
            item, before = self.items[-1], self.items[-2]
            opening = item.start - 1
            noted = item.value is not None and item.end == item.start + 1 and len(item.text) < 4 and self._in_brackets(item.start, item.end)
            if noted and self.tokens[opening].text == "[" and not self.tokens[opening].line:
                between = self.tokens[before.end : opening]
                if all(token.text in ".!" or (place < 1 and token.kind == "word") for place, token in enumerate(between)):
                    self.items.pop()
                    continue
            begun = next((place for place in range(before.end, min(before.end + 4, item.start)) if self.tokens[place].text == "("), None)
            if begun is None or not self.tokens[begun].space or any(token.kind != "word" or token.line for token in self.tokens[before.end : begun]):
                first = before.end + (self.at(before.end) is not None and self.tokens[before.end].text == ",")
                word = self.tokens[first]
                if item.value is None and word.text in _REASONS and not word.line and self.tokens[item.start - 1].text in "<>":
                    self.items.pop()
                    continue
                return
            word = self.tokens[begun + 1]
            if word.kind != "word" or len(word.text) < 2 or word.text.lower() in _NOT_AN_ASIDE:
                return
            self.items.pop()

    def at(self, place: int) -> _Token | None:
        return self.tokens[place] if 0 <= place < len(self.tokens) else None

    def is_number(self, place: int, *, signed: bool = False) -> bool:
        """Whether a number stands there, on the line of what precedes it."""
        token = self.at(place)
        if token is None or token.line:
            return False
        return token.kind == "number" or (signed and token.text in _SIGNS and self.is_number(place + 1) and not self.at(place + 1).space)

    def said(self, start: int, end: int) -> str:
        return "".join(" " * token.space + token.text.replace(_EXPRESSION, "…") for token in self.tokens[start:end]).strip()

    def _item(self, place: int) -> int:
        """Take in what begins at a token; the token behind it."""
        token = self.tokens[place]
        if token.text == _EXPRESSION:
            self.items.append(_Item(place, place + 1, None, self.said(place, place + 6)))
            return place + 1
        if token.kind != "number":
            return place + 1
        before = self.at(place - 1)
        if before is not None and not token.line and self._belongs_to_a_name(place):
            return place + 1
        value, end = self._sum(place)
        sign = self._sign(place)
        if value is not None:
            factorial = self._follows(end, "!") and (self.strict or self.tokens[end].currency or before is None or before.kind != "word")
            listed = "," in token.text and _GROUPED.fullmatch(token.text) is None and self._in_brackets(place, end)
            value = None if sign is None or factorial or listed or self._is_bounded(end) else sign * value
        start = place - (before is not None and (before.text in _SIGNS or before.text.lower() in _SIGN_WORDS))
        self.items.append(_Item(start, end, value, self.said(start, end)))
        return end

    def _is_bounded(self, end: int) -> bool:
        """Whether what stands behind a number makes it something else: `5 < x`, `(5)^2`, `(5)x`, `5 or more`, `5th of May`."""
        behind = self.at(end)
        if behind is None or behind.line:
            return False
        following = self.at(end + 1)
        if behind.text in ("<", ">"):
            return following is not None and not following.line and (following.kind != "mark" or following.text == _EXPRESSION)
        if behind.text == ")":
            attached = following is not None and not (following.space or following.line)
            return attached and (following.text in ("^", "!", "(") or following.kind == "number" or self._is_unknown(end + 1))
        if behind.text == "(" and " ".join(self._words(end + 1, 2)).strip().removeprefix("in ").removesuffix("s") in _SCALES:  # 5 (in thousands)
            return True
        words = self._words(end, 4)
        return any((first in ("or", "and") and second in _BOUNDING) or (first == "of" and second.capitalize() in _MONTHS) for first, second in pairwise(words))

    def _words(self, place: int, count: int) -> list[str]:
        """The words of a line from a place on, in lower case; empty where none stands."""
        tokens = [self.at(each) for each in range(place, place + count)]
        return [token.text.lower() if token is not None and token.kind == "word" and not token.line else "" for token in tokens]

    def _in_brackets(self, start: int, end: int) -> bool:
        before, behind = self.at(start - 1), self.at(end)
        return before is not None and behind is not None and before.text in ("(", "[") and behind.text in (")", "]")

    def _follows(self, place: int, text: str) -> bool:
        token = self.at(place)
        return token is not None and token.text == text and not token.space

    def _belongs_to_a_name(self, place: int) -> bool:
        """Whether a number is part of a name (`H2O`), or an exponent or index of one (`cm^2`, `x_1`)."""
        token, before, second = self.tokens[place], self.tokens[place - 1], self.at(place - 2)
        if before.kind == "word" and not token.space:
            return not _unspaced(before.text[-1])
        if before.text in _SIGNS and second is not None and second.text == "^":
            return True
        if before.text == "^":
            return True
        return before.text == "_" and not (token.space or before.space) and second is not None and (second.kind == "word" or second.text in ")]")

    def last(self) -> Fraction:
        """The last number; of `1/3 ≈ 0.33`, the exact one.

        Raises:
            NotOneNumber: what comes last only resembles a number, or is one of several between brackets.
        """
        item = self.items[-1]
        exact = self.items[-2] if len(self.items) > 1 else item
        if exact.value is not None and item.start - exact.end == 1 and self.tokens[exact.end].text == "≈":
            item = exact
        other = exact.value != item.value and exact.end == item.start - 1 and self.tokens[exact.end].text == "("  # 5 (6), and not 0.5 (50%)
        if item.value is None or other or self._ends_a_tuple() or self._ends_a_list():
            raise _unreadable(item.text, "is not one number")
        return item.value

    def _ends_a_list(self) -> bool:
        """Whether another number stands before the last one with nothing but a comma or conjunction between them (`5 or 3`, `5, 3`, `x = 5, x = 3`)."""
        if len(self.items) < 2:
            return False
        before, item = self.items[-2:]
        between = self.tokens[before.end : item.start]
        if not 0 < len(between) <= 8 or any(token.line for token in between) or self.tokens[item.start].line or before.value == item.value:
            return False
        said = [token.text for token in between]
        while said and said[0] not in (",", ";", "or", "and", "&") and "or" in said and between[len(between) - len(said)].kind == "word":
            said = said[1:]  # 5 apples or 3 apples
        joint = len(said)
        while said and said[0] in (",", ";", "or", "and", "&"):
            said = said[1:]
        if joint == len(said):
            return False
        if said:
            return len(said) <= 4 and said[-1] in ("=", "≈", ":")
        spoken = any(token.text in ("or", "and", "&") for token in between)
        behind = self.at(item.end)
        return spoken or behind is None or behind.line or behind.kind != "word"

    def _ends_a_tuple(self) -> bool:
        closing = self.at(self.items[-1].end)
        if closing is None or closing.text not in (")", "]"):
            return False
        place = len(self.items) - 1
        while place and self.items[place].start - self.items[place - 1].end == 1 and self.tokens[self.items[place - 1].end].text in (",", ";"):
            place -= 1
        opening = self.at(self.items[place].start - 1)
        return place < len(self.items) - 1 and opening is not None and opening.text in ("(", "[")

    # What stands before a number ------------------------------------------------------------------------------------------------------------------------------

    def _sign(self, place: int) -> int | None:
        """1 or -1; None where what stands before the number makes it part of something else."""
        token, before = self.tokens[place], self.at(place - 1)
        if before is None or token.line:
            return 1
        sign = 1
        if before.text in _SIGNS:
            second = self.at(place - 2)
            if not self._is_sign(token, before, second):
                return None
            sign = 1 if before.text == "+" else -1
            token, before, place = before, second, place - 1
            if before is None or token.line:
                return sign
        elif before.kind == "word" and before.text.lower() in _SIGN_WORDS:
            name, second = before.text.lower(), self.at(place - 2)
            sign = _SIGN_WORDS[name]
            if second is None or before.line:
                return sign
            if name in _OPERATING and (second.text in ")]%°" if second.kind == "mark" else second.text.lower() not in _SAYING):
                return None
            token, before, place = before, second, place - 1
        elif before.kind == "word" and not token.space and before.text.endswith(_UNSPACED_MINUS):
            return -1
        return None if self._spoils(token, before, place) else sign

    @staticmethod
    def _is_sign(token: _Token, mark: _Token, second: _Token | None) -> bool:
        """Whether a plus or minus belongs to the number behind it, and is neither an operator, a hyphen, a dash nor the mark of a list's item."""
        if second is None:
            return True
        if not mark.space and second.kind == "word" and _unspaced(second.text[-1]):
            return True
        if not mark.space and not mark.line and (second.kind != "mark" or second.text in _OPERATORS or second.text in f")]%°!|^{_EXPRESSION}"):
            return False
        if not token.space:
            return True
        if mark.line:
            return mark.text == "−"
        return mark.text == "−" or (second.kind == "mark" and second.text not in ")]%°!.,;?\"'")

    def _spoils(self, token: _Token, before: _Token, place: int) -> bool:
        """Whether the token before a number (and its sign) makes it no number of its own."""
        second = self.at(place - 2)
        attached = not token.space
        if before.text in ("<", ">", "±", "÷", "×", "/", "^", _EXPRESSION) or before.text in _SIGNS:
            return True
        if before.text in ("%", "‰"):
            return attached or (second is not None and second.kind == "number")
        if before.text == "°":
            return True
        if before.text == ".":
            if attached and not before.space and second is not None and second.kind == "number":
                return True
        if before.text == "(" and second is not None and not before.line:
            repeats = second.text == "." and attached and not (before.space or second.space) and self.at(place - 3) is not None  # 0.(3)
            if (second.text in _OPERATORS and second.text != ":") or second.text == "^" or repeats:
                return True
            return attached and not before.space and (second.kind != "mark" or second.text in ")]")
        if before.text == "'":  # 5'3
            return attached and second is not None and second.kind == "number" and not before.space
        if before.text in (")", "]", "|") and attached:
            return before.text != "|" or (place < len(self.tokens) and self.tokens[place].text in _SIGNS)
        if before.kind == "word" and before.text == "the" and second is not None and second.kind == "word":  # out of the 10
            before, second, place = second, self.at(place - 3), place - 1
        if before.kind == "word":
            name, word = before.text.lower(), second.text.lower() if second is not None else ""
            if name in _NOT_OF_ITS_OWN or (name in ("least", "most") and word == "at") or (name == "by" and word in ("divided", "multiplied")):
                return True
            if name == "of" and (word in _OF or word in ("%", "percent") or (second is not None and self._ends_a_fraction(place - 2))):
                return True
            if before.text in _UNSPACED_JOINTS and attached and second is not None and second.kind == "number" and not before.space:
                return True
            if before.text in _FUNCTIONS or before.text in _MONTHS or (second is not None and self._ends_a_range(place - 1)):
                return True
            return self._ends_a_larger_unit(place - 1)
        if before.text == "." and second is not None and second.text in _ABBREVIATED:
            return self._ends_a_larger_unit(place - 2)
        if before.text == "," and second is not None:
            return self._ends_a_date(place - 2)
        return before.kind == "number"

    def _ends_a_larger_unit(self, place: int) -> bool:
        """Whether a word is the unit of a number and what follows counts smaller ones (`2 hours 30 minutes`, `1 and 1/2`)."""
        if self.tokens[place].text == "and" and place:
            place -= 1
        token, before = self.tokens[place], self.at(place - 1)
        if token.kind == "number":
            return self._fraction_follows(place + 2)
        name = token.text.lower()
        return (name in _LARGER_UNITS or name.removesuffix("s") in _SCALES) and before is not None and before.kind == "number" and not token.line

    def _ends_a_fraction(self, place: int) -> bool:
        slash = self.at(place - 1)
        return self.tokens[place].kind == "number" and slash is not None and slash.text in "/⁄"

    def _ends_a_range(self, place: int) -> bool:
        """Whether a word joins two numbers (`3 to 5`, `7 out of 10`, `between 3 and 5`)."""
        word, before, second = self.tokens[place].text, self.tokens[place - 1], self.at(place - 2)
        if word == "to" and before.text.lower() == "up":
            return True
        if word == "of" and before.text == "out":
            return True
        between = second is not None and second.text.lower() == "between"
        return before.kind == "number" and (word in _RANGING or (word == "and" and between))

    def _fraction_follows(self, place: int) -> bool:
        slash = self.at(place + 1)
        return slash is not None and slash.text in "/⁄" and self.is_number(place + 2)

    def _ends_a_date(self, place: int) -> bool:
        """Whether a day behind the name of a month ends here (`March 5`, `March 5th`)."""
        if self.tokens[place].text in ("st", "nd", "rd", "th"):
            place -= 1
        month = self.at(place - 1)
        return self.tokens[place].kind == "number" and month is not None and month.text in _MONTHS

    # A number and what stands behind it -----------------------------------------------------------------------------------------------------------------------

    def _sum(self, place: int) -> tuple[Fraction | None, int]:
        """The number that begins at a token, and the token behind it. What operators join is taken in whole and is None."""
        value, end = self._product(place)
        while (operator := self.at(end)) is not None and not operator.line and self._joins(end):
            following = end + 1 + (not self.is_number(end + 1))
            _, end = self._product(following)
            value = None
        if operator is not None and not operator.line and operator.text == _EXPRESSION:
            value = None
        if self._follows(end, "(") and (self.is_number(end + 1, signed=True) or self._is_unknown(end + 1)):
            value = None
        if operator is not None and not operator.line and self._meets_an_unknown(end):
            value = None
        return value, end

    def _is_unknown(self, place: int) -> bool:
        """Whether a word is the name of an unknown, of a function or of π, and neither a unit nor a word of a sentence."""
        token, behind = self.at(place), self.at(place + 1)
        if token is None or token.kind != "word" or token.line:
            return False
        if token.text.lower() == "pi" or token.text in _GREEK or token.text in _FUNCTIONS:
            return True
        article = token.text in ("a", "A", "I") and behind is not None and behind.kind == "word"
        return len(token.text) == 1 and token.text.isascii() and not article

    def _meets_an_unknown(self, place: int) -> bool:
        """Whether an operator joins the number before it with what is no number (`3 * x`, `3 + (x)`, `3 plus x`)."""
        operator, behind = self.tokens[place], self.at(place + 1)
        if behind is None or behind.line:
            return operator.text == "+" and not operator.space
        if operator.text == "+" and not operator.space and behind.space and behind.kind == "word":  # 2+ million
            return True
        if operator.text.lower() in _SPOKEN_OPERATORS:
            return self._is_unknown(place + 1) or behind.text.lower() in _COUNTING
        if operator.text == "/" and behind.text in _SHORT_UNITS:
            return False  # 5 m/s
        if operator.text not in "-−+±÷×/^":
            return False
        if self._is_unknown(place + 1) or behind.text == _EXPRESSION:
            return True
        return behind.text == "(" and operator.space == behind.space and (self.is_number(place + 2, signed=True) or self._is_unknown(place + 2))

    def _joins(self, place: int) -> bool:
        """Whether an operator joins the number before it with the one behind it."""
        operator = self.tokens[place]
        if operator.text not in _OPERATORS and operator.text not in "xX⁄^_'":
            return False
        if not self.is_number(place + 1, signed=True):
            return False
        if operator.text in "^_" and self.tokens[place - 1].kind == "word":
            return False  # 5m^2
        if operator.text == ":":
            return operator.space == self.tokens[place + 1].space
        return operator.text not in "'_" or not (operator.space or self.tokens[place + 1].space)

    def _product(self, place: int) -> tuple[Fraction | None, int]:
        """A number with the power of ten that multiplies it, and what share or scale and which unit it is of."""
        value, end = self._quotient(place)
        times = self.at(end)
        if times is not None and not times.line and times.text in ("×", "x", "X", "times") and self.is_number(end + 1) and self.tokens[end + 1].text == "10":
            if self._follows(end + 2, "^"):
                power, end = self._power(end + 1)
                value = None if value is None or power is None else value * power
        while (word := self.at(end)) is not None and not word.line:
            name = word.text.lower()
            if word.text in ("%", "‰"):
                share, taken = 1000 if word.text == "‰" else 100, 1
            elif name == "per" and (second := self.at(end + 1)) is not None and second.text.lower() in ("cent", "mille", "mil"):
                share, taken = 100 if second.text.lower() == "cent" else 1000, 2
            elif name in _PERCENT:
                share, taken = _PERCENT[name], 1
            elif (scale := _SCALES.get(name, _SCALES.get(name.removesuffix("s")))) is not None:
                share, taken = Fraction(10) ** -scale, 1
            elif name in ("dozen", "dozens"):
                share, taken = Fraction(1, 12), 1
            elif name in _MANY_SHARES or (name in _SHARES and self.tokens[place].text == "1" and end == place + 1):
                share, taken = _MANY_SHARES.get(name) or _SHARES[name], 1
            elif name == "quarters" or name in _RAISING:
                value, share, taken = None, 1, 1
            else:
                break
            value, end = None if value is None else value / share, end + taken
        return self._unit(value, place, end)

    def _unit(self, value: Fraction | None, place: int, end: int) -> tuple[Fraction | None, int]:
        unit = self.at(end)
        if unit is None or unit.line:
            return value, end
        if unit.text == "°":
            return value, end + 1
        if unit.kind != "word":
            return value, end
        if self._share_follows(end + 1):  # 2 hours and a half
            return None, end + 1
        if _unspaced(unit.text[0]):
            return self._unspaced_unit(value, end)
        if unit.text in "xX" and self.is_number(end + 1):
            return value, end
        if unit.space:
            money = self.tokens[place].currency
            if money and unit.text in "KMBT":
                return (None if value is None else value * Fraction(10) ** _ATTACHED_SCALES[unit.text]), end + 1
            unknown = unit.text in _UNKNOWNS or unit.text in ("E", "mil", "M", "B", "T") or unit.text in _MONTHS
            unknown |= (unit.text.lower() == "pi" or len(unit.text) > 2 or unit.text in _GREEK) and self._is_unknown(end)
            if self.strict or (money and unit.currency):  # among formulas a space means nothing
                unknown |= len(unit.text) < 3 and unit.text.isascii() and unit.text not in _SHORT_UNITS and unit.text not in _SHORT_WORDS
            return (None if unknown else value), end + unknown
        if unit.text in _UNKNOWNS or unit.text in _FUNCTIONS:
            return None, end + 1
        money = self.tokens[place].currency
        if unit.text in _ATTACHED_SCALES and (money or unit.text == "k"):
            return (None if value is None else value * Fraction(10) ** _ATTACHED_SCALES[unit.text]), end + 1
        if unit.text in _ATTACHED_SCALES and unit.text != "m":  # kelvins or thousands, molar or millions
            return None, end + 1
        if self.tokens[place].text == "0" and unit.text[0] in "xXbBoO":  # 0xff
            return None, end + 1
        if self.is_number(end + 1) and not self.tokens[end + 1].space:  # cm2
            power = self.tokens[end + 1]
            behind = self.at(end + 2)
            named = unit.text in _LENGTHS and power.text in ("2", "3") and (behind is None or behind.space or behind.line or behind.kind == "mark")
            return (value if named else None), end + 2
        short = len(unit.text) < 4 and unit.text.isascii() and unit.text not in _SHORT_UNITS
        return (None if short else value), end + 1

    def _unspaced_unit(self, value: Fraction | None, place: int) -> tuple[Fraction | None, int]:
        """What a word of a script without spaces between its words makes of the number before it."""
        word = self.tokens[place].text
        if word[0] in _UNSPACED_SCALES:
            value = None if value is None or self.is_number(place + 1) else value * 10 ** _UNSPACED_SCALES[word[0]]
        elif word.startswith(_UNSPACED_PARTS) and not word.startswith(_UNSPACED_UNITS):
            value = None
        elif "个半" in word or "個半" in word or word.endswith(("半", "반")):
            value = None
        return value, place + 1

    def _share_follows(self, place: int) -> bool:
        """Whether `and a half` or the like begins here."""
        words = self._words(place, 3)
        return words[0] == "and" and words[1] in _NUMERALS and words[2].removesuffix("s") in _SHARES

    def _quotient(self, place: int) -> tuple[Fraction | None, int]:
        """A whole, broken or mixed number."""
        value, end = self._power(place)
        plain = end == place + 1
        if plain and self._share_follows(end):
            share = Fraction(_NUMERALS[self.tokens[end + 1].text.lower()], _SHARES[self.tokens[end + 2].text.lower().removesuffix("s")])
            return (value + share if value is not None and share < 1 else None), end + 3
        joint = self.at(end)
        if plain and joint is not None and joint.text == "and" and not joint.line and self.is_number(end + 1) and self._fraction_follows(end + 1):
            share, stop = self._fraction(end + 1)
            return (value + share if value is not None and share is not None and value.denominator == 1 and 0 < share < 1 else None), stop
        if plain and self.is_number(end) and self._fraction_follows(end):
            if self.tokens[end + 1].text == "⁄" or not (self.tokens[end + 1].space or self.tokens[end + 2].space):
                share, stop = self._fraction(end)
                proper = value is not None and share is not None and value.denominator == 1 and 0 < share < 1 and self.tokens[place].text.isdecimal()
                return (value + share if proper else None), stop
        if self._fraction_follows(place) if plain else self._follows_slash(end):
            divisor, stop = self._power(end + 1)
            if " " in self.tokens[place].text or value is None or not divisor:
                return None, stop
            return value / divisor, stop
        signed = self.at(end)
        if plain and signed is not None and signed.text == "⁄" and self.is_number(end + 1, signed=True):
            divisor, stop = self._power(end + 2)
            return (-value / divisor if value is not None and divisor and self.tokens[end + 1].text != "+" else None), stop
        return value, end

    def _follows_slash(self, place: int) -> bool:
        slash = self.at(place)
        return slash is not None and not slash.line and slash.text == "/" and self.is_number(place + 1)

    def _fraction(self, place: int) -> tuple[Fraction | None, int]:
        above, below = _read_digits(self.tokens[place].text), _read_digits(self.tokens[place + 2].text)
        return (above / below if above is not None and below else None), place + 3

    def _power(self, place: int) -> tuple[Fraction | None, int]:
        """The digits of one token, raised to a whole power where one stands behind them."""
        value, end = _read_digits(self.tokens[place].text), place + 1
        if not (self._follows(end, "^") or (self.at(end) is not None and self.at(end).text == "^" and not self.at(end).line)):
            return value, end
        sign, end = 1, end + 1
        if (mark := self.at(end)) is not None and mark.text in _SIGNS:
            sign, end = (1 if mark.text == "+" else -1), end + 1
        exponent = self.at(end)
        if exponent is None or exponent.line or not exponent.text.isdecimal() or len(exponent.text) > 4 or value is None:
            return None, end + (exponent is not None)
        power = sign * int(exponent.text)
        digits = max(len(str(value.numerator)), len(str(value.denominator)))
        if value in (0, 1):
            return (value if power >= 0 or value else None), end + 1
        ten = value == 10 and abs(power) <= LARGEST_EXPONENT
        return (value**power if ten or digits * abs(power) <= MOST_DIGITS else None), end + 1


def _single(text: str) -> Fraction | None:
    """The one number of a text that is all there is to read; None where there is none.

    Raises:
        NotOneNumber: there are more, or what is there only looks like one.
    """
    if not _MAY_HOLD.search(text[::-1]):
        return None
    if len(text) > LONGEST_NUMBER:
        raise _unreadable(text, "is too long for a number")
    reader = _Reader(text, strict=True)
    items, tokens = reader.items, reader.tokens
    if not items:
        return None
    same = items[0].value is not None and all(item.value == items[0].value for item in items)
    depth, relations = 0, []
    for place, token in enumerate(tokens):
        depth += (token.text in ("(", "[")) - (token.text in (")", "]"))
        apart = token.text in (",", ";", "or", "and") and depth == 0 and not (token.text == "or" and same)
        if apart and items[0].start < place < items[-1].start:
            raise _unreadable(text, "is more than one number")
        if token.text in ("=", "→"):
            relations.append(place)
    for relation in reversed(relations):
        if behind := [item for item in items if item.start > relation]:
            items = behind
            break
    about = next((place for place, token in enumerate(tokens) if token.text == "≈" and place > items[0].start), None)
    if about is not None and items[0].start < about:  # what is about a root is a number still
        items = [item for item in items if item.start < about and item.value is not None] or [item for item in items if item.start > about]
    said_again = same and all(any(token.text in ("or", "(") for token in tokens[first.end : second.start]) for first, second in pairwise(items))
    if (len(items) > 1 and not said_again) or items[0].value is None:
        raise _unreadable(text, "is not one number")
    return items[0].value
