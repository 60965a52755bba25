"""How a total says what it leaves out. Pure."""

from docsluice_producer.command_line.numbers import counted


def left_out(costs: int) -> str:
    """How many costs a total leaves out, to append to it. Empty if none."""
    return f" ({counted(costs, 'cost')} left out: no sum{'' if costs == 1 else 's'} of money)" if costs else ""
