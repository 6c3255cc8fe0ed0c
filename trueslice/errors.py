"""Errors that the user can fix: a parameter, a file, the network, the disk."""


class UserError(Exception):
    """An error with a message of one line: what happened, to which file or key, and what to do next."""


class ParamsError(UserError):
    """An unknown key or a value that is not allowed, in params.yaml or in an override of it."""


# The environment variable that names a file in which the first of several processes writes why it failed.
REASON = "TRUESLICE_REASON"
