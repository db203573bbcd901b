"""The roster compared with a simple model: a list of (session, user) in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.chat.rules.roster import Roster

Moves = st.lists(
    st.tuples(st.booleans(), st.integers(0, 7), st.integers(0, 2)), max_size=60
)  # (come or go, session, user)


@given(Moves)
def test_a_user_is_there_once_from_the_first_session_to_the_last(
    moves: list[tuple[bool, int, int]],
) -> None:
    roster: Roster[str] = Roster()
    sessions: dict[str, str] = {}
    users: list[str] = []
    for comes, session_number, user_number in moves:
        session, user = f"s{session_number}", f"u{user_number}"
        if comes:
            new = session not in sessions and user not in users
            assert roster.add(session, user, user.upper()) == new
            sessions.setdefault(session, user)
            if new:
                users.append(user)
        else:
            owner = sessions.pop(session, None)
            gone = owner is not None and owner not in sessions.values()
            assert roster.remove(session) == (owner.upper() if owner and gone else None)
            if owner and gone:
                users.remove(owner)
        assert roster.first(100) == [name.upper() for name in users]
        assert roster.users == len(users)
        assert len(roster) == len(sessions)
        assert [roster.person(s) for s in sessions] == [u.upper() for u in sessions.values()]


def test_the_first_few_are_those_who_came_first() -> None:
    roster: Roster[str] = Roster()
    for name in ("ada", "bob", "cyd"):
        roster.add(f"session of {name}", name, name)
    assert roster.first(2) == ["ada", "bob"]
    assert "session of cyd" in roster
    assert roster.person("nobody's") is None
