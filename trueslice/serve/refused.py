"""The error that ends a request without an answer."""

from http import HTTPStatus


class Refused(Exception):
    """A request that gets no answer; the message is a line that the page shows.

    Attributes:
        status: HTTP status of the response.
        frames: number of pictures in the file, of which one must be chosen; else 1.
    """

    def __init__(self, message: str, status: HTTPStatus, frames: int = 1):
        super().__init__(message)
        self.status = status
        self.frames = frames
