"""The one way in which a solver fails."""


class SolverFailedError(Exception):
    """The solver found nothing that can be proposed; the text says why."""
