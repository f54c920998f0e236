"""Why a graph is none of ours; whoever knows the file turns it into an error that names it."""


class ForeignGraphError(Exception):
    """What does not fit, and at which node; ``remedy`` says what to do, ``depth`` how far everything fitted."""

    def __init__(self, message: str, *, remedy: str = "", depth: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.depth = depth
