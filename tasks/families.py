"""Families of functions that our own backend tasks are drawn from: data. Their order is a part of the tasks' ids."""

import random
from collections.abc import Callable
from typing import Any

from tasks.decisions import Family, choice, invalid, missing, missing_readings, number, rounding, separator, side, ties


def _words(rng: random.Random, most: int) -> list[str]:
    syllables = "ba ce di fo gu ka le mi no pu ra se ti vo zu".split()
    return ["".join(rng.choices(syllables, k=rng.randint(1, 3))) for _ in range(rng.randint(2, most))]


def _scores(rng: random.Random) -> tuple[Any, ...]:
    names = list(dict.fromkeys(_words(rng, 9)))
    return ([[name, rng.choice([10, 20, 30, 30, 40, rng.randint(1, 60)])] for name in names],)


def _values(low: int, high: int, gaps: float = 0.25) -> Callable[[random.Random], tuple[Any, ...]]:
    def draw(rng: random.Random) -> tuple[Any, ...]:
        values = [None if rng.random() < gaps else rng.randint(low, high) for _ in range(rng.randint(3, 9))]
        return ([*values, rng.randint(low, high)],)

    return draw


FAMILIES: tuple[Family, ...] = (
    Family(
        "order_total",
        "def order_total(quantity, unit_price)",
        "I run a small shop and need a function for the total of an order: a large order gets a discount, and there is a handling fee.",
        (
            number(
                "discount_from",
                range(10, 50),
                "The discount begins at {n} pieces.",
                "From how many pieces on is there a discount?",
                "threshold large many pieces begin start quantity big size order get trigger",
            ),
            number(
                "discount",
                range(4, 28),
                "The discount is {n} percent.",
                "How many percent is the discount?",
                "percent percentage discount rate much off high",
            ),
            number(
                "fee",
                range(3, 60),
                "The handling fee is {n}, added after the discount.",
                "How high is the handling fee?",
                "fee handling charge cost",
            ),
            side("quantity", "<discount_from>"),
            rounding(),
            invalid("quantity <= 0"),
        ),
        """
import math

def order_total(quantity, unit_price):
    <invalid>
    total = quantity * unit_price
    if <side>:
        total = total * (100 - <discount>) / 100
    total = total + <fee>
    <nudge>
    return <rounding>
""",
        lambda rng: (rng.choice([rng.randint(-2, 60), rng.randint(8, 52)]), rng.randint(1, 400) / 4),
    ),
    Family(
        "average_score",
        "def average_score(values)",
        "I need a function that averages a list of scores for my class; some scores are missing, and I drop the lowest.",
        (
            missing("values"),
            number(
                "dropped",
                range(2, 6),
                "The lowest {n} are dropped if there are more than {n} values; otherwise none is.",
                "How many of the lowest are dropped?",
                "drop lowest low many discard remove worst",
            ),
            number(
                "bonus",
                range(2, 40),
                "A bonus of {n} is added to the average, before it is rounded.",
                "Is there a bonus on the average?",
                "bonus extra add anything end",
            ),
            number(
                "cap",
                range(60, 100),
                "Whatever is above {n} after rounding becomes {n}.",
                "Is there a highest possible result?",
                "cap highest maximum limit most exceed possible upper",
            ),
            rounding(),
        ),
        """
import math

def average_score(values):
    <missing>
    values = sorted(values)
    if len(values) > <dropped>:
        values = values[<dropped>:]
    total = sum(values) / len(values) + <bonus>
    <nudge>
    return min(<rounding>, <cap>)
""",
        _values(20, 90),
    ),
    Family(
        "ranking",
        "def ranking(scores)",
        "I organise a quiz and want a function that turns a list of [name, score] into a line of text with the best names first.",
        (
            number(
                "places",
                range(2, 8),
                "Only the first {n} names are shown.",
                "How many names are shown?",
                "many places names top first show list people everyone length",
            ),
            number(
                "least",
                range(2, 46),
                "Names with fewer than {n} points are left out.",
                "Is there a smallest score to be shown?",
                "least minimum smallest fewer points low cutoff leave",
            ),
            ties(),
            separator(),
            choice(
                "order",
                "In what order do the scores go?",
                "order ascending descending highest lowest sort high biggest best better win first",
                ("highest", "-item[1]", "The highest score comes first."),
                ("lowest", "item[1]", "The lowest score comes first, as in golf."),
                (
                    "near 30",
                    "(abs(item[1] - 30), item[1])",
                    "The score nearest to 30 comes first; of two as near, the lower one.",
                ),
                (
                    "near 20",
                    "(abs(item[1] - 20), item[1])",
                    "The score nearest to 20 comes first; of two as near, the lower one.",
                ),
            ),
            choice(
                "shape",
                "How is each name written?",
                "write written format case capital upper lower uppercase lowercase look name display next beside letters score",
                ("upper", "item[0].upper()", "Names are written in capitals."),
                ("title", "item[0].title()", "Names begin with a capital letter."),
                ("with score", "f'{item[0]} ({item[1]})'", "After each name the score stands in round brackets."),
                ("initial", "item[0][:3]", "Only the first three letters of each name are written."),
                ("equals", "f'{item[0]}={item[1]}'", "Each name is followed by an equals sign and the score."),
                ("score first", "f'{item[1]} {item[0]}'", "The score stands before each name, with a space."),
            ),
        ),
        """
def ranking(scores):
    kept = [item for item in scores if item[1] >= <least>]
    kept.sort(key=lambda item: (<order>, <ties>))
    return <separator>.join(<shape> for item in kept[:<places>])
""",
        _scores,
    ),
    Family(
        "parcel_price",
        "def parcel_price(weight, distance)",
        "Please write a function for what a parcel costs by its weight and distance; heavy parcels cost more.",
        (
            choice(
                "unit",
                "In which unit is the weight given?",
                "unit kilograms grams pounds ounces kg measured given",
                ("gram", "weight / 1000", "The weight is given in grams, and prices are for kilograms."),
                (
                    "pound",
                    "weight * 0.45",
                    "The weight is given in pounds of 0.45 kilograms, and prices are for kilograms.",
                ),
                ("kilogram", "weight", "The weight is given in kilograms, and prices are for kilograms."),
                (
                    "ounce",
                    "weight * 0.03",
                    "The weight is given in ounces of 0.03 kilograms, and prices are for kilograms.",
                ),
            ),
            number(
                "base",
                range(3, 70),
                "Every parcel costs {n} to begin with.",
                "What is the base price?",
                "base basic begin every fixed flat starting start fee",
            ),
            number(
                "per_kilo",
                range(2, 30),
                "Each kilogram costs {n} more, a part of one in proportion.",
                "What does each kilogram cost?",
                "kilogram kilo kg per each depend",
            ),
            number(
                "heavy",
                range(4, 40),
                "From {n} kilograms on a parcel is heavy: base price and price by weight are doubled.",
                "From what weight on is a parcel heavy?",
                "heavy double surcharge when",
            ),
            number(
                "far",
                range(100, 900, 20),
                "Beyond {n} kilometres 25 is added, which is never doubled.",
                "From what distance on does it cost more?",
                "far distance kilometres beyond long more km",
            ),
            rounding(),
        ),
        """
import math

def parcel_price(weight, distance):
    kilograms = <unit>
    total = <base> + <per_kilo> * kilograms
    if kilograms >= <heavy>:
        total = total * 2
    if distance > <far>:
        total = total + 25
    <nudge>
    return <rounding>
""",
        lambda rng: (rng.choice([rng.randint(1, 90), rng.randint(100, 60_000)]) + 0.37, rng.randint(10, 1000)),
    ),
    Family(
        "duration_text",
        "def duration_text(seconds)",
        "I want a function that shows a number of seconds as a readable time for my running club.",
        (
            number(
                "offset",
                range(1, 60),
                "For the start signal, {n} seconds are added first.",
                "Is anything added to the seconds first?",
                "add offset start first change before",
            ),
            choice(
                "zero_hours",
                "Are hours shown when they are zero?",
                "zero hours show always empty display",
                ("hidden", "hours > 0", "Hours are left out when they are zero."),
                ("shown", "True", "Hours are always shown, even when they are zero."),
                ("never", "False", "Hours are never shown: minutes go on beyond 59."),
                ("from two", "hours > 1", "Hours are shown from two hours on; before that, minutes go on beyond 59."),
            ),
            choice(
                "padding",
                "Are numbers filled up with zeros?",
                "pad padding digits fill leading zeros two",
                ("two", "'{:02d}'", "Every number has two digits at least."),
                ("none", "'{}'", "Numbers are not filled up with zeros."),
                ("three", "'{:03d}'", "Every number has three digits at least."),
                ("spaces", "'{:2d}'", "Numbers with one digit get a space before them."),
            ),
            choice(
                "units",
                "Which letters stand after the numbers?",
                "letters unit label after abbreviation suffix write words h m s",
                ("none", "('', '', '')", "No letters stand after the numbers."),
                ("short", "('h', 'm', 's')", "The letters h, m and s stand after the numbers."),
                ("capital", "('H', 'M', 'S')", "The capital letters H, M and S stand after the numbers."),
                ("long", "(' hr', ' min', ' sec')", "A space and hr, min or sec stand after the numbers."),
            ),
            separator(),
            invalid("seconds <= 0"),
        ),
        """
def duration_text(seconds):
    <invalid>
    seconds = seconds + <offset>
    hours = seconds // 3600
    numbers, letters = [hours, seconds // 60 % 60, seconds % 60], <units>
    if not (<zero_hours>):
        numbers, letters = [seconds // 60, seconds % 60], letters[1:]
    return <separator>.join(<padding>.format(n) + letter for n, letter in zip(numbers, letters))
""",
        lambda rng: (
            rng.choice([rng.randint(-5, 0), rng.randint(1, 300), rng.randint(3500, 9000), rng.randint(3000, 40_000)]),
        ),
    ),
    Family(
        "alarm_hours",
        "def alarm_hours(values)",
        "I need a function that looks through hourly temperature readings of my greenhouse and reports when it was too hot.",
        (
            missing_readings(),
            number(
                "limit",
                range(10, 50),
                "It is too hot from {n} degrees on.",
                "From what temperature on is it too hot?",
                "hot temperature degrees limit threshold warm above",
            ),
            side("value", "<limit>"),
            number(
                "first_hour",
                range(0, 24),
                "The first reading is of hour {n}.",
                "Which hour is the first reading of?",
                "hour first begin start clock midnight time",
            ),
            choice(
                "report",
                "What should it report?",
                "report return output result list number answer format want give",
                ("hours", "hot", "It reports the list of hot hours."),
                ("count", "len(hot)", "It reports how many hours were hot."),
                (
                    "first and last",
                    "[hot[0], hot[-1]] if hot else []",
                    "It reports the first and the last hot hour, or an empty list.",
                ),
                ("sum", "sum(hot)", "It reports the sum of the hot hours."),
            ),
        ),
        """
def alarm_hours(values):
    hot = []
    for number, value in enumerate(values):
        if value is None:
            <missing>
        if <side>:
            hot.append((number + <first_hour>) % 24)
    return <report>
""",
        _values(8, 50),
    ),
    Family(
        "make_code",
        "def make_code(title)",
        "Please write a function that makes a short code out of a title, for the labels in my archive.",
        (
            number(
                "shelf",
                range(10, 90),
                "At the beginning stands the number of my shelf, {n}, as one more part.",
                "Does anything stand at the beginning?",
                "beginning begin start front before prefix shelf",
            ),
            number(
                "letters",
                range(2, 8),
                "Each word keeps its first {n} letters.",
                "How many letters of each word are kept?",
                "letters each keep long characters length per abbreviation",
            ),
            number(
                "words",
                range(1, 6),
                "Of the words in that order, only the first {n} are used.",
                "How many words are used?",
                "words many most use all maximum limit",
            ),
            separator(),
            choice(
                "case",
                "Upper or lower case?",
                "case upper lower capital uppercase lowercase small",
                ("upper", ".upper()", "The code is in capitals."),
                ("lower", ".lower()", "The code is in small letters."),
                ("title", ".title()", "Each part begins with a capital letter, and the rest is small."),
                ("swap", ".swapcase()", "Capitals become small letters and the other way round."),
            ),
            choice(
                "order",
                "In what order do the words go?",
                "order sort sequence reverse go come alphabetical keep first",
                ("as is", "words", "The words stay in their order."),
                ("alphabet", "sorted(words, key=str.lower)", "The words are sorted from a to z, whatever their case."),
                ("reversed", "words[::-1]", "The words go in reverse order."),
                (
                    "longest",
                    "sorted(words, key=lambda w: (-len(w), w.lower()))",
                    "The longest word comes first; equally long ones go from a to z, whatever their case.",
                ),
            ),
            choice(
                "ending",
                "Does anything stand at the end?",
                "end ending suffix append last check anything",
                ("length", "str(len(title))", "At the end stands how many characters the title has, as one more part."),
                (
                    "count",
                    "str(len(title.split()))",
                    "At the end stands how many words the title has, as one more part.",
                ),
                (
                    "vowels",
                    "str(sum(c in 'aeiou' for c in title.lower()))",
                    "At the end stands how many vowels the title has, as one more part.",
                ),
                (
                    "first",
                    "title[0]",
                    "At the end the title's first letter stands again, as it is in the title, as one more part.",
                ),
            ),
        ),
        """
def make_code(title):
    words = title.split()
    words = (<order>)[:<words>]
    parts = ["<shelf>", *(word[:<letters>]<case> for word in words)]
    parts.append(<ending>)
    return <separator>.join(parts)
""",
        lambda rng: (" ".join(w.title() if rng.random() < 0.5 else w for w in _words(rng, 8)),),
    ),
    Family(
        "reorder",
        "def reorder(stock, daily_sales)",
        "I need a function that says how many pieces of an article to order from what is in stock and what is sold each day.",
        (
            number(
                "days",
                range(5, 60),
                "The stock should last for {n} days.",
                "For how many days should the stock last?",
                "days long last cover lead period",
            ),
            number(
                "pack",
                range(4, 40),
                "Pieces come in packs of {n}, and only whole packs are ordered.",
                "Do the pieces come in packs?",
                "pack box whole size minimum single individually",
            ),
            number(
                "safety",
                range(5, 90),
                "There should always be {n} pieces more than that.",
                "Is there a safety stock?",
                "safety reserve more extra always buffer",
            ),
            number(
                "most_pieces",
                range(300, 1500, 20),
                "At most {n} pieces are ordered at once, even if that breaks a pack.",
                "Is there a largest order?",
                "most largest maximum once cap limit upper",
            ),
            choice(
                "enough",
                "What should it say when there is enough in stock?",
                "enough nothing sufficient none needed full no",
                ("zero", "0", "When there is enough it says zero."),
                ("text", "'enough'", "When there is enough it says the text enough."),
                ("minus", "-1", "When there is enough it says minus one."),
                ("none", "None", "When there is enough it says None."),
            ),
        ),
        """
def reorder(stock, daily_sales):
    wanted = daily_sales * <days> + <safety> - stock
    if wanted <= 0:
        return <enough>
    packs = -(-wanted // <pack>)
    return min(packs * <pack>, <most_pieces>)
""",
        lambda rng: (rng.randint(0, 700), rng.randint(0, 30)),
    ),
    Family(
        "late_fee",
        "def late_fee(days_late, amount)",
        "Our library needs a function for the fee on books that come back late.",
        (
            number(
                "grace",
                range(1, 16),
                "The first {n} days cost nothing.",
                "Are the first days free?",
                "grace free first nothing when start",
            ),
            number(
                "daily",
                range(2, 40),
                "Each further day costs {n}.",
                "What does each day cost?",
                "day daily each per cost much",
            ),
            number(
                "share",
                range(10, 80),
                "Before it is rounded, the fee with all that is added is held at {n} percent of the amount.",
                "Is there a highest fee?",
                "percent highest maximum cap never share most limit",
            ),
            number(
                "letter",
                range(5, 45),
                "From the day {n} on, 12 is added for a letter.",
                "Is there anything extra for very late books?",
                "letter extra very long reminder add else",
            ),
            rounding(),
            invalid("days_late <= 0"),
        ),
        """
import math

def late_fee(days_late, amount):
    <invalid>
    total = max(0, days_late - <grace>) * <daily>
    if days_late >= <letter>:
        total = total + 12
    total = min(total, amount * <share> / 100)
    <nudge>
    return <rounding>
""",
        lambda rng: (
            rng.choice([rng.randint(-2, 3), rng.randint(1, 60)]),
            rng.choice([rng.randint(20, 300), rng.randint(500, 4000)]) + 0.3,
        ),
    ),
    Family(
        "split_bill",
        "def split_bill(amounts, people)",
        "My friends and I want a function that splits a bill among people, with a tip, and says what each one pays in whole cents.",
        (
            number(
                "tip",
                range(3, 30),
                "The tip is {n} percent, rounded down to whole cents.",
                "How high is the tip?",
                "tip percent",
            ),
            choice(
                "remainder",
                "Who pays the cents that are left over?",
                "left over remainder rest remaining who cents divide evenly",
                (
                    "first",
                    "[each + (1 if n < rest else 0) for n in range(people)]",
                    "The cents left over are paid by the first ones, one each.",
                ),
                (
                    "last",
                    "[each + (1 if n >= people - rest else 0) for n in range(people)]",
                    "The cents left over are paid by the last ones, one each.",
                ),
                (
                    "all first",
                    "[each + (rest if n == 0 else 0) for n in range(people)]",
                    "The first one pays all the cents that are left over.",
                ),
                (
                    "all last",
                    "[each + (rest if n == people - 1 else 0) for n in range(people)]",
                    "The last one pays all the cents that are left over.",
                ),
            ),
            number(
                "cover",
                range(10, 400, 5),
                "A cover charge of {n} cents a person comes on top, before the tip.",
                "Is there a cover charge?",
                "cover charge person top extra each service additional head",
            ),
            number(
                "rebate",
                range(50, 900, 10),
                "A voucher takes off {n} cents at the very end, but never below zero.",
                "Is there a voucher or rebate?",
                "voucher rebate off coupon reduce discount",
            ),
            invalid("people <= 0"),
        ),
        """
def split_bill(amounts, people):
    <invalid>
    total = sum(amounts) + <cover> * people
    total = total + total * <tip> // 100
    total = max(0, total - <rebate>)
    each, rest = divmod(total, people)
    return <remainder>
""",
        lambda rng: (
            [rng.randint(100, 4000) for _ in range(rng.randint(1, 5))],
            rng.choice([rng.randint(-1, 0), rng.randint(1, 7), rng.randint(2, 7)]),
        ),
    ),
    Family(
        "leave_days",
        "def leave_days(years, hours_a_week)",
        "I need a function that gives the days of leave of an employee from the years in the firm and the hours a week.",
        (
            number(
                "base",
                range(14, 56),
                "Everybody has {n} days to begin with.",
                "How many days does everybody have?",
                "base everybody begin basic new start",
            ),
            number(
                "every",
                range(2, 9),
                "Every {n} whole years there is one day more.",
                "After how many years is there a day more?",
                "years every seniority after long firm",
            ),
            number(
                "full",
                range(34, 46),
                "Full time is {n} hours a week; who works less gets a share of the days.",
                "How many hours are full time?",
                "full time hours week part",
            ),
            number(
                "most_days",
                range(24, 66),
                "Nobody gets more than {n} days, which is seen to before rounding.",
                "Is there a largest number of days?",
                "most nobody maximum largest cap limit",
            ),
            rounding(),
        ),
        """
import math

def leave_days(years, hours_a_week):
    total = <base> + years // <every>
    total = total * min(1, hours_a_week / <full>)
    total = min(total, <most_days>)
    <nudge>
    return <rounding>
""",
        lambda rng: (rng.randint(0, 40), rng.choice([rng.randint(8, 48), rng.randint(15, 46)])),
    ),
    Family(
        "points",
        "def points(purchases)",
        "Please write a function for our bonus card: it turns a list of purchases into points.",
        (
            number(
                "per",
                range(2, 20),
                "There is one point for every {n} spent, for each purchase by itself, parts left out.",
                "How much must be spent for one point?",
                "spend every one per each much euro",
            ),
            number(
                "least",
                range(5, 45),
                "Purchases below {n} bring nothing.",
                "Do small purchases count?",
                "small least minimum below nothing count all",
            ),
            number(
                "welcome",
                range(3, 90),
                "As a welcome, {n} points are given.",
                "Are there points as a welcome?",
                "welcome gift begin start bonus new sign",
            ),
            choice(
                "best",
                "Does any purchase count more than once?",
                "double twice once any special more",
                ("largest", "max(kept)", "The points of the largest purchase are given twice."),
                ("last", "kept[-1]", "The points of the last purchase that counts are given twice."),
                ("first", "kept[0]", "The points of the first purchase that counts are given twice."),
                ("smallest", "min(kept)", "The points of the smallest purchase that counts are given twice."),
            ),
            number(
                "most_points",
                range(40, 240, 4),
                "Nobody gets more than {n} points.",
                "Is there a largest number of points?",
                "most maximum nobody cap limit largest",
            ),
        ),
        """
def points(purchases):
    kept = [p for p in purchases if p >= <least>]
    total = <welcome> + sum(p // <per> for p in kept)
    if kept:
        total = total + <best> // <per>
    return min(total, <most_points>)
""",
        lambda rng: ([rng.randint(1, 150) for _ in range(rng.randint(2, 7))],),
    ),
)
