"""What all report pages share: numbers are told as they are, charts are in proportion, marks stay in their place."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from schemas.tables import Named
from tasks.pages.charts import Plot, columns, frame_ticks, tag, word_bars
from tasks.pages.colours import css, of_unit
from tasks.pages.marks import find_phrase, mark_spans
from tasks.pages.views import evenly_spaced
from tasks.pages.wording import brief, counted, percent, signed, usd

# --- Choices and wording ------------------------------------------------------------------------


def test_choices_are_even_and_keep_the_order() -> None:
    assert evenly_spaced(range(10), 3) == [0, 3, 6]
    assert evenly_spaced(range(2), 3) == [0, 1]
    assert evenly_spaced([], 3) == []


@pytest.mark.parametrize(
    ("share", "shown"), [(1.0, "100 %"), (0.999, "99 %"), (0.29, "29 %"), (0.0, "0 %"), (None, "–")]
)
def test_a_share_is_complete_only_if_it_is(share: float | None, shown: str) -> None:
    assert percent(share) == shown


@pytest.mark.parametrize(
    ("value", "told"), [(0, "$0.00"), (0.00123, "$0.0012"), (0.25, "$0.2500"), (1.005, "$1.00"), (1234.5, "$1,234.50")]
)
def test_dollars(value: float, told: str) -> None:
    assert usd(value) == told


@pytest.mark.parametrize(("n", "told"), [(0, "0 clips"), (1, "1 clip"), (3400, "3,400 clips")])
def test_one_is_told_in_the_singular(n: int, told: str) -> None:
    assert counted(n, "clip") == told


@pytest.mark.parametrize(("value", "told"), [(-0.125, "−0.12"), (0.5, "0.50"), (-0.001, "0.00"), (-1, "−1.00")])
def test_a_minus_is_as_long_as_a_plus_and_no_zero_has_one(value: float, told: str) -> None:
    assert signed(value) == told


@pytest.mark.parametrize(
    ("n", "told"), [(0, "0"), (999, "999"), (1000, "1.0k"), (9949, "9.9k"), (9950, "10k"), (34_000, "34k")]
)
def test_a_brief_count_has_four_characters_at_most(n: int, told: str) -> None:
    assert brief(n) == told


# --- Marks -----------------------------------------------------------------------------------


def test_of_two_marks_that_overlap_the_longer_is_drawn() -> None:
    assert mark_spans("a red ball rolls", [(2, 5, "#1"), (0, 10, "#2"), (11, 16, "#3")]) == [
        ("a red ball", "#2"),
        (" ", None),
        ("rolls", "#3"),
    ]


def test_a_phrase_is_found_as_whole_words_whatever_is_between_them() -> None:
    text = "The red\ncube, a redcube and RED  CUBE"
    assert [text[start:end] for start, end in find_phrase(text, "red cube", r"(?:the\s+)?")] == [
        "The red\ncube",
        "RED  CUBE",
    ]


def test_colours_outside_of_their_range_are_cut_off() -> None:
    assert css(of_unit((1.2, -0.1, 0.5))) == "#ff0080"


# --- Charts ----------------------------------------------------------------------------------


def numbers_in(svg: str) -> list[str]:
    return [text for e in ElementTree.fromstring(svg).iter("text") if (text := e.text)]


def test_elements_escape_what_they_are_given() -> None:
    assert tag("text", "<b>", 7, tag("g"), class_="axis", x=1.26, y=None, data_step='"') == (
        '<text class="axis" x="1.3" data-step="&#34;">&lt;b&gt;7<g></g></text>'
    )


def test_a_plot_places_values_between_its_margins() -> None:
    plot = Plot(100, 50, x=(0, 10), y=(-1, 1), left=20, top=5, right=10, bottom=15)
    assert plot.place([(0, -1), (10, 1), (5, 0)]).tolist() == [[20, 35], [90, 5], [55, 20]]
    assert (plot.x_of(5), plot.y_of(0)) == (55, 20)
    bar = ElementTree.fromstring(plot.bar((0, 10), (-1, 1), "bar", gap=4))
    assert [float(bar.attrib[side]) for side in ("x", "y", "width", "height")] == [22, 5, 66, 30]
    assert ElementTree.fromstring(plot.playhead()).attrib["data-step"] == "7.000"


def test_columns_are_as_high_as_their_counts() -> None:
    bars = [float(e.attrib["height"]) for e in ElementTree.fromstring(columns([0, 4, 2], "x")).iter("rect")]
    assert bars[0] == 0
    assert bars[1] == 2 * bars[2] > 0


def test_word_bars_escape_and_keep_the_order() -> None:
    assert numbers_in(word_bars([Named(name="<b>&", n=3), Named(name="hold", n=1)])) == ["<b>&", "3", "hold", "1"]


def test_bars_tell_their_counts_where_there_is_room_and_the_tallest_always() -> None:
    wide, narrow = columns([7, 12345, 7], "x"), columns([7, 12345] + [7] * 30, "frame", every=10)
    assert [text for text in numbers_in(wide) if text in ("7", "12345")] == ["7", "12345", "7"]
    assert numbers_in(narrow) == ["0", "12345", "10", "20", "30", "frame"]
    titles = [e.text for e in ElementTree.fromstring(narrow).iter("title")]
    assert titles[1:3] == ["1: 12345", "2: 7"], "a touch tells every count"


def test_columns_may_have_names() -> None:
    assert numbers_in(columns([1, 2], "m/s", ["0.0", "0.1"])) == ["1", "0.0", "2", "0.1", "m/s"]


def test_bars_may_have_colours_of_their_own() -> None:
    words = [Named(name="red", n=2), Named(name="blue", n=1)]
    bars = list(ElementTree.fromstring(word_bars(words, {"red": "#ff0000"})).iter("rect"))
    assert [bar.get("style") for bar in bars] == ["--c: #ff0000", None]


def test_frames_are_named_in_round_steps() -> None:
    assert frame_ticks(24, 12) == {0: "0", 2: "2", 4: "4", 6: "6", 8: "8", 10: "10", 12: "12"} | {
        frame: str(frame) for frame in range(14, 24, 2)
    }
    assert list(frame_ticks(81, 9)) == [0, 10, 20, 30, 40, 50, 60, 70, 80]
    assert list(frame_ticks(24, 6)) == [0, 5, 10, 15, 20]
    assert list(frame_ticks(1, 6)) == [0]
    assert list(frame_ticks(5000, 6)) == [0]


@pytest.mark.parametrize("svg", [columns([], "x"), columns([3], "x"), word_bars([])])
def test_charts_of_nothing_are_drawn(svg: str) -> None:
    ElementTree.fromstring(svg)
