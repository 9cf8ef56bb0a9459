"""The grammar of numbers: rows by hand, and numbers written in many ways that read back as themselves."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operant.worlds.text.numbers import NotOneNumber, last_number, read_number

ONE_NUMBER = [  # text, value; read alike as a reference and as a completion
    ("5m\u00b2", "5"),
    ("5m^2", "5"),
    ("'5'", "5"),
    ("boxed{42}", "42"),
    ("2.5\u00a0\u00d7\u00a010\u00b3", "2500"),
    ("x_{1} = 5", "5"),
    ("[5]", "5"),
    ("42", "42"),
    ("-42", "-42"),
    ("+42", "42"),
    ("3.14", "157/50"),
    (".5", "1/2"),
    ("-.5", "-1/2"),
    ("3.", "3"),
    ("The answer is 3.", "3"),
    ("007", "7"),
    ("1,234", "1234"),
    ("1,234,567.89", "123456789/100"),
    ("12,34,567", "1234567"),
    ("1.234.567", "1234567"),
    ("1.234,56", "30864/25"),
    ("3,14", "157/50"),
    ("0,333", "333/1000"),
    ("1234,567", "1234567/1000"),
    ("10 000", "10000"),
    ("10\u202f000", "10000"),
    ("10\u2009000", "10000"),
    ("10\xa0000", "10000"),
    ("1 234 567,8", "6172839/5"),
    ("1'234'567", "1234567"),
    ("1\u2019234", "1234"),
    ("1_000_000", "1000000"),
    ("10\\,000", "10000"),
    ("9{,}500", "9500"),
    ("\\$9{,}500", "9500"),
    ("10,\\!000", "10000"),
    ("10~000", "10000"),
    ("10\\;000", "10000"),
    ("$9,500", "9500"),
    ("US$5", "5"),
    ("\\$18.90", "189/10"),
    ("\u20ac5", "5"),
    ("5\u20ac", "5"),
    ("5 \u20ac", "5"),
    ("$ 5", "5"),
    ("-$5", "-5"),
    ("$-5", "-5"),
    ("EUR 5", "5"),
    ("USD5", "5"),
    ("Rs. 500", "500"),
    ("Rs.500", "500"),
    ("\u20b91,00,000", "100000"),
    ("\u22125", "-5"),
    ("\u20135", "-5"),
    ("\u20145", "-5"),
    ("\uff0d5", "-5"),
    ("- 5", "-5"),
    ("x = - 5", "-5"),
    ("\u2212 5", "-5"),
    ("\uff14\uff12", "42"),
    ("\uff11\uff0c\uff12\uff13\uff14", "1234"),
    ("\u0664\u0662", "42"),
    ("\u0663\u066b\u0665", "7/2"),
    ("50%", "1/2"),
    ("50 %", "1/2"),
    ("50\\%", "1/2"),
    ("50 percent", "1/2"),
    ("50 per cent", "1/2"),
    ("50\uff05", "1/2"),
    ("5\u2030", "1/200"),
    ("12.5%", "1/8"),
    ("6 \xd7 10^6", "6000000"),
    ("6 \\times 10^{6}", "6000000"),
    ("6e6", "6000000"),
    ("6E+6", "6000000"),
    ("6.02e-3", "301/50000"),
    ("10^6", "1000000"),
    ("10\u2076", "1000000"),
    ("6\xd710\u2076", "6000000"),
    ("6\xb710\u207b\xb3", "3/500"),
    ("6x10^6", "6000000"),
    ("6 x 10^6", "6000000"),
    ("6*10^6", "6000000"),
    ("6*10**6", "6000000"),
    ("10**6", "1000000"),
    ("10^{-3}", "1/1000"),
    ("10^(-3)", "1/1000"),
    ("6 \\cdot 10^6", "6000000"),
    ("-2.5 \xd7 10^-3", "-1/400"),
    ("2^10", "1024"),
    ("2^{10}", "1024"),
    ("5\xb2", "25"),
    ("1/2", "1/2"),
    ("\\frac{1}{2}", "1/2"),
    ("\\dfrac{1}{2}", "1/2"),
    ("\\frac12", "1/2"),
    ("\\tfrac{-3}{4}", "-3/4"),
    ("-\\frac{3}{4}", "-3/4"),
    ("\xbd", "1/2"),
    ("1\xbd", "3/2"),
    ("1 \xbd", "3/2"),
    ("-\xbd", "-1/2"),
    ("1 1/2", "3/2"),
    ("1\\frac{1}{2}", "3/2"),
    ("1 \\frac{1}{2}", "3/2"),
    ("-1 1/2", "-3/2"),
    ("1\u20442", "1/2"),
    ("3 / 4", "3/4"),
    ("11/2", "11/2"),
    ("\\frac{1{,}000}{3}", "1000/3"),
    ("0.\\overline{3}", "1/3"),
    ("1.2\\overline{34}", "611/495"),
    ("12 cm^2", "12"),
    ("12 cm\xb2", "12"),
    ("12\\text{ cm}^2", "12"),
    ("12 \\mathrm{cm}^{2}", "12"),
    ("5 km/h", "5"),
    ("9.8 m/s^2", "49/5"),
    ("9.8\\,\\frac{m}{s^2}", "49/5"),
    ("12cm2", "12"),
    ("45\xb0", "45"),
    ("45^\\circ", "45"),
    ("45^{\\circ}", "45"),
    ("20 \xb0C", "20"),
    ("5km", "5"),
    ("3rd", "3"),
    ("3^{\\text{rd}}", "3"),
    ("5-year", "5"),
    ("12 apples", "12"),
    ("5 m s\u207b\xb9", "5"),
    ("3 kg\xb7m\xb2", "3"),
    ("x = 5", "5"),
    ("5 + 3 = 8", "8"),
    ("\\boxed{5}", "5"),
    ("\\boxed{x = 5}", "5"),
    ("$\\boxed{5}$", "5"),
    ("\\[ 5 \\]", "5"),
    ("\\(5\\)", "5"),
    ("$5$", "5"),
    ("$$5$$", "5"),
    ("**42**", "42"),
    ("*42*", "42"),
    ("_42_", "42"),
    ("`42`", "42"),
    ("(5)", "5"),
    ('"5"', "5"),
    ("<answer>5</answer>", "5"),
    ("=> 5", "5"),
    ("-> 5", "5"),
    ("\u2248 5", "5"),
    ("~5", "5"),
    ("about 5", "5"),
    ("#### 72", "72"),
    ("so 48/2 = <<48/2=24>>24 clips\n#### 72", "72"),
    ('{"answer": 5}', "5"),
    ("5 million", "5000000"),
    ("$2.5 billion", "2500000000"),
    ("$10k", "10000"),
    ("10k", "10000"),
    ("$5M", "5000000"),
    ("3 tenths", "3/10"),
    ("2 hundred thousand", "200000"),
    ("x \u2248 0.33", "33/100"),
    ("\\frac{1}{3} \\approx 0.33", "1/3"),
    ("0", "0"),
    ("-0", "0"),
    ("1e-5", "1/100000"),
    ("|5|", "5"),
    ("\\text{5}", "5"),
    ("\\textbf{5}", "5"),
    ("\\left(5\\right)", "5"),
]
NOT_ONE_NUMBER = [
    "3.5.1",
    "2024-01-05",
    "1/2/2024",
    "01.02.2024",
    "5:30",
    "3-5",
    "3\u20135",
    "10 - 20",
    "1,2,3",
    "1, 2",
    "3 and 5",
    "2 + 3",
    "2 \xd7 3",
    "6 x 4",
    "1920x1080",
    "5!",
    "3x",
    "2\u03c0",
    "2\\pi",
    "2\\sqrt{3}",
    "\\sqrt{16}",
    "\\frac{x}{2}",
    "\\frac{\\pi}{2}",
    "\u03c0",
    "5 \xb1 0.1",
    "5 \\pm 1",
    "> 5x",
    "x > 5",
    "x \\geq 5",
    "x < 5",
    "GPT-4",
    "x-5",
    "x - 5",
    "--5",
    "1..5",
    "0x1F",
    "101_2",
    "1010_{2}",
    "3+4i",
    "3i",
    "(1, 2)",
    "[3, 5]",
    "\\{1, 2\\}",
    "2(3)",
    "f(5)",
    "\\ln 5",
    "\\log_2 8",
    "5 % - 10 %",
    "1/0",
    "\\frac{1}{0}",
    "1e999",
    "10^999",
    "9" * 500,
    "2^9999",
    "March 5, 2024",
    "5 March 2024",
    "2 hours 30 minutes",
    "5 feet 3 inches",
    "1 and 1/2",
    "10K",
    "5D3",
    "1 3/2",
    "x = 5, y = 6",
    "x = 5 or x = 6",
    "x = 5 \\quad y = 6",
    "5'3\"",
    "1.2.3.4",
    "v1-2",
    "1 234 56.7.8",
    "2^{n}",
    "5 \\pmod{7}",
    "1/2/3",
    "|-5|",
    "12:30:15",
    "3:4",
    "3 : 4",
]
NO_NUMBER = [
    "",
    "yes",
    "no number",
    "x",
    "H2O",
    "x^2",
    "x_1",
    "cm^2",
    "x^{2}",
    "forty-two",
    "...",
    "-",
    "$",
    "%",
    "\\boxed{}",
    "\\boxed{x}",
]
COMPLETIONS = [  # text, the number that it gives
    ("so 6 times 7 is 42.", "42"),
    ("42 and then 41", "41"),
    ("we get 1,234", "1234"),
    ("9" * 64 + "42", "9" * 64 + "42"),
    ("25 %", "1/4"),
    ("So the area is 12 cm^2.", "12"),
    ("I used 3 eggs, so 5 are left", "5"),
    ("The solutions are 1, 2, 3", "3"),
    ("5 moles of H2O", "5"),
    ("The answer is 5!", "5"),
    ("Step 1: 5", "5"),
    ("a is 3.\nb is -4", "-4"),
    ("total: $1,234,567", "1234567"),
    ("12 - 7 = 5", "5"),
    ("\\boxed{5} is the answer to problem 7", "5"),
    ("first \\boxed{4}, no, \\boxed{5}", "5"),
    ("The answer is 10\u202f000.", "10000"),
    ("answer:5", "5"),
    ("answer=5", "5"),
    ("x=5", "5"),
    ("Put it in \\boxed{}: 7", "7"),
    ("It is 5. (see GPT)", "5"),
    ("| 5 |", "5"),
    ("* 5", "5"),
    ("1) 5", "5"),
    ("- a\n- b = 5", "5"),
    ("5.\n", "5"),
    ("No. 5", "5"),
    ("No.5", "5"),
    ("the 5th", "5"),
    ("5 per person", "5"),
    ("It costs US$5.", "5"),
    ("\u201342", "-42"),
    ("\\boxed 5", "5"),
    ("\\boxed5", "5"),
    ("\\fbox{5}", "5"),
    ("= 5 km/h", "5"),
    ("Therefore, the total is 3,000 dollars.", "3000"),
    ("the ratio is 3:4 so 7", "7"),
    ("5 (five)", "5"),
    ("5, as said", "5"),
]
UNREADABLE_COMPLETIONS = [
    "> 5",
    ">= 5",
    "between 3 and 5",
    "3 to 5",
    "7 out of 10",
    "1.5M users",
    "%50",
    "the set {1, 2}",
    "the pair (1,2)",
    "$5!$",
    "5 ft. 3 in.",
    "0xff",
    "It is 3.5.1",
    "on 2024-01-05",
    "at 5:30",
    "pages 3-5",
    "It is (3, 5)",
    "the answer - 5",
    "a list\n- 5",
    "\\boxed{3, 5}",
    "\\boxed{3 or 5}",
    "\\boxed{12",
    "It is 2\\pi",
    "x > 5",
    "2 + 3",
    "March 5, 2024",
    "the answer is 3x",
    "1,2,3",
    "on March 5",
    "\\boxed{x=1, y=2}",
    "I am GPT-4",
    "In total 5 = 2 + 3",
]


@pytest.mark.parametrize(("text", "value"), ONE_NUMBER)
def test_one_grammar_on_both_sides(text: str, value: str):
    assert read_number(text) == Fraction(value)
    assert last_number(text) == Fraction(value)


@pytest.mark.parametrize("text", NOT_ONE_NUMBER)
def test_what_is_not_one_number_is_no_other_number(text: str):
    with pytest.raises(NotOneNumber):
        read_number(text)


@pytest.mark.parametrize("text", NO_NUMBER)
def test_what_holds_no_number(text: str):
    assert last_number(text) is None
    with pytest.raises(NotOneNumber, match="no number"):
        read_number(text)


@pytest.mark.parametrize(("text", "value"), COMPLETIONS)
def test_the_number_that_a_completion_gives(text: str, value: str):
    assert last_number(text) == Fraction(value)


@pytest.mark.parametrize("text", UNREADABLE_COMPLETIONS)
def test_a_completion_whose_last_number_cannot_be_read(text: str):
    with pytest.raises(NotOneNumber):
        last_number(text)


def _grouped(value: int, mark: str) -> str:
    return f"{value:,}".replace(",", mark)


GROUPS = (",", " ", "\u202f", "\u2009", "\u00a0", "'", "\u2019", "_", "{,}", r"\,", r"\;", r",\!", "\uff0c")
SIGNS = ("-", "\u2212", "\u2013", "\uff0d", "\u2012")
AROUND = (
    "{}",
    "${}$",
    r"\({}\)",
    r"\boxed{{{}}}",
    r"$\boxed{{x = {}}}$",
    r"\text{{{}}}",
    "**{}**",
    "<answer>{}</answer>",
    "{} km",
    r"{}\text{{ cm}}^2",
    "x = {}",
    "{}.",
    "({})",
)


@settings(max_examples=300, deadline=None)
@given(value=st.integers(0, 10**15), negative=st.booleans(), group=st.sampled_from(GROUPS), sign=st.sampled_from(SIGNS), around=st.sampled_from(AROUND))
def test_whole_numbers_read_back(value: int, negative: bool, group: str, sign: str, around: str):
    text = around.format(sign * negative + _grouped(value, group))
    assert read_number(text) == last_number(text) == (-value if negative else value), text


@settings(max_examples=300, deadline=None)
@given(
    value=st.integers(0, 10**9),
    places=st.integers(1, 6),
    power=st.integers(-30, 30),
    form=st.sampled_from(("{} \u00d7 10^{}", "{}e{}", r"{} \times 10^{{{}}}", r"{} \cdot 10^{{{}}}", "{}E{}", "{} * 10**{}", "{}x10^{}", "{}\u00b710^({})")),
    around=st.sampled_from(AROUND),
)
def test_powers_of_ten_read_back(value: int, places: int, power: int, form: str, around: str):
    digits = f"{value:0{places + 1}d}"
    text = around.format(form.format(f"{digits[:-places]}.{digits[-places:]}", power))
    assert read_number(text) == last_number(text) == Fraction(value, 10**places) * Fraction(10) ** power, text


@settings(max_examples=300, deadline=None)
@given(
    whole=st.integers(1, 999),
    above=st.integers(1, 98),
    below=st.integers(99, 999),
    form=st.sampled_from((r"\frac{{{}}}{{{}}}", r"\dfrac{{{}}}{{{}}}", "{}/{}", "{}\u2044{}")),
    mixed=st.booleans(),
    around=st.sampled_from(AROUND),
)
def test_fractions_read_back(whole: int, above: int, below: int, form: str, mixed: bool, around: str):
    text = around.format(f"{whole} " * mixed + form.format(above, below))
    assert read_number(text) == last_number(text) == Fraction(above, below) + whole * mixed, text


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="0123456789.,-+/^_(){}[]=x% $\\\n\u2212\u00bd\u00d7:'*kem", max_size=40))
def test_any_text_is_a_number_or_none_or_refused(text: str):
    for read in (read_number, last_number):
        try:
            value = read(text)
        except NotOneNumber:
            continue
        assert value is None or (isinstance(value, Fraction) and any(map(str.isnumeric, text)))


def test_a_very_long_text_is_read_to_its_end():
    """Each of these took minutes where the time to read grows with the square of the length."""
    for text in (
        "1",
        "1,",
        "-",
        "1e",
        "1/",
        "1 ",
        "^( ",
        "\\frac{",
        "\\boxed{",
        "\\boxed{}",
        "<a",
        "=",
        "*",
        "(1, ",
        "$",
        "{ ",
        ".",
        "1..",
        "\u00bd",
        "5^",
        "\n",
        "\\",
    ):
        try:
            last_number(text * (100_000 // len(text)))
        except NotOneNumber:
            pass
