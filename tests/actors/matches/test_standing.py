from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.matches.standing import MOST_JOINED, ReportBatch, Standing

NAMES = ("a", "b", "c")
names = st.sampled_from(NAMES)
steps = st.lists(
    st.tuples(st.just("runs"), names, st.integers(0, 3))
    | st.tuples(st.just("ends"), names, st.booleans())
    | st.tuples(st.just("leaves"), names, st.just(0))
    | st.tuples(st.sampled_from(["write", "fail"]), st.just(""), st.integers(1, 3)),
    max_size=30,
)


def test_of_each_match_the_last_report_is_written_and_ends_come_first() -> None:
    standing = Standing()
    for players in (1, 2, 1):
        standing.runs("a", players)
    standing.runs("b", 0)
    standing.ends("c")
    assert standing.to_write(10) == ReportBatch([("a", 1), ("b", 0)], [("c", True)])
    assert standing.to_write(2) == ReportBatch([("a", 1)], [("c", True)])
    standing.runs("b", 3)
    standing.written(ReportBatch([("a", 1), ("b", 0)], [("c", True)]))
    assert standing.to_write(10) == ReportBatch([("b", 3)], [])
    standing.ends("b", keeps_key=False)
    assert standing.to_write(10) == ReportBatch([], [("b", False)])


def test_who_has_joined_is_written_once_and_the_oldest_are_given_up_first() -> None:
    standing = Standing()
    standing.joins("a", "ada")
    standing.joins("a", "bob")
    standing.joins("a", "ada")
    assert standing.to_write(1).joined == (("bob", "a"),)
    standing.written(standing.to_write(1))
    assert standing.to_write(10).joined == (("ada", "a"),)
    for number in range(MOST_JOINED):
        standing.joins("b", str(number))
    assert standing.to_write(1).joined == (("0", "b"),)


def test_the_first_end_that_waits_rings() -> None:
    rings: list[None] = []
    standing = Standing()
    standing.ring = lambda: rings.append(None)
    standing.ends("a")
    standing.ends("b")
    assert len(rings) == 1
    standing.written(standing.to_write(10))
    standing.runs("c", 1)
    assert len(rings) == 1
    standing.ends("c")
    assert len(rings) == 2


def test_a_match_that_was_called_is_waited_for_until_it_reports() -> None:
    standing = Standing()
    standing.expects(NAMES)
    standing.runs("a", 0)
    standing.ends("b")
    standing.leaves("c")
    assert standing.unheard() == ["c"]


@given(steps)
def test_whatever_fails_in_between_the_rows_come_to_say_what_was_reported(
    steps: list[tuple[str, str, int]],
) -> None:
    standing = Standing()
    said: dict[str, int] = {}
    ended: set[str] = set()
    rows: dict[str, int] = {}
    gone: set[str] = set()

    def write(most: int, *, succeeds: bool = True) -> None:
        batch = standing.to_write(most)
        assert len(batch.running) + len(batch.ended) <= most
        if succeeds:
            rows.update(batch.running)
            gone.update(match for match, _ in batch.ended)
            standing.written(batch)

    for what, match, value in steps:
        if match in ended:
            continue
        match what:
            case "runs":
                standing.runs(match, value)
                said[match] = value
            case "ends":
                standing.ends(match, keeps_key=bool(value))
                said.pop(match, None)
                ended.add(match)
            case "leaves":
                standing.leaves(match)
                said.pop(match, None)
            case _:
                write(value, succeeds=what == "write")
        for name in NAMES:
            assert standing.players(name) == said.get(name)
        assert standing.ended() == ended - gone
    for _ in range(len(NAMES) + 1):
        write(1)
    assert gone == ended
    assert rows.items() >= said.items()
