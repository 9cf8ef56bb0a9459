"""The grammar of numbers: rows by hand, and numbers written in many ways that read back as themselves."""

from __future__ import annotations

import re
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operant.worlds.text.builtin_verifiers import NumericAnswer
from operant.worlds.text.numbers import NotOneNumber, last_number, read_number
from operant.worlds.text.tasks import Problem

ONE_NUMBER = [  # text, value; read alike as a reference and as a completion
    ("5m²", "5"), ("5m^2", "5"), ("'5'", "5"), ("boxed{42}", "42"), ("2.5\xa0\xd7\xa010\xb3", "2500"), ("x_{1} = 5", "5"), ("[5]", "5"), ("42", "42"),
    ("-42", "-42"), ("+42", "42"), ("3.14", "157/50"), (".5", "1/2"), ("-.5", "-1/2"), ("3.", "3"), ("The answer is 3.", "3"), ("007", "7"),
    ("1,234", "1234"), ("1,234,567.89", "123456789/100"), ("12,34,567", "1234567"), ("1.234.567", "1234567"), ("1.234,56", "30864/25"), ("3,14", "157/50"),
    ("0,333", "333/1000"), ("1234,567", "1234567/1000"), ("10 000", "10000"), ("10\u202f000", "10000"), ("10\u2009000", "10000"), ("10\xa0000", "10000"),
    ("1 234 567,8", "6172839/5"), ("1'234'567", "1234567"), ("1’234", "1234"), ("1_000_000", "1000000"), (r"10\,000", "10000"), ("9{,}500", "9500"),
    (r"\$9{,}500", "9500"), (r"10,\!000", "10000"), (r"10\;000", "10000"), ("$9,500", "9500"), ("US$5", "5"), (r"\$18.90", "189/10"), ("€5", "5"),
    ("5€", "5"), ("5 €", "5"), ("$ 5", "5"), ("-$5", "-5"), ("$-5", "-5"), ("EUR 5", "5"), ("USD5", "5"), ("Rs. 500", "500"), ("Rs.500", "500"),
    ("₹1,00,000", "100000"), ("\u22125", "-5"), ("\u20135", "-5"), ("\u20145", "-5"), ("\uff0d5", "-5"), ("- 5", "-5"), ("x = - 5", "-5"), ("\u2212 5", "-5"),
    ("\uff14\uff12", "42"), ("\uff11\uff0c\uff12\uff13\uff14", "1234"), ("\u0664\u0662", "42"), ("\u0663\u066b\u0665", "7/2"), ("50%", "1/2"),
    ("50 %", "1/2"), (r"50\%", "1/2"), ("50 percent", "1/2"), ("50 per cent", "1/2"), ("50\uff05", "1/2"), ("5‰", "1/200"), ("12.5%", "1/8"),
    ("6 × 10^6", "6000000"), (r"6 \times 10^{6}", "6000000"), ("6e6", "6000000"), ("6E+6", "6000000"), ("6.02e-3", "301/50000"), ("10^6", "1000000"),
    ("10⁶", "1000000"), ("6×10⁶", "6000000"), ("6·10⁻³", "3/500"), ("6x10^6", "6000000"), ("6 x 10^6", "6000000"), ("6*10^6", "6000000"),
    ("6*10**6", "6000000"), ("10**6", "1000000"), ("10^{-3}", "1/1000"), ("10^(-3)", "1/1000"), (r"6 \cdot 10^6", "6000000"), ("-2.5 × 10^-3", "-1/400"),
    ("2^10", "1024"), ("2^{10}", "1024"), ("5²", "25"), ("1/2", "1/2"), (r"\frac{1}{2}", "1/2"), (r"\dfrac{1}{2}", "1/2"), (r"\frac12", "1/2"),
    (r"\tfrac{-3}{4}", "-3/4"), (r"-\frac{3}{4}", "-3/4"), ("½", "1/2"), ("1½", "3/2"), ("1 ½", "3/2"), ("-½", "-1/2"), ("1 1/2", "3/2"),
    (r"1\frac{1}{2}", "3/2"), (r"1 \frac{1}{2}", "3/2"), ("-1 1/2", "-3/2"), ("1⁄2", "1/2"), ("3 / 4", "3/4"), ("11/2", "11/2"),
    (r"\frac{1{,}000}{3}", "1000/3"), (r"0.\overline{3}", "1/3"), (r"1.2\overline{34}", "611/495"), ("12 cm^2", "12"), ("12 cm²", "12"),
    (r"12\text{ cm}^2", "12"), (r"12 \mathrm{cm}^{2}", "12"), ("5 km/h", "5"), ("9.8 m/s^2", "49/5"), (r"9.8\,\frac{m}{s^2}", "49/5"), ("12cm2", "12"),
    ("45°", "45"), (r"45^\circ", "45"), (r"45^{\circ}", "45"), ("20 °C", "20"), ("5km", "5"), ("3rd", "3"), (r"3^{\text{rd}}", "3"), ("5-year", "5"),
    ("12 apples", "12"), ("5 m s⁻¹", "5"), ("3 kg·m²", "3"), ("x = 5", "5"), ("5 + 3 = 8", "8"), (r"\boxed{5}", "5"), (r"\boxed{x = 5}", "5"),
    (r"$\boxed{5}$", "5"), (r"\[ 5 \]", "5"), (r"\(5\)", "5"), ("$5$", "5"), ("$$5$$", "5"), ("**42**", "42"), ("*42*", "42"), ("_42_", "42"), ("`42`", "42"),
    ("(5)", "5"), ('"5"', "5"), ("<answer>5</answer>", "5"), ("=> 5", "5"), ("-> 5", "5"), ("≈ 5", "5"), ("~5", "5"), ("about 5", "5"), ("#### 72", "72"),
    ("so 48/2 = <<48/2=24>>24 clips\n#### 72", "72"), ('{"answer": 5}', "5"), ("5 million", "5000000"), ("$2.5 billion", "2500000000"), ("$10k", "10000"),
    ("10k", "10000"), ("$5M", "5000000"), ("3 tenths", "3/10"), ("2 hundred thousand", "200000"), ("x ≈ 0.33", "33/100"),
    (r"\frac{1}{3} \approx 0.33", "1/3"), ("0", "0"), ("-0", "0"), ("1e-5", "1/100000"), ("|5|", "5"), (r"\text{5}", "5"), (r"\textbf{5}", "5"),
    (r"\left(5\right)", "5"), ("1 and 1/2", "3/2"), ("3 and 1/2", "7/2"), ("2 and a half", "5/2"), ("2 and three quarters", "11/4"), ("2 thirds", "2/3"),
    ("2 dozen", "24"), ("3 Mrd", "3000000000"), ("3 Mio.", "3000000"), ("negative 6", "-6"), ("minus 6", "-6"), ("x = minus 6", "-6"), ("答案是5", "5"),
    ("答案是5。", "5"), ("答案是-5", "-5"), ("共有5个", "5"), ("답은5입니다", "5"), ("负5", "-5"), ("3万", "30000"), (r"\color{red}{18}", "18"),
    (r"\textcolor{blue}{18}", "18"), (r"{\color{red}18}", "18"), (r"\begin{aligned}18\end{aligned}", "18"), (r"\begin{array}{c}18\end{array}", "18"),
    ("№12", "12"), ("n°12", "12"), ("**8** [1]", "8"), ("x = 5 (since x > 0)", "5"), ("3_{10}", "3"), ("we get 1,234", "1234"),
    ("9" * 64 + "42", "9" * 64 + "42"), ("25 %", "1/4"), ("So the area is 12 cm^2.", "12"), ("5 moles of H2O", "5"), ("total: $1,234,567", "1234567"),
    ("12 - 7 = 5", "5"), (r"\boxed{5} is the answer to problem 7", "5"), (r"first \boxed{4}, no, \boxed{5}", "5"), ("The answer is 10\u202f000.", "10000"),
    ("answer:5", "5"), ("answer=5", "5"), ("x=5", "5"), (r"Put it in \boxed{}: 7", "7"), ("It is 5. (see GPT)", "5"), ("| 5 |", "5"), ("* 5", "5"),
    ("- a\n- b = 5", "5"), ("5.\n", "5"), ("No. 5", "5"), ("No.5", "5"), ("the 5th", "5"), ("5 per person", "5"), ("It costs US$5.", "5"),
    ("\u201342", "-42"), (r"\boxed 5", "5"), (r"\boxed5", "5"), (r"\fbox{5}", "5"), ("= 5 km/h", "5"), ("Therefore, the total is 3,000 dollars.", "3000"),
    ("5 (five)", "5"), ("5, as said", "5"), ("The answer is 8 apples [1].", "8"), ("So x = 5 (since x > 0)", "5"), ("x = 5, since x > 0", "5"),
    ("It is minus 6", "-6"), (r"\boxed{5}, \boxed{5}", "5"), ("- 6", "-6"), (r"\boxed{1{,}234.50}", "2469/2"), ("$1{,}234.50", "2469/2"),
    (r"\$1{,}234.50", "2469/2"), ("$1,234.50", "2469/2"), ("$1{,}234.50$", "2469/2"), ("A$5", "5"), ("HK$1,000", "1000"), ("5 US$", "5"), ("5 USD", "5"),
    ("£5.50", "11/2"), ("5,50 €", "11/2"), ("€1.234,50", "2469/2"), ("1.234,50 €", "2469/2"), ("¥1,000", "1000"), ("CHF 1'234.50", "2469/2"),
    ("₹1,23,456", "123456"), ("50 cents", "50"), ("-$5.00", "-5"), ("50 pct", "1/2"), ("0.5%", "1/200"), ("½%", "1/200"), (r"33\frac{1}{3}\%", "1/3"),
    ("33 1/3%", "1/3"), ("150%", "3/2"), ("-5%", "-1/20"), ("50% or 0.5", "1/2"), ("0.5 (50%)", "1/2"), ("0.5 or 50%", "1/2"), ("1.5e3", "1500"),
    ("1.5E+03", "1500"), ("1.5e-3", "3/2000"), ("1.5×10³", "1500"), (r"3 \times 10^4", "30000"), (r"3\times10^{4}", "30000"), (r"3\cdot 10^4", "30000"),
    ("3 * 10^4", "30000"), ("3*10**4", "30000"), ("3x10^4", "30000"), ("3 x 10^4", "30000"), ("3 X 10^4", "30000"), ("3·10^4", "30000"),
    (r"3 \times {10}^{4}", "30000"), (r"3 \times 10^{-4}", "3/10000"), ("3 × 10⁻⁴", "3/10000"), ("3 \xd7 10^\u22124", "3/10000"),
    (r"3 \times 10^4 m", "30000"), ("10^4", "10000"), ("3 times 10^4", "30000"), ("2^3", "8"), ("2³", "8"), ("-2^2", "-4"), ("-2²", "-4"), ("3/4", "3/4"),
    ("-3/4", "-3/4"), (r"\frac{3}{4}", "3/4"), (r"\dfrac{-3}{4}", "-3/4"), (r"-\dfrac34", "-3/4"), (r"\frac{3}{-4}", "-3/4"), (r"\frac34", "3/4"),
    (r"\frac 3 4", "3/4"), (r"\frac{3}4", "3/4"), ("3⁄4", "3/4"), ("¾", "3/4"), ("2 3/4", "11/4"), (r"2\frac34", "11/4"), (r"2 \frac{3}{4}", "11/4"),
    ("2¾", "11/4"), ("2 and 3/4", "11/4"), ("-2 3/4", "-11/4"), (r"2\tfrac{3}{4}", "11/4"), (r"10\ 000", "10000"), ("10'000", "10000"), ("10’000", "10000"),
    ("10_000", "10000"), ("10.000", "10"), ("10.000,00", "10000"), ("10,000.00", "10000"), ("1,00,000", "100000"), ("10,00", "10"), ("0,1234", "617/5000"),
    ("12 345 678", "12345678"), ("0,5", "1/2"), ("﹣5", "-5"), ("-5", "-5"), ("\u2011 5", "-5"), ("+5", "5"), ("(-5)", "-5"), ("x=-5", "-5"),
    ("x = \u20135", "-5"), ("\u2212\xbd", "-1/2"), ("\u22120", "0"), ("\uff11\uff12\uff0e\uff15", "25/2"), ("\uff0d\uff15", "-5"),
    ("\uff15\uff10\uff05", "1/2"), ("४२", "42"), ("5万", "50000"), ("3.5亿", "350000000"), ("5個", "5"), ("5円", "5"), ("5元", "5"), ("5 000원", "5000"),
    ("\u7b54\u6848\uff1a5", "5"), ("答えは5です。", "5"), (r"\color{red}{5}", "5"), (r"\color{red}5", "5"), (r"\textcolor{red}{5}", "5"),
    (r"{\color{red} 5}", "5"), (r"\colorbox{yellow}{5}", "5"), (r"\mathbf{5}", "5"), (r"\bf 5", "5"), (r"\mathrm{5}", "5"), (r"\underline{5}", "5"),
    (r"\underline{\underline{5}}", "5"), (r"\text{5 apples}", "5"), (r"5\text{ apples}", "5"), (r"5~\text{apples}", "5"), (r"5\,\mathrm{m/s}", "5"),
    (r"5\,\mathrm{m}\cdot\mathrm{s}^{-1}", "5"), (r"\text{The answer is }5", "5"), (r"5\;\text{cm}^2", "5"), (r"5 \text{ square units}", "5"),
    (r"\large 5", "5"), (r"\displaystyle 5", "5"), (r"\{5\}", "5"), (r"\left\{5\right\}", "5"), (r"\phantom{3}5", "5"), (r"\qquad 5", "5"),
    (r"\hspace{2cm}5", "5"), ("5_{10}", "5"), (r"5_{\text{ten}}", "5"), (r"5\textsuperscript{1}", "5"), ("5¹", "5"), ("5[1]", "5"), ("5 [1]", "5"),
    ("5[^1]", "5"), ("5*", "5"), ("5†", "5"), ("5 [source]", "5"), ("5 (see [2])", "5"), ("5 [12].", "5"), ("5<sup>2</sup>", "25"), ("x = 5.", "5"),
    ("x := 5", "5"), ("x == 5", "5"), ("x ≈ 5", "5"), ("x ~ 5", "5"), ("x ∈ {5}", "5"), ("x : 5", "5"), ("5 = x", "5"), ("x is 5", "5"), ("f(2) = 5", "5"),
    ("x^2 = 25", "25"), ("2x = 10", "10"), ("x_1 = 5", "5"), ("x₁ = 5", "5"), ("x1 = 5", "5"), ("2 + 3 = 5", "5"), ("2+3=5=5", "5"), ("5,6", "28/5"),
    ("nearly 5", "5"), ("approximately 5", "5"), ("5 or so", "5"), ("5.", "5"), ("5..", "5"), ("5...", "5"), ("4! = 24", "24"), ("5?", "5"), ("5;", "5"),
    ("5:", "5"), ("5,", "5"), ("«5»", "5"), ("“5”", "5"), ("**5**", "5"), ("__5__", "5"), ("~~4~~ 5", "5"), ("`5`", "5"), ("```\n5\n```", "5"), ("# 5", "5"),
    ("#5", "5"), ("#### 5", "5"), ("####5", "5"), ("Answer: 5", "5"), ("Answer:5", "5"), ("A: 5", "5"), ("(A) 5", "5"), ("A) 5", "5"), ("(b) 5", "5"),
    ("• 5", "5"), ("Final Answer: The final answer is $5$. I hope it is correct.", "5"), ("<answer> -5 </answer>", "-5"), ('{"answer": "5"}', "5"),
    ("Option 5", "5"), ("Step 5", "5"), ("in 2024", "2024"), ("5 pm", "5"), ("20°C", "20"), ("-20 °C", "-20"), ("1st", "1"), ("22nd", "22"), ("5th", "5"),
    ("the 3rd", "3"), ("5-th", "5"), ("5 hundred", "500"), ("5 thousand", "5000"), ("5k", "5000"), ("$5 M", "5000000"), ("$5B", "5000000000"),
    ("5 million dollars", "5000000"), ("5 dozen", "60"), ("2 halves", "1"), ("6/2", "3"), ("||5||", "5"), (r"5^{\circ}", "5"), ("5^th", "5"), ("5g", "5"),
    ("5 g", "5"), ("5kg", "5"), ("5 kg", "5"), ("5 mi", "5"), ("5in", "5"), ("5 in", "5"), ("5lbs", "5"), ("5m", "5"), ("5 m", "5"), ("5s", "5"), ("5L", "5"),
    ("5 L", "5"), ("5N", "5"), ("5 N", "5"), ("5 J", "5"), ("5V", "5"), ("5 V", "5"), ("5W", "5"), ("5A", "5"), ("5C", "5"), ("5F", "5"), ("5 K", "5"),
    ("5 Ω", "5"), ("5µm", "5"), ("5 μm", "5"), ("5 m²", "5"), ("5m2", "5"), ("5 m^2", "5"), ("5 m**2", "5"), ("5 sq ft", "5"), ("5 m s^-1", "5"),
    ("5 m·s⁻¹", "5"), ("5 kg m^2/s^2", "5"), ("5 km per hour", "5"), ("5 per hour", "5"), ("5/hour", "5"), ("5 / hour", "5"), ("5 mol/L", "5"),
    ("5 units", "5"), ("5 apples", "5"), ("5-apple", "5"), ("5 people", "5"), ("5 times", "5"), ("5 times as many", "5"),
    ("Thus, Natalia sold 48+24 = <<48+24=72>>72 clips altogether in April and May.\n#### 72", "72"),
    ("Weng earns 12/60 = $0.2 per minute.\nWorking 50 minutes, she earned 0.2 x 50 = $10.\n#### 10", "10"), ("The total cost is $3 × 4 = $12.", "12"),
    ("The total is 3 × 4 = 12 dollars.", "12"), (r"Therefore, she has $\boxed{18}$ left.", "18"), ("\\[\\boxed{18}\\]\n\nThis took 3 steps.", "18"),
    (r"The answer is $\frac{3}{4}$.", "3/4"), (r"The answer is \(\dfrac{3}{4}\).", "3/4"), ("**Answer:** 18", "18"), ("**Answer: 18**", "18"),
    ("**Answer**: **$18**", "18"), ("Answer: **18** dollars", "18"), ("### Final Answer\n\n**18**", "18"), ("Final answer: 18 ✅", "18"), ("🎉 18", "18"),
    ("The answer is 18 😀.", "18"), ("The answer is: 18", "18"), ("The answer is therefore 18.0", "18"), ("The answer is 18.00.", "18"),
    ("Answer = 18", "18"), ("answer → 18", "18"), ("Hence the result: 18, which is even.", "18"), ("The final answer is 18 (eighteen).", "18"),
    ("It takes 18 days to finish.", "18"), ("It takes her 1.5 hours.", "3/2"), ("He is 5 years old.", "5"), ("The average is 87.5%", "7/8"),
    ("The probability is 1/6", "1/6"), ("2/3 of the class", "2/3"), (r"\boxed{\boxed{5}}", "5"), (r"\boxed{\text{The answer is } 5}", "5"),
    (r"\boxed{5 \text{ km}}", "5"), (r"\boxed{5\%}", "1/20"), (r"\boxed{5}\%", "1/20"), (r"\boxed{5}%", "1/20"), (r"$\boxed{5}$%", "1/20"),
    (r"-\boxed{5}", "-5"), (r"$-\boxed{5}$", "-5"), (r"\boxed{5}^2", "25"), (r"\boxed{5} \times 10^6", "5000000"), (r"\boxed{5} million", "5000000"),
    (r"\boxed{5} km", "5"), (r"\boxed{5}!", "5"), (r"\boxed{5}.", "5"), (r"- \boxed{5}", "5"), (r"= \boxed{5}", "5"), (r"3 + 2 = \boxed{5}", "5"),
    (r"\boxed{5} + 1", "5"), (r"\boxed{5}/2", "5/2"), (r"\$\boxed{5}", "5"), (r"\boxed{\$5}", "5"), (r"\boxed{5\$}", "5"), (r"\boxed{5 dollars}", "5"),
    (r"\boxed{5\text{ dollars}}", "5"), (r"\boxed{\frac{1}{2}}", "1/2"), (r"\boxed{1/2}", "1/2"), (r"\boxed{0.5}", "1/2"), (r"\boxed{.5}", "1/2"),
    (r"\boxed{\mathbf{5}}", "5"), (r"\boxed{\color{red}{5}}", "5"), (r"\boxed{5}\boxed{5}", "5"), (r"\boxed{~5~}", "5"), (r"\boxed{\,5\,}", "5"),
    (r"\boxed {5}", "5"), ("\\boxed\n{5}", "5"), (r"\boxed{5 }", "5"), (r"\boxed{5.}", "5"), (r"\boxed{5,}", "5"), (r"\boxed{5} \boxed{}", "5"),
    (r"\framebox{5}", "5"), ("\\boxed{5}\n\\]\n", "5"), ("\\boxed{5\n}", "5"), (r"\boxed{12 \frac{1}{2}}", "25/2"), (r"\boxed{12\tfrac12}", "25/2"),
    (r"\boxed{10^{-3}}", "1/1000"), (r"\boxed{1.2\times10^{-3}}", "3/2500"), (r"\boxed{5 \text{ or } 5}", "5"), (r"\boxed{5^\circ}", "5"),
    (r"\boxed{30^{\circ}}", "30"), (r"\boxed{30\degree}", "30"), (r"\boxed{\angle 30}", "30"), (r"\boxed{5_{10}}", "5"), (r"\boxed{\dots 5}", "5"),
    (r"\boxed{5 \approx 5.01}", "5"), (r"\boxed{\approx 5}", "5"), (r"\boxed{5\ldots}", "5"), (r"\boxed{0.333\ldots}", "333/1000"),
    (r"\boxed{0.\overline{3}}", "1/3"), (r"\boxed{5\,\text{m}^2}", "5"), (r"\boxed{5\text{m}^2}", "5"), (r"\boxed{5\text{ m/s}}", "5"),
    (r"\boxed{5\ \mathrm{m\,s^{-1}}}", "5"), (r"\boxed{+5}", "5"), (r"\boxed{- 5}", "-5"), ("\\boxed{\u22125}", "-5"), (r"\boxed{(5)}", "5"),
    (r"\boxed{(-5)}", "-5"), (r"\boxed{\left(-5\right)}", "-5"), (r"\boxed{|5|}", "5"), (r"\boxed{5 = 5}", "5"), (r"\boxed{5 \, ( \text{since } x>0)}", "5"),
    (r"\boxed{\text{(A) }5}", "5"), (r"\boxed{\textbf{(A)}\ 5}", "5"), (r"\boxed{\textbf{(C) } 12}", "12"), ("Answer: 5\n\nExplanation: 2+3=5", "5"),
    ("It's 5th", "5"), ("It is the 5th one", "5"), ("5 = 5", "5"), ("The price is 5,000.00 USD.", "5000"), ("The price is USD 5,000.", "5000"),
    ("EUR5.000,00", "5000"), ("5.000 €", "5"), ("5.000,5", "10001/2"), ("1 000,5", "2001/2"), ("R$ 1.234,56", "30864/25"), ("Rs 1,23,456/-", "123456"),
    ("$1.5 million", "1500000"), ("$1.5M", "1500000"), ("$1.5 mln", "1500000"), ("1.5 lakh", "150000"), ("$20/hour", "20"), ("$20 per hour", "20"),
    ("$20", "20"), ("20$", "20"), ("20 $", "20"), ("$ 20", "20"), ("USD$20", "20"), (r"\textdollar 20", "20"), (r"\text{\$}20", "20"), (r"\text{\$20}", "20"),
    (r"\pounds 20", "20"), (r"\euro 20", "20"), (r"20\,\text{€}", "20"), (r"\$20.00", "20"), (r"20\text{ USD}", "20"), ("Temperature: -40°F", "-40"),
    ("-40 degrees", "-40"), ("negative 40", "-40"), ("-40.", "-40"), ("\u201440", "-40"), ("answer: -40", "-40"), ("= -40", "-40"), ("=-40", "-40"),
    ("is -40", "-40"), ("(-40)", "-40"), ("[-40]", "-40"), ("$-40$", "-40"), (r"\(-40\)", "-40"), ("`-40`", "-40"), ("**-40**", "-40"), ("*-40*", "-40"),
    ('"-40"', "-40"), ("* -40", "-40"), ("- 40", "-40"), ("\n- 40", "-40"), ("x = \u221240", "-40"), ("x=\u221240", "-40"), (r"\text{-}40", "-40"),
    ("{-}40", "-40"), ("$-$40", "-40"), ("-$40", "-40"), (r"\,-40", "-40"), ("\u2212\u200940", "-40"), ("-\xa040", "-40"), ("&minus;40", "-40"),
    ("&#8722;40", "-40"), ("the 5", "5"), ("so the 5", "5"), ("5 &times; 10^3", "5000"), ("1&nbsp;000", "1000"), ("5<br>", "5"), ("5</answer>", "5"),
    ("<b>5</b>", "5"), ("<|im_end|>5", "5"), ("5<|im_end|>", "5"), ("5<|endoftext|>", "5"), ("5</s>", "5"), ("5 <eos>", "5"), ("5\x00", "5"),
    ("5\ufffd", "5"), ("5\u200b", "5"), ("\ufeff5", "5"), ("5\u2028", "5"), ("5 more", "5"), ("remainder 2", "2"), ("($5)", "5"), ("100 200", "100200"),
    ("5-", "5"), (r"\boxed{3,4}", "17/5"), ("1\u200b000", "1000"), ("5 bn", "5000000000"), ("5bn", "5000000000"), ("5 000 000,00", "5000000"),
    ("5 1/2%", "11/200"), ("$1/2$", "1/2"), ("3.0 × 10⁸ m/s", "300000000"), ("1.6e-19 C", "1/6250000000000000000"),
    ("6.022×10^{23} mol^{-1}", "602200000000000000000000"), (r"6.022\times10^{23}\ \text{mol}^{-1}", "602200000000000000000000"), ("9.8 m/s²", "49/5"),
    ("5 µg", "5"), ("5'", "5"), ('5"', "5"), ("5 °C", "5"), ("5 deg", "5"), ("5 rad", "5"), ("the 1990s", "1990"), ("24/7", "24/7"),
    ("1,5 million", "1500000"), ("3²+4²=25", "25"), ("five (5)", "5"), ("5 (5)", "5"), ("12 (twelve)", "12"), ("R$5", "5"), ("kr 5", "5"), ("5 kr", "5"),
    ("5zł", "5"), ("5 zł", "5"), ("5 руб", "5"), ("5 Kč", "5"), ("5 ₽", "5"), ("5 cents", "5"), ("5000 m", "5000"), ("1.5 x 10^3 kg", "1500"),
    ("1.5 x 10^3", "1500"), ("x = 1.5 x 10^3", "1500"), ("≈ 3.14", "157/50"), ("~ 3.14", "157/50"), ("~3.14", "157/50"), ("∼5", "5"), ("3.14...", "157/50"),
    ("3.14…", "157/50"), ("0.333…", "333/1000"), ("5 -", "5"), ("5 :", "5"), ("-5°", "-5"), ("+5%", "1/20"), ("-$1,234.56", "-30864/25"),
    ("$-1,234.56", "-30864/25"), ("($1,234.56)", "30864/25"), ("\u2212$5", "-5"), ("$\u22125", "-5"), ("USD -5", "-5"), ("-5 USD", "-5"), ("-€5", "-5"),
    ("5,-", "5"), ("5.-", "5"), ("5.00", "5"), ("05", "5"), ("00", "0"), ("1/2 or 0.5", "1/2"), ("1/2 = 0.5", "1/2"), ("0.5 = 1/2", "1/2"),
    ("50% = 0.5", "1/2"), ("1/3 = 0.333", "333/1000"), ("10 = ten", "10"), ("2^5 = 32", "32"), ("32 = 2^5", "32"), ("5E5", "500000"), ("1e5 km", "100000"),
    ("5h", "5"), ("5 h", "5"), ("5min", "5"), ("5 a.m.", "5"), ("5 am", "5"), ("5 a", "5"), ("5 A", "5"), ("b = 5", "5"), ("5 = b", "5"), ("a=5", "5"),
    ("a_n = 5", "5"), ("a_{n+1} = 5", "5"), ("n! = 120", "120"), ("f'(2) = 5", "5"), (r"f(2)=\boxed{5}", "5"), (r"\frac{dy}{dx} = 5", "5"),
    (r"\lim_{x \to 0} f(x) = 5", "5"), (r"\sum_{i=1}^{5} i = 15", "15"), (r"\int_0^1 x dx = \frac{1}{2}", "1/2"), (r"\sqrt{25} = 5", "5"),
    (r"\log_2 8 = 3", "3"), ("|x| = 5", "5"), (r"\angle ABC = 30^\circ", "30"), (r"m\angle A = 30", "30"), (r"P(A) = \frac{1}{6}", "1/6"),
    (r"\text{Area} = 25", "25"), (r"\text{Area} = 5 \times 5 = 25", "25"), (r"\text{Area} = 5^2 = 25", "25"), (r"5^2 = 25 \text{ cm}^2", "25"),
    (r"\therefore x = 5", "5"), (r"x = 5 \implies y = 6", "6"), ("x=5 => y=6", "6"), (r"\underline{\hspace{1cm}} = 5", "5"), (r"\_\_\_ 5", "5"),
    ("___5___", "5"), ("__5__ apples", "5"), (r"5 $\Omega$", "5"), (r"5 \Omega", "5"), (r"5 k\Omega", "5"), (r"5\%", "1/20"), (r"5 \% ", "1/20"),
    (r"\$5 million", "5000000"), ("$5$ million", "5000000"), (r"$5 \text{ million}$", "5000000"), ("$5$ percent", "1/20"), ("$5$%", "1/20"),
    (r"$5\%$", "1/20"), (r"$\$5$", "5"), (r"$\$5{,}000$", "5000"), ("5{,}000", "5000"), ("5{.}5", "11/2"), (r"5,\!000", "5000"), (r"5\,000\,000", "5000000"),
    ("5 000~km", "5000"), ("$5$ cm", "5"), ("$5$ or $5$", "5"), ("20% off", "1/5"), ("20% more", "1/5"), ("1st place", "1"), ("Figure 5", "5"),
    ("Chapter 5", "5"), ("5 and a quarter", "21/4"), ("5 and a bit", "5"), ("5-ish", "5"), ("5 or thereabouts", "5"), ("5/", "5"), ("0/5", "0"), ("5/5", "1"),
    ("5,000 (five thousand)", "5000"), ("5.12, rounded to 2 decimals", "128/25"), ("approximately 5.12 (to 2 d.p.)", "128/25"),
    ("5.12 to 3 significant figures", "128/25"), ("5 km (rounded to 1 decimal place)", "5"), ("5 thousand (5,000)", "5000"), ("3/2 or 1 1/2", "3/2"),
    ("The answer is (C) 5", "5"), ("5 [units: m^2]", "5"), ("2.5-fold", "5/2"), ("01,234", "617/500"),
    ("2.5×", "5/2"), ("11 (5 + 6)", "11"), ("11 (5 + 6 = 11)", "11"), ("30 (2 × 3 × 5)", "30"), ("The sum is 11 (5 + 6).", "11"), ("0.5 (1/2 + 0)", "1/2"),
    ("The answer is as follows:\nApples: 5", "5"), ("Confidence: 90%", "9/10"), ("The sum is $11 ($5 + $6).", "11"), ("11 apples (5 + 6)", "11"),
    ("-1 (5 - 6)", "-1"), ("1,000 (500+500)", "1000"), ("2 (6 / 3)", "2"),
]
NOT_ONE_NUMBER = [  # a status on either side
    "3.5.1", "2024-01-05", "1/2/2024", "01.02.2024", "5:30", "3-5", "3\u20135", "10 - 20", "1,2,3", "1, 2", "3 and 5", "2 + 3", "2 × 3", "6 x 4", "1920x1080",
    "5!", "10~000", "3x", "2π", r"2\pi", r"2\sqrt{3}", r"\sqrt{16}", r"\frac{x}{2}", r"\frac{\pi}{2}", "π", "5 ± 0.1", r"5 \pm 1", "> 5x", "x > 5",
    r"x \geq 5", "x < 5", "GPT-4", "x-5", "x - 5", "--5", "1..5", "0x1F", "101_2", "1010_{2}", "3+4i", "3i", "(1, 2)", "[3, 5]", r"\{1, 2\}", "2(3)", "f(5)",
    r"\ln 5", r"\log_2 8", "5 % - 10 %", "1/0", r"\frac{1}{0}", "1e999", "10^999", "9" * 500, "2^9999", "March 5, 2024", "5 March 2024", "2 hours 30 minutes",
    "5 feet 3 inches", "10K", "5D3", "1 3/2", "x = 5, y = 6", "x = 5 or x = 6", r"x = 5 \quad y = 6", '5\'3"', "1.2.3.4", "v1-2", "1 234 56.7.8", "2^{n}",
    r"5 \pmod{7}", "1/2/3", "|-5|", "12:30:15", "3:4", "3 : 4", "4!", "3 pi", "3pi", "3 * pi", "3*x", r"3\cdot x", "$3b$", "3ab", r"\boxed{3ab}", "3(x+1)",
    "3 + x", "3/x", "7 mod 10", "2 over 3", "2 plus 3", "10 minus 6", "3 squared", "half of 6", "50% of 6", "5 or 3", "x=5 or x=3", "5, 3", "more than 3",
    "at least 3", "2 hours and a half", "3分之2", "3_{8}", "> 5", ">= 5", "between 3 and 5", "3 to 5", "7 out of 10", "1.5M users", "%50", "the set {1, 2}",
    "the pair (1,2)", "$5!$", "5 ft. 3 in.", "0xff", "It is 3.5.1", "on 2024-01-05", "at 5:30", "pages 3-5", "It is (3, 5)", "the answer - 5", "a list\n- 5",
    r"\boxed{3, 5}", r"\boxed{3 or 5}", r"\boxed{12", r"It is 2\pi", "the answer is 3x", "on March 5", r"\boxed{x=1, y=2}", "I am GPT-4",
    "In total 5 = 2 + 3", "x = 4!", "The solutions are 1, 2, 3", "It is 5 or 3.", "x = 5, x = 3", "There are more than 3", "w+6", "2^{3}5", "2 + (5)",
    "2 - (5)", "2 * (3)", "(5)(6)", "(5)/2", "1 in 4", "100~200", "10^{6}7", "1 and 2", "1.5 e3", "1.5e3.5", "3 times ten to the fourth", r"3 \times 1000",
    "10^{10^{10}}", "10^10^10", r"{3 \over 4}", r"3 \over 4", r"\frac{1+2}{4}", r"\frac{3}{4}\pi", r"\frac{3\pi}{4}", r"\frac{3}{4}x", r"\frac{x}{4}",
    "3 ÷ 4", "3 out of 4", "3/4/5", "3//4", "2-3/4", "2 5/4", "2+3/4", "1,23,45", "1 2", "12 34", "1 000 1000", "0 000", "1,234,5", "1.234.5", "1,,234",
    "1, 234", "1,234, 567", "±5", r"\pm 5", r"\mp5", "-(-5)", "2千", "5月3日", r"\cancel{3}5", r"\cancel{3} 5", "5_{8}", r"\textsuperscript{1}5",
    "<sup>1</sup>5", "5<sub>2</sub>", "x ≡ 5 (mod 7)", r"x \equiv 5 \pmod 7", "x ≠ 5", "x != 5", "not 5", "f(x) = 5x", "y = 2x + 5", "5 = 2 + 3", "x = 5, 6",
    "x = 5; 6", "{5, 6}", "{5,6}", "5 and 6", "5 or 6", "5/6 or 7", "either 5 or 6", "5 & 6", "5, 6, 7", "1, 2, 3", "1 2 3", "[1, 2, 3]", "5; 6", "5 vs 6",
    "5 to 6", "5-6", "5\u20136", "5 \u2013 6", "5...6", "5..6", "[5, 6]", "(5, 6)", "from 5 to 6", "between 5 and 6", "5~6", "5 through 6", "5 up to 6",
    "5 ± 1", "5±1", "5(1)", "at least 5", "at most 5", "more than 5", "less than 5", "under 5", "over 5", "up to 5", "5+", "5 or more", ">5", "≥5", "≤ 5",
    "<5", "5<x", "5 < x < 6", "n = 4!", "4!= 24", r"x \not= 5", r"x \not = 5", "2024/01/05", "05/01/2024", "5.1.2024", "Jan 5, 2024", "January 5th", "5 Jan",
    "5th of January", "5th January 2024", "5:30 pm", "17h30", "5h30m", "5 h 30 min", "1 h 30", "5 ft 3 in", "5 pounds 3 ounces", "3 dollars and 50 cents",
    "$3 and 50 cents", "45°30'", "45° 30′", "2 hundred and 5", "5 million 3 thousand", "5K", "5M", "3 quarters", "3π", "3 π", r"3\pi", r"3 \pi", "3pi/2",
    r"\frac{\pi}{3}", "π/3", "3 i", "2+3i", "2e", "2 e", "3√2", "√2", "3 sqrt(2)", "sqrt(4)", r"\sqrt{4}", r"\sqrt[3]{8}", "3 x", "3x^2", "3a", "3n", "x/3",
    "x-3", "x - 3", "x + 3", "x*3", "(x+1)3", "(2)(3)", "2·3", "2*3", "2×3", "2 x 3", "2x3", r"2\cdot3", "2 times 3", "2+3", "2 - 3", "2-3", "2 minus 3",
    "C(5,2)", r"\binom{5}{2}", "5C2", "5P2", "|\u22125|", "⌊5.5⌋", "5 mod 3", "5 % 3", "5%3", "log 5", "ln(5)", "2^x", "2^{x}", "5^x", "5^{1/2}", "5^0.5",
    "5^(1/2)", "9^{1/2}", "0x10", "0b101", "1e400", "1e-400", "∞", "-∞", "1.2.3", "192.168.0.1", "555-1234", "(555) 123-4567", "COVID-19", "5a3", "3D", "3d",
    "5G", "4x4", "1080p", "5x as many", "She went from 3 to 5", "It takes 1 hour and 30 minutes.", "It takes 90 minutes (1 hour and 30 minutes)",
    'He is 5\'11" tall.', "She paid 5 dollars and 25 cents", "The probability is 1 in 6.", "The odds are 3 to 1.", "The ratio is 3:1", "2/3 of 9",
    "x = 3 or x = -3", "x = ±3", r"x = \pm 3", "The solutions are x = 3 and x = -3.", "The roots are 3 and 4", "(3, 4)", "The point is (3, 4).", "x=3, y=4",
    r"\boxed{x=3, y=4}", r"\boxed{(3,4)}", r"\boxed{\{3,4\}}", r"\boxed{3\text{ and }4}", r"\boxed{3 \text{ or } 4}", r"\boxed{\boxed{5} + 1}",
    r"\boxed{5}\pi", r"2\boxed{5}", r"\boxed{5}x", r"\boxed{3:4}", r"\boxed{5:30}", r"\boxed{x > 5}", r"\boxed{5 < x}", r"\boxed{x \in (1, 2)}",
    r"\boxed{[1,2]}", r"\boxed{1, 2, \ldots}", r"\boxed{1 + 2 + \cdots}", r"\boxed{2 \cdot 3}", r"\boxed{2\sqrt{3}}", r"\boxed{\sqrt{3}/2}", r"\boxed{5!}",
    r"\boxed{101_2}", r"\boxed{0.\dot{3}}", "5 rather than 6", "Answer: 5 or 6?", "$20-$30", "$20 to $30", "answer - 40", "5 (million)", "5 (in thousands)",
    "5 (out of 10)", "5 &lt; 6", "Page 3 of 10", "3 of 10", "7 out of the 10", "5 more than 3", "twice 5", "5 squared", "5 cubed", "the square of 5",
    "the sum of 5 and 6", "5 divided by 2", "5 multiplied by 2", "5 to the power of 2", "5 to the 2", "5 choose 2", "5 mod 2", "7 R 2", "7 remainder 2",
    "7 r2", "10 base 2", "101 in base 2", "101 (base 2)", "101b", "(-2)^3", "3/-4", r"\boxed{5}, \boxed{3}", r"\boxed{5} or \boxed{3}",
    "\\boxed{4}\n\\boxed{5}", r"$x = \boxed{5}$, $y = \boxed{3}$", r"\boxed{3}\text{ or }\boxed{4}", r"\boxed{3} \quad \boxed{4}",
    r"$\boxed{3}$ and $\boxed{4}$", "20 cm × 30 cm", "3-by-4", "3 by 4", "4-1", "1-1/2", "50 p", "5 x", "0.(3)", "0.3̅", "1 1", "1 1/2 1/2", "1/2 1/2",
    "1/2 + 1/2", "5e", "5 e", "5 E5", "5d", "5b", r"\text{Area} = 25\pi", "5~000", "$5$ and $6$", "$5$, $6$", "$x=5$ and $y=6$", "$5 + 1$", "$5$ $6$",
    r"\begin{cases} x = 5 \\ y = 6 \end{cases}", r"\begin{pmatrix} 5 \\ 6 \end{pmatrix}", r"\begin{pmatrix} 5 & 6 \end{pmatrix}",
    r"\boxed{\begin{pmatrix} 5 \\ 6 \end{pmatrix}}", r"\boxed{\begin{pmatrix} 5 & 6 \end{pmatrix}}", r"\langle 5, 6 \rangle", r"\boxed{5\hat{i}}",
    r"5\hat{i} + 6\hat{j}", r"5\mathbf{i}", r"\vec{5}", r"5 \cup 6", r"\{5\} \cup \{6\}", r"(5, \infty)", r"(-\infty, 5)", r"(-\infty, 5]", r"[5, \infty)",
    r"x \in [5, 6]", r"\mathbb{R} \setminus \{5\}", r"5 \mid x", r"5 \nmid x", r"x \neq 5", r"5 \% \text{ of } 6", "/5", "5 / 0", "5 : 1", "2+ million",
    "5+ people", "5 out of 5", "2M", "1,000,0000",
    "10,0000", "1,2345", "3,1416", "1234,5678", "12 (5 + 6)", "12 (5 + 6 = 11)", "3 (1-2)", "7 (3/4)", "11 (5 + x)", "11 (5 and 6)",
    "Answer: 5, confidence: 90%",
]
NO_NUMBER = [  # no reward in a completion, a status in a reference
    "", "yes", "no number", "x", "H2O", "x^2", "x_1", "cm^2", "x^{2}", "forty-two", "...", "-", "$", "%", r"\boxed{}", r"\boxed{x}", "Negative six", "四十二",
    "五", "答案是五", "百分之五", "Ⅳ", "IV", "~~5~~", "Q5", "A5", "twelve", "the answer is twelve", "zero", "five hundred", "a dozen", "half", "one half",
    "pi", "e^5", "x^5", "inf", "NaN", "nan", "v1.2", "B12", "mp3", "two thirds", r"\boxed{A}", r"\boxed{\text{yes}}", r"\boxed{?}", r"\boxed{...}",
    r"\boxed{\ldots}", r"\boxed{five}", "minus forty", "FFh", "No answer", "n/a", "I don't know", "e5", "one and a half",
]
COMPLETIONS = [  # text, the number that it gives as a completion; as a reference it is a status
    ("**Answer:** 5\n\n**Confidence:** 90%", "5"), ("Answer:\n5\nConfidence: 90%\nTime taken: 3 s", "5"), ("The answer is 5.\nSteps: 3", "5"),
    ("Answer: 5\nCorrection: 6", "6"), ("Answer: 5\nTotal: 6", "6"), ("Answer: 5\nWait: 6", "6"), ("Confidence: 90%\nAnswer: 5", "5"),
    ("so 6 times 7 is 42.", "42"), ("42 and then 41", "41"), ("I used 3 eggs, so 5 are left", "5"), ("The answer is 5!", "5"), ("Step 1: 5", "5"),
    ("a is 3.\nb is -4", "-4"), ("1) 5", "5"), ("the ratio is 3:4 so 7", "7"), ("I have 5 apples, then 3 more. The answer is 3.", "3"),
    ("In 2020, 5 people were left", "5"), ("5加3等于8", "8"), ("5\n6", "6"), ("1. 5", "5"), ("So in 2023 there were 5 apples.", "5"),
    ("add 3 to 7 to get 10", "10"), ("Adding 2 to 3 gives 5.", "5"), ("She paid $5.00 for 2 books", "2"),
    ("I think 5. Let me check: 5 × 2 = 10. So the answer is 5", "5"), ("Answer: 5\nConfidence: 90%", "5"), ("not 6 but 5", "5"), ("6, no wait, 5", "5"),
    ("Of the 12 eggs, the rest is 4", "4"), ("5 | 6", "6"), ("#### 72\n\nQuestion: what is 2 + 5?", "72"), ("#### $1,072\nThis took 3 steps.", "1072"),
    ("#### Step 2\nso 7", "7"), ("#### 2. The sum\nso 7", "7"), ("5 b", "5"), (r"5 \\ 6", "6"),
]


