"""Rows of a batch and the sessions that they belong to, read off their TransferQueue keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Sessions(NamedTuple):
    """The sessions of a batch; axis S runs over them in order of their first row."""

    uids: list[str]
    """[S] uid of the session's prompt."""

    last_row: list[int]
    """[S] row of the session's last output, which has the reward."""

    of_row: list[int]
    """[B] session of each row, −1 for rows that do not count."""


def parse_key(key: str) -> tuple[str, int, int]:
    """(uid, session, index) of a TransferQueue key ``{uid}_{session}_{index}``.

    Raises:
        ValueError: the key has another form.
    """
    uid, *numbers = key.rsplit("_", 2)
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        raise ValueError(f"TransferQueue key {key!r} is not of the form uid_session_index")
    return uid, int(numbers[0]), int(numbers[1])


def read_sessions(keys: Sequence[str], counted: Sequence[bool]) -> Sessions:
    """Find the sessions of B keys ``{uid}_{session}_{index}``, of which the ``counted`` ones take part.

    Raises:
        ValueError: a key has another form.
    """
    last: dict[tuple[str, int], tuple[int, int]] = {}
    session_of_row: list[tuple[str, int] | None] = []
    for row, (key, is_counted) in enumerate(zip(keys, counted, strict=True)):
        session = None
        if is_counted:
            uid, number, index = parse_key(key)
            session = uid, number
            last[session] = max(last.get(session, (-1, -1)), (index, row))
        session_of_row.append(session)
    places = {session: place for place, session in enumerate(last)}
    of_row = [-1 if session is None else places[session] for session in session_of_row]
    return Sessions([uid for uid, _ in last], [row for _, row in last.values()], of_row)
