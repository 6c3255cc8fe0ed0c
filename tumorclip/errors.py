"""The one exception that the library raises for what its user can mend."""


class UserError(Exception):
    """Something the user can mend: a parameter, a file, the network, the disk.

    The message is one line: what happened, to which file or key, and what to do next.
    """


class ParamsError(UserError):
    """params.yaml, or an override of it, holds something that is not allowed."""


# The environment variable that names a file in which the first of several processes writes why it failed.
REASON = "TUMORCLIP_REASON"
