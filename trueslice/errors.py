"""What the library raises where its user can mend something: a parameter, a file, the network, the disk."""


class UserError(Exception):
    """The message is one line: what happened, to which file or key, and what to do next."""


class ParamsError(UserError):
    """params.yaml, or an override of it, holds something that is not allowed."""


# The environment variable that names a file in which the first of several processes writes why it failed.
REASON = "TRUESLICE_REASON"
