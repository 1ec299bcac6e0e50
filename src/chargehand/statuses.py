"""One table from an error's code to the command line's exit status and to the HTTP status of a host application."""

from __future__ import annotations

from chargehand.errors import ChargehandError, Failure, JournalError

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_WAITING, EXIT_PARKED, EXIT_JOURNAL, EXIT_UNKNOWN, EXIT_REFUSED = range(8)
EXIT_DEFECT = 70

EXITS: dict[int, str] = {
    EXIT_OK: "done",
    EXIT_FAILED: "the run failed, or more runs failed than were allowed, or a check found something",
    EXIT_USAGE: "the command, its input or the configuration cannot be used",
    EXIT_WAITING: "something waits for a person, or a decision was not taken up in time",
    EXIT_PARKED: "a run is parked: a letter, a doubt, or code that no longer fits",
    EXIT_JOURNAL: "the journal is not there, not readable, full, locked, damaged or newer, or has another chain key",
    EXIT_UNKNOWN: "there is no such run, entry or workflow, or what it held was erased",
    EXIT_REFUSED: "refused: by the rules of a decision, a value that does not fit what waits, another environment, or another input under the same id",
    EXIT_DEFECT: "a defect in Chargehand",
}
"""What each exit status of the command line means."""

_EXIT: dict[str, int] = {
    "unknown-run": EXIT_UNKNOWN, "erased": EXIT_UNKNOWN, "unknown-entry": EXIT_UNKNOWN, "unknown-workflow": EXIT_UNKNOWN,
    "decision-refused": EXIT_REFUSED, "wrong-environment": EXIT_REFUSED, "run-conflict": EXIT_REFUSED,
    "run-rests": EXIT_WAITING,
}  # fmt: skip
_HTTP: dict[str, int] = {
    "unknown-run": 404, "erased": 410, "unknown-entry": 404, "unknown-workflow": 404, "run-conflict": 409, "decision-refused": 409, "run-rests": 409,
    "wrong-environment": 403, "denied": 403, "invalid-input": 422, "unserialisable": 422, "key-conflict": 422, "too-large": 413,
    "timed-out": 504, "deadline-passed": 504,
}  # fmt: skip


def exit_status(error: ChargehandError) -> int:
    """Return the command line's exit status for an error."""
    if isinstance(error, JournalError | Failure):
        return EXIT_JOURNAL if isinstance(error, JournalError) else EXIT_FAILED
    if error.blame == "ours":
        return EXIT_DEFECT
    return _EXIT.get(error.code, EXIT_USAGE)


def http_status(error: ChargehandError) -> int:
    """Return the HTTP status a host application should answer an error with.

    4xx is what the request itself may be blamed for; 502 a call of the run that could not be finished; 503 the journal;
    500 the host's own code or ours.
    """
    if error.code in _HTTP:
        return _HTTP[error.code]
    if isinstance(error, JournalError):
        return 503
    return 502 if isinstance(error, Failure) else 500
