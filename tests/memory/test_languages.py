"""Search in other scripts and languages: the right one of twelve facts first, about as often as in English."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from py_rust_stemmers import SnowballStemmer

from memory.edge import EdgeClient
from memory.embedder import LocalEmbedder
from memory.points import Memory
from memory.recall import Message, Recall
from memory.store import QdrantStore
from memory.words import language_of, spelled, words_of, words_of_query
from tests.memory.test_recall import START

FACTS: dict[str, list[tuple[str, str]]] = {
    "English": [
        ("My cat is called Byron and he is three years old.", "What is the name of my cat?"),
        ("I am allergic to peanuts.", "What am I allergic to?"),
        ("My sister works as a nurse in a hospital.", "Where does my sister work?"),
        ("We go to the seaside every summer.", "Where do we go in summer?"),
        ("I was born in Leeds.", "Where was I born?"),
        ("On Tuesdays I play tennis with Martin.", "What do I play on Tuesdays?"),
        ("The wifi password is on the fridge.", "Where is the wifi password?"),
        ("My favourite dish is mushroom soup.", "Which dish do I like most?"),
        ("The meeting was moved to four o'clock.", "When is the meeting?"),
        ("I am reading a book about whales.", "Which book am I reading?"),
        ("Our car is being repaired.", ""),
        ("The neighbours have a new dog.", ""),
    ],
    "Chinese": [
        ("我的猫叫拜伦，今年三岁。", "猫叫什么名字？"),
        ("我对花生过敏。", "我对什么过敏？"),
        ("我姐姐在医院当护士。", "姐姐在哪里工作？"),
        ("每年夏天我们都去海边。", "夏天我们去哪里？"),
        ("我出生在苏州。", "我在哪里出生？"),
        ("星期二我和马丁打网球。", "星期二打什么球？"),
        ("无线网络的密码贴在冰箱上。", "密码在哪里？"),
        ("我最喜欢的菜是蘑菇汤。", "我喜欢什么菜？"),
        ("会议改到了四点。", "会议几点？"),
        ("我在读一本关于鲸鱼的书。", "我在读什么书？"),
        ("我们的车正在修理。", ""),
        ("邻居养了一只新狗。", ""),
    ],
    "Japanese": [
        ("私の猫の名前はバイロンで、三歳です。", "猫の名前は何ですか？"),
        ("私はピーナッツアレルギーです。", "何のアレルギーがありますか？"),
        ("姉は病院で看護師として働いています。", "姉はどこで働いていますか？"),
        ("毎年夏に海へ行きます。", "夏にどこへ行きますか？"),
        ("私は京都で生まれました。", "どこで生まれましたか？"),
        ("火曜日にマーティンとテニスをします。", "火曜日に何をしますか？"),
        ("無線のパスワードは冷蔵庫に貼ってあります。", "パスワードはどこですか？"),
        ("一番好きな料理はきのこスープです。", "好きな料理は何ですか？"),
        ("会議は四時に変更されました。", "会議は何時ですか？"),
        ("クジラについての本を読んでいます。", "どんな本を読んでいますか？"),
        ("うちの車は修理中です。", ""),
        ("隣の人が新しい犬を飼いました。", ""),
    ],
    "Korean": [
        ("내 고양이의 이름은 바이런이고 세 살이다.", "고양이 이름이 뭐야?"),
        ("나는 땅콩 알레르기가 있다.", "무슨 알레르기가 있어?"),
        ("누나는 병원에서 간호사로 일한다.", "누나는 어디에서 일해?"),
        ("우리는 매년 여름에 바다에 간다.", "여름에 어디에 가?"),
        ("나는 부산에서 태어났다.", "내가 어디서 태어났지?"),
        ("화요일마다 마틴과 테니스를 친다.", "화요일에 뭐 해?"),
        ("와이파이 비밀번호는 냉장고에 붙어 있다.", "비밀번호가 어디 있어?"),
        ("내가 가장 좋아하는 음식은 버섯 수프다.", "좋아하는 음식이 뭐야?"),
        ("회의가 네 시로 바뀌었다.", "회의는 몇 시야?"),
        ("나는 고래에 관한 책을 읽고 있다.", "무슨 책을 읽고 있어?"),
        ("우리 차는 수리 중이다.", ""),
        ("이웃이 새 강아지를 키운다.", ""),
    ],
    "Thai": [
        ("แมวของฉันชื่อไบรอน อายุสามขวบ", "แมวชื่ออะไร"),
        ("ฉันแพ้ถั่วลิสง", "ฉันแพ้อะไร"),
        ("พี่สาวทำงานเป็นพยาบาลในโรงพยาบาล", "พี่สาวทำงานที่ไหน"),
        ("ทุกฤดูร้อนเราไปทะเล", "ฤดูร้อนเราไปไหน"),
        ("ฉันเกิดที่เชียงใหม่", "ฉันเกิดที่ไหน"),
        ("วันอังคารฉันเล่นเทนนิสกับมาร์ติน", "วันอังคารฉันเล่นอะไร"),
        ("รหัสผ่านไวไฟติดอยู่ที่ตู้เย็น", "รหัสผ่านอยู่ที่ไหน"),
        ("อาหารที่ฉันชอบที่สุดคือซุปเห็ด", "ฉันชอบอาหารอะไร"),
        ("การประชุมเลื่อนไปเป็นสี่โมง", "การประชุมกี่โมง"),
        ("ฉันกำลังอ่านหนังสือเกี่ยวกับวาฬ", "ฉันกำลังอ่านหนังสืออะไร"),
        ("รถของเรากำลังซ่อม", ""),
        ("เพื่อนบ้านมีหมาตัวใหม่", ""),
    ],
    "German": [
        ("Meine Katze heißt Byron und ist drei Jahre alt.", "Wie heißen meine Katzen?"),
        ("Ich bin allergisch gegen Erdnüsse.", "Wogegen habe ich eine Allergie, gegen eine Erdnuss?"),
        ("Meine Schwester arbeitet als Pflegerin im Krankenhaus.", "Wo arbeiten meine Schwestern?"),
        ("Jeden Sommer fahren wir ans Meer.", "Wohin fahren wir im Sommer?"),
        ("Ich wurde in Leipzig geboren.", "Wo bin ich geboren?"),
        ("Dienstags spiele ich mit Martin Tennis.", "Was spielen Martin und ich am Dienstag?"),
        ("Das Passwort hängt am Kühlschrank.", "Wo hängen die Passwörter?"),
        ("Mein liebstes Gericht ist Pilzsuppe.", "Welche Gerichte sind mir am liebsten?"),
        ("Die Besprechung wurde auf vier Uhr verlegt.", "Wann sind die Besprechungen?"),
        ("Ich lese ein Buch über Wale.", "Welche Bücher lese ich?"),
        ("Unser Auto wird repariert.", ""),
        ("Die Nachbarn haben einen neuen Hund.", ""),
    ],
    "Russian": [
        ("Мою кошку зовут Байрон, ей три года.", "Как зовут моих кошек?"),
        ("У меня аллергия на арахис.", "На что у меня аллергии?"),
        ("Моя сестра работает медсестрой в больнице.", "Где работают сёстры, в какой больнице?"),
        ("Каждое лето мы ездим на море.", "Куда мы ездили каждым летом?"),
        ("Я родился в Казани.", "Где я родилась?"),
        ("По вторникам я играю с Мартином в теннис.", "Во что я играл во вторник?"),
        ("Пароль висит на холодильнике.", "Где пароли?"),
        ("Моё любимое блюдо — грибной суп.", "Какие блюда любимые?"),
        ("Встречу перенесли на четыре часа.", "Когда встреча?"),
        ("Я читаю книгу о китах.", "Какие книги я читаю?"),
        ("Наша машина в ремонте.", ""),
        ("У соседей новая собака.", ""),
    ],
}


def first_ones(store: QdrantStore, language: str) -> int:
    recall = Recall(store, language)
    recall.write(
        [
            Message(str(n), "user", fact, "Ada", "own", START, "t", n, 3 * n)  # no two are neighbours
            for n, (fact, _) in enumerate(FACTS[language])
        ]
    )
    asked = [(question, fact) for fact, question in FACTS[language] if question]
    found = [(recall.nearest(question).items[0].value["text"], fact, question) for question, fact in asked]
    for first, fact, question in found:
        if first != fact:
            print(f"{question} -> {first}")
    return sum(first == fact for first, fact, _ in found)


def test_every_language_is_searched_about_as_well_as_english(tmp_path_factory: pytest.TempPathFactory) -> None:
    with QdrantStore(EdgeClient(tmp_path_factory.mktemp("s")), LocalEmbedder()) as store:
        right = {language: first_ones(store, language) for language in FACTS}
    assert right["English"] >= 9
    assert {name: n for name, n in right.items() if n < right["English"] - 1} == {}


@pytest.mark.parametrize(
    ("text", "language"),
    [("Ich wohne in Berlin und habe zwei Katzen", "de"), ("我的猫叫拜伦", "unspaced"), ("Hi!", "en"), ("", "en"),
     ("Mam dwa koty i psa w domu", "pl"), ("Byron, Ada and 3 others", "en")],
)  # fmt: skip
def test_a_language_is_told_or_taken_for_english(text: str, language: str) -> None:
    assert language_of(text) == language


def test_words_are_stemmed_where_a_stemmer_is_there_and_left_alone_elsewhere() -> None:
    def written(*words: str) -> list[str]:
        return [spelled(word) for word in words]

    assert words_of("Häuser und Katzen", "de").split() == written("haus", "und", "katz")
    assert words_of("Mam dwa koty", "pl").split() == written("mam", "dwa", "koty")
    assert words_of_query("Katzen", ["de", "en", "unspaced"]) == ("Katzen", spelled("katz"))
    assert words_of("Tea in 北京 today", "en").split() == ["tea", "in", "today", *written("北", "京", "北京")]
    assert words_of_query("京", []) == ("", spelled("京"))


@given(st.text(min_size=1))
@example("running")
@example("the")
@example("ที่")
def test_the_english_index_leaves_a_word_of_another_language_as_it_is_spelled(word: str) -> None:
    found = spelled(word)
    assert found.isascii()
    assert found.isalnum()
    assert SnowballStemmer("english").stem_word(found) == found
    assert bytes.fromhex(found[:-1]).decode() == word, "no two words are spelled alike"


def test_a_language_that_is_new_to_the_memory_is_found_at_once(store: QdrantStore) -> None:
    for agent in ("ada", "bob"):
        store.write((agent, "note"), [Memory("en", {"text": "The train is late."}, terms="The train is late.")])
        assert store.rank((agent,), "trenes").total == 0
    text = "El tren llega a las nueve de la noche."
    store.put(("ada", "note"), "es", {"text": text})
    store.write(("bob", "note"), [Memory("es", {"text": text}, terms=text)])
    for prefix in (("ada",), ("bob", "note"), ()):
        assert store.rank(prefix, "trenes").items[0].key == "es"


def test_a_name_in_another_script_is_found_in_an_english_memory(store: QdrantStore) -> None:
    for n, text in enumerate(["We meet in 北京 on Monday.", "We meet in Leeds on Monday.", "The office is in 东京."]):
        store.write(("ada", "note"), [Memory(str(n), {"text": text}, terms=text)])
    assert store.rank(("ada",), "北京").items[0].key == "0"


def test_common_words_of_a_language_that_few_memories_are_in_do_not_outweigh_its_rare_ones(store: QdrantStore) -> None:
    places = "Küche Schule Stadt Kirche Tasche Garage Halle Wohnung".split()
    german = ["Der Zug hat leider Verspätung.", *(f"Die alte Katze ist in der {place}." for place in places)]
    for text in [*(f"The parcel number {n} is in the hall." for n in range(200)), *german]:
        store.write(("ada", "note"), [Memory(text, {"text": text}, terms=text)])
    assert store.rank(("ada",), "Ist der Zug in der Nähe?").items[0].key == german[0]


def test_a_common_word_of_one_language_finds_nothing_of_its_neighbour_first(store: QdrantStore) -> None:
    portuguese = [
        "As filhas dela foram à escola e eu fiquei com as outras, que me chamaram para falar sobre las.",
        "Ela disse que las é uma palavra que ninguém usa mais em casa.",
    ]
    spanish = ["Las víctimas del accidente fueron llevadas al hospital.", "Las niñas juegan en el parque cada tarde."]
    for text in [*portuguese, *spanish, *(f"Las cajas número {n} están en el almacén." for n in range(30))]:
        store.write(("ada", "note"), [Memory(text, {"text": text}, terms=text)])
    assert store.rank(("ada",), "las víctimas").items[0].key == spanish[0]


@pytest.mark.parametrize(
    ("text", "language"),
    [("BYE!", "en"), ("Bye!", "en"), ("DAS PASSWORT HÄNGT AM KÜHLSCHRANK.", "de"), ("У СОСЕДЕЙ НОВАЯ СОБАКА.", "ru")],
)  # fmt: skip
def test_capitals_are_taken_for_no_other_language(text: str, language: str) -> None:
    assert language_of(text) == language