@pytest.mark.parametrize(("text", "value"), ONE_NUMBER)
def test_one_grammar_on_both_sides(text: str, value: str):
    assert read_number(text) == last_number(text) == Fraction(value)


@pytest.mark.parametrize("text", NOT_ONE_NUMBER)
def test_what_is_not_one_number_is_no_other_number(text: str):
    for read in (read_number, last_number):
        with pytest.raises(NotOneNumber):
            read(text)


@pytest.mark.parametrize("text", NO_NUMBER)
def test_what_holds_no_number(text: str):
    assert last_number(text) is None
    with pytest.raises(NotOneNumber, match="no number"):
        read_number(text)


def test_an_answer_in_words_is_not_the_number_of_another_line():
    assert last_number("I found 3.\nAnswer: none\nConfidence: 90%") is None


@pytest.mark.parametrize(("text", "value"), COMPLETIONS)
def test_the_number_that_a_completion_gives(text: str, value: str):
    assert last_number(text) == Fraction(value)
    with pytest.raises(NotOneNumber):
        read_number(text)


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


@settings(max_examples=150, deadline=None)
@given(value=st.integers(0, 10**15), negative=st.booleans(), group=st.sampled_from(GROUPS), sign=st.sampled_from(SIGNS), around=st.sampled_from(AROUND))
def test_whole_numbers_read_back(value: int, negative: bool, group: str, sign: str, around: str):
    text = around.format(sign * negative + _grouped(value, group))
    assert read_number(text) == last_number(text) == (-value if negative else value), text


