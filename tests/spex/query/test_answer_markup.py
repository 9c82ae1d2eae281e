"""The grammar of answers: spans, slots, refusals."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spex.errors import AnswerError
from spex.query.answer_markup import FACTS, INDEX_FACTS, fill_slots, format_span, parse_answer
from spex.query.constraints import AREA_UNITS, SCENE_PARTS, Constraints, Distance, IndexCondition
from spex.query.prompt import SPECIAL_TOKENS

names = st.text(string.ascii_lowercase + "_", min_size=1, max_size=12)
areas = st.tuples(st.floats(0, 1e12), st.sampled_from(sorted(AREA_UNITS)))
conditions = st.builds(
    IndexCondition,
    st.text(string.ascii_letters + string.digits, min_size=1, max_size=8),
    st.sampled_from(["above", "below"]),
    st.floats(-1e6, 1e6),
)
distances = st.lists(st.builds(Distance, names, st.floats(0, 1e7)), max_size=2).map(tuple)
counts = st.none() | st.integers(1, 10**6) | st.integers(-(10**6), -1)
constraints = st.builds(
    Constraints,
    min_area=st.none() | areas,
    max_area=st.none() | areas,
    where=st.lists(
        st.sampled_from([*SCENE_PARTS, *(f"-{part}" for part in SCENE_PARTS)]), max_size=3
    ).map(tuple),
    top=counts,
    bottom=counts,
    index=st.lists(conditions, max_size=3).map(tuple),
    exclude=st.lists(names, max_size=3).map(tuple),
    near=distances,
    far=distances,
)
fragments = st.sampled_from(
    [*"<>/|: =,.10", "<seg class=", "</seg>", "<fact:", "area", "water", "<refuse>", "</refuse>"]
)
phrases = st.text(
    st.characters(exclude_characters="<>", exclude_categories=("Cs",)), min_size=1, max_size=40
)


class TestSpans:
    @given(names, phrases, constraints)
    def test_what_is_written_is_read_back(
        self, name: str, phrase: str, wanted: Constraints
    ) -> None:
        (span,) = parse_answer(format_span(name, phrase, wanted)).spans
        assert (span.class_name, span.phrase, span.constraints) == (name, phrase, wanted)

    @given(st.lists(st.tuples(names, phrases, constraints), min_size=1, max_size=4))
    def test_several_spans_keep_their_order_and_places(
        self, given_spans: list[tuple[str, str, Constraints]]
    ) -> None:
        written = [format_span(*one) for one in given_spans]
        text = " and ".join(written)
        answer = parse_answer(text)
        assert [text[span.start : span.end] for span in answer.spans] == written
        assert (
            fill_slots(answer, lambda *_: "?")
            == " and ".join(phrase for _, phrase, _ in given_spans).strip()
        )

    @given(constraints)
    def test_every_attribute_is_a_token_of_the_language(self, wanted: Constraints) -> None:
        text = format_span("water", "lakes", wanted)
        for name in wanted.to_dict():
            assert text.count(f" {name}=") == 1
            # The language model was not taught the newest ones; the rules write them.
            assert f" {name}=" in SPECIAL_TOKENS or name in ("bottom", "near", "far")

    def test_attributes_stand_in_the_order_of_the_grammar(self) -> None:
        wanted = Constraints(
            min_area=(1, "ha"),
            max_area=(2.5, "km2"),
            where=("north", "-center", "west_third"),
            top=3,
            bottom=-2,
            index=(IndexCondition("NDVI", "above", 0.6), IndexCondition("NDVI", "below", 0.8)),
            exclude=("cropland", "wetland"),
            near=(Distance("road", 100), Distance("water", 0.5)),
            far=(Distance("built", 1000),),
        )
        assert format_span("vegetation", "woods", wanted) == (
            "<seg class=vegetation min_area=1ha max_area=2.5km2 where=north+-center+west_third"
            " top=3 bottom=-2 index=NDVI:above:0.6,NDVI:below:0.8 not=cropland,wetland"
            " near=road:100,water:0.5 far=built:1000>woods</seg>"
        )

    def test_constraints_that_are_not_set_do_not_appear(self) -> None:
        assert Constraints().to_dict() == {}
        assert Constraints(min_area=(1, "ha"), exclude=("bare",)).to_dict() == {
            "min_area": "1ha",
            "not": "bare",
        }

    @pytest.mark.parametrize(
        "text",
        [
            "<seg>water</seg>",
            "<seg class=>water</seg>",
            "<seg class=Water>water</seg>",
            "<seg class=water>water",
            "water</seg>",
            "<seg class=water><seg class=bare>both</seg></seg>",
            "<seg class=water min_area=1>water</seg>",
            "<seg class=water min_area=-1ha>water</seg>",
            "<seg class=water where=upstairs>water</seg>",
            "<seg class=water top=0>water</seg>",
            "<seg class=water index=NDVI:over:0.1>water</seg>",
            "<seg class=water index=NDVI:above:1,>water</seg>",
            "<seg class=water colour=blue>water</seg>",
            "<seg class=water class=bare>water</seg>",
            "<seg class=water where=north min_area=1ha>the order is fixed</seg>",
            "<refuse>no reason is closed",
            "<script>alert(1)</script>",
            "<|im_end|>",
        ],
    )
    def test_malformed_markup_is_refused(self, text: str) -> None:
        with pytest.raises(AnswerError, match="malformed markup"):
            parse_answer(text)

    @given(st.lists(fragments, max_size=20).map("".join))
    def test_any_text_is_an_answer_or_an_answer_error(self, text: str) -> None:
        try:
            parse_answer(text)
        except AnswerError as error:
            assert "\n" not in str(error)

    def test_a_lower_than_sign_in_prose_is_no_markup(self) -> None:
        assert parse_answer("NDVI < 0.2 and 3 > 2").spans == ()


class TestSlots:
    ANSWER = (
        "I found <seg class=water>open water</seg>: <fact:area>, MNDWI <fact:index:MNDWI>; "
        "and <seg class=bare>sand</seg>: <fact:count>."
    )

    def test_a_slot_belongs_to_the_nearest_span_before_it(self) -> None:
        filled = fill_slots(
            parse_answer(self.ANSWER), lambda span, name, index: f"[{span} {name} {index}]"
        )
        assert (
            filled
            == "I found open water: [0 area None], MNDWI [0 index MNDWI]; and sand: [1 count None]."
        )

    def test_a_value_that_looks_like_markup_is_not_read_again(self) -> None:
        calls: list[str] = []

        def fact(span: int, name: str, index: str | None) -> str:
            calls.append(name)
            return "1 < 2"

        assert (
            fill_slots(parse_answer("<seg class=water>lake</seg> <fact:area>"), fact)
            == "lake 1 < 2"
        )
        assert calls == ["area"]

    @pytest.mark.parametrize("name", FACTS)
    def test_every_fact_is_known(self, name: str) -> None:
        assert parse_answer(f"<seg class=water>lake</seg> <fact:{name}>").spans
        assert f"<fact:{name}>" in SPECIAL_TOKENS

    @pytest.mark.parametrize("name", INDEX_FACTS)
    def test_index_facts_need_an_index(self, name: str) -> None:
        assert parse_answer(f"<seg class=water>lake</seg> <fact:{name}:NDVI>").spans
        with pytest.raises(AnswerError, match="unknown"):
            parse_answer(f"<seg class=water>lake</seg> <fact:{name}>")

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("<fact:area> without a span", "without a span"),
            ("<seg class=water>lake</seg> <fact:weight>", "unknown"),
            ("<seg class=water>lake</seg> <fact:area:NDVI>", "unknown"),
            ("<fact:area> before <seg class=water>lake</seg>", "without a span"),
        ],
    )
    def test_slots_that_cannot_be_filled_are_refused(self, text: str, why: str) -> None:
        with pytest.raises(AnswerError, match=why):
            parse_answer(text)

    def test_a_refusal_is_its_reason(self) -> None:
        answer = parse_answer("<refuse>Cars are smaller than a pixel.</refuse>")
        assert answer.refusal == "Cars are smaller than a pixel."
        assert answer.spans == ()
        assert fill_slots(answer, lambda *_: "?") == "Cars are smaller than a pixel."
