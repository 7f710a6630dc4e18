"""The one exception that means "the user can fix this"; the command line prints it without a traceback."""


class OmnisageError(Exception):
    """A mistake in config, input or order of commands.

    The message names the field, file, column or row, what was found there, what is allowed, and what to do.
    """