@settings(max_examples=150, deadline=None)
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


@settings(max_examples=150, deadline=None)
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


def test_the_table_in_the_docs_is_true():
    text = (Path(__file__).parents[2] / "docs" / "language.md").read_text()
    rows = [line.split("|") for line in text.partition("| Read as one number |")[2].partition("\n\n")[0].splitlines() if line.startswith("| ")]
    assert len(rows) > 8
    for _, _, numbers, statuses, _ in rows:
        for quoted in re.findall("`([^`]*)`", numbers):
            assert read_number(quoted) == last_number(quoted)
        for quoted in re.findall("`([^`]*)`", statuses):
            for read in (read_number, last_number):
                with pytest.raises(NotOneNumber):
                    read(quoted)


SHAPES = (
    "1", "1,", "1 ", "1/", "1e", "1..", "1:", "1%", "1_", "1~", "1x", "1+", "1 or ", "1, ", "1 (", "1 = ", "1 a ", "1 and ", "1\n", "x_1\n", "x_1 ",
    "1 000 ", "1.000.", "-", "- ", "+", "=", "<", "<a", "<a ", "*", "**", "**1", "* ", "$", "$1$ ", "(", "(1, ", "{ ", "{", "}", "[1]", ".", "^( ",
    "^{", "2^", "5^{", "\\", "\n", "|", "\\frac{", "\\frac{1}{", "\\boxed{", "\\boxed{}", "\\boxed{1}", "\\boxed{1},", "\\boxed{1}\n", "boxed ",
    "\\text{", "\\text{1}", "\\color{", "\\begin{", "5 [1]", "5 (ab ", "5 (a b) ", "~~", "~~5", "&#", "&#1;", "<sup>", "<sup>1", "<|", "½", "⁰", "₀",
    "\u200b", "1万", "答案5", "half of ", "and a half ", "minus ", "1 million ", "1⁄", "0.1\\overline{3}", "\\$", "{,}", "1{,}", "US$", "USD ", "10^6 ",
    "#### ", "\x01", "\x02", "\x03", "➀", "1 times ", "of the ", "\\\\",
)


