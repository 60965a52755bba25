"""What load does to a server: up to some number of calls at once nothing, and past it they slow one another down."""


def slowdown(in_flight: int, *, past: int | None, power: float) -> float:
    """By how much longer a call takes that comes when so many are being answered, itself included.

    With a power of 1 the server answers as many calls a second as before, however many more it is given. With less it
    still answers more, with more it answers fewer. `past` None is a server that nothing slows down.
    """
    return 1.0 if past is None or in_flight <= past else float((in_flight / past) ** power)
