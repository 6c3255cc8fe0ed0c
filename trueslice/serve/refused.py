"""What ends a request without an answer."""

from http import HTTPStatus


class Refused(Exception):
    """Why there is no answer, in a line that the page shows.

    Attributes:
        status: of the response.
        frames: how many pictures the file holds where one of them must be chosen; else 1.
    """

    def __init__(self, message: str, status: HTTPStatus, frames: int = 1):
        super().__init__(message)
        self.status = status
        self.frames = frames