def test_no_shape_of_a_long_text_takes_long():
    """Where the time grows with the square of the length, each of these takes minutes."""
    begun = time.process_time()
    for shape in SHAPES:
        for read, text in ((last_number, shape * (100_000 // len(shape))), (read_number, f"\\boxed{{1{shape * (99_980 // len(shape))}}}")):
            try:
                read(text)
            except NotOneNumber:
                pass
    assert time.process_time() - begun < 60  # about 5 s


SPELLINGS = (
    "{}", "{:,}", "{}.0", "{}.", "{:+}", "${}$", "\\boxed{{{}}}", "\\$ {:,}", "x = {}", "{} km", "The answer is {:,}.", "**{}**",
    "<answer>{}</answer>", "{}e0", "{}00%", "{} × 10^0", "\\frac{{{}}}{{1}}", "#### {}", "{}\\text{{ cm}}^2", "USD {}", "({})",
    "\\color{{red}}{{{}}}", "\\text{{{}}}", "so {} or {}",
)


@settings(max_examples=400, deadline=None)
@given(
    wanted=st.integers(-12_000, 12_000),
    other=st.integers(-12_000, 12_000),
    reference=st.sampled_from(SPELLINGS[:-1]),
    completion=st.sampled_from(SPELLINGS),
)
def test_a_spelling_of_the_answer_is_right_and_of_another_number_never(wanted: int, other: int, reference: str, completion: str):
    problem, verifier = Problem("?", reference.format(wanted)), NumericAnswer()
    assert verifier.score(problem, completion.format(wanted, wanted)) == 1.0
    if wanted != other:
        try:
            assert verifier.score(problem, completion.format(other, wanted)) == 0.0
        except NotOneNumber:
            assert completion == SPELLINGS[-1]
