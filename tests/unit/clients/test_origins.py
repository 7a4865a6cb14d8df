"""Origins: the memory that readers share."""

from __future__ import annotations

from contextlib import ExitStack

from syncd.clients.origins import HELD, LARGEST, ROOM, SMALLEST, Room


def test_few_readers_get_large_pieces_and_many_share_the_room() -> None:
    """However slow they are, and as it was when they have gone."""
    room = Room()
    with room.reader() as alone:
        assert alone() == LARGEST
        with ExitStack() as many:
            others = [many.enter_context(room.reader()) for _ in range(499)]
            assert {piece() for piece in others} == {alone()}
            assert SMALLEST < alone() < LARGEST
            assert 500 * HELD * alone() <= ROOM
        assert alone() == LARGEST


def test_a_piece_is_never_so_small_that_it_costs_more_than_it_holds() -> None:
    """Whatever comes."""
    room = Room()
    with ExitStack() as many:
        pieces = [many.enter_context(room.reader()) for _ in range(100_000)]
        assert pieces[-1]() == SMALLEST
