"""What load does to a server: past some number of calls at once they slow one another down."""


def slowdown(in_flight: int, *, past: int | None, power: float) -> float:
    """The factor by which a call takes longer with `in_flight` calls, itself included.

    With a power of 1 the server answers the same number of calls a second, however many it is given. With a lower power
    it answers more, with a higher one fewer. `past` None never slows down.
    """
    return 1.0 if past is None or in_flight <= past else float((in_flight / past) ** power)
