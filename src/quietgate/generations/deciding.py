"""Which policy decides here: the one home of that question.

What decides is what was loaded: the record of the generation in force, or of the candidate while its trial runs. The policy on
disk only says what `up` would change. With nothing in force it is all there is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from quietgate.errors import InputError, NotPermitted, PolicyError, Problem, QuietgateError
from quietgate.generations.installation import Parts
from quietgate.generations.kernel import Inside, in_force, look
from quietgate.generations.plan import Prepared, prepare, prepare_from
from quietgate.generations.records import Record
from quietgate.policy.load import load


@dataclass(frozen=True, slots=True)
class Deciding:
    """`prepared` is the policy that answers. `number`: the generation that decides in the kernel, None where nothing is in force;
    then `prepared` is the policy on disk. `record`: that generation's, None where the disk has lost it. `trial`: it is on trial.

    `written`: the policy on disk, None where it has mistakes or is gone; `mistake` says which.
    """

    prepared: Prepared
    number: int | None
    record: Record | None
    trial: bool
    written: Prepared | None
    mistake: InputError | None = None

    @property
    def differs(self) -> bool:
        """True if the policy on disk can be read, and is not what is in force."""
        return self.number is not None and self.written is not None and (self.record is None or not is_in_force(self.written, self.record))

    @property
    def faithful(self) -> bool:
        """True if `prepared` is what is in force; False if it only stands in for it: nothing is, or the disk has lost its record."""
        return self.number is not None and (self.prepared is not self.written or not self.differs)

    @property
    def mistakes(self) -> tuple[Problem, ...]:
        """Each mistake of the policy on disk that has a place."""
        return self.mistake.problems if isinstance(self.mistake, PolicyError) else ()

    @property
    def wrong(self) -> str:
        """One line about the policy on disk, with file, line and remedy; "" if it has no mistake."""
        if self.mistake is None:
            return ""
        more = f" (and {len(self.mistakes) - 1} more: quietgate check)" if len(self.mistakes) > 1 else ""
        return f"{self.mistakes[0]}{more}" if self.mistakes else f"{self.mistake.message}; {self.mistake.hint}"


def deciding(parts: Parts) -> Deciding:
    """Look at the kernel and the disk. Raises QuietgateError: NotPermitted without root, and the mistakes of the policy on disk where
    nothing else answers.
    """
    inside = look(parts.nft)
    record = in_force(parts.generations, inside)
    written, mistake = on_disk(parts)
    return _of(parts, inside, record, written, mistake)


def on_disk(parts: Parts) -> tuple[Prepared | None, InputError | None]:
    """The policy on disk, or what is wrong with it."""
    try:
        return prepare(parts.paths), None
    except InputError as error:
        return None, error
    except NotPermitted as error:
        if not parts.generations.readable():
            raise
        return None, InputError(error.message, error.hint)  # the guard's own processes: they know what decides, not what is being written


def _of(parts: Parts, inside: Inside, record: Record | None, written: Prepared | None, mistake: InputError | None) -> Deciding:
    prepared = in_effect(parts, record, written)
    if prepared is None:
        if mistake is None:
            raise AssertionError("a policy without a mistake is one")
        raise mistake
    return Deciding(prepared, inside.deciding, record, inside.on_trial, written, mistake)


def in_effect(parts: Parts, record: Record | None, written: Prepared | None) -> Prepared | None:
    """What decides now, whatever was written on the disk since; the policy on disk where nothing is in force, None where that is no use."""
    if record is None or not record.contents or (written is not None and is_in_force(written, record)):
        return written
    try:
        # Names are what they were at the last `up` or refresh, and so are the ports that the rules speak of.
        return prepare_from(parts.paths, record.written(), ask=False, ports=record.ports)
    except QuietgateError:
        return written  # it was right once: another version of ours reads it differently


def is_in_force(written: Prepared, record: Record) -> bool:
    """True if a policy means what the one in force does: the rules, and what the guard alone obeys."""
    if written.digest != record.digest:
        return False
    return not record.contents or written.texts == record.contents or load(record.written()).policy.meaning == written.policy.meaning


def of_guard(parts: Parts) -> Prepared:
    """The policy that the guard obeys: of what decides; where nothing is in force, what was confirmed last, since our table may only be
    lost for a moment; then the one on disk. Raises QuietgateError.
    """
    record = in_force(parts.generations, look(parts.nft)) or parts.generations.newest()
    if record is not None and record.contents:
        # The guard has no way to a resolver (its unit knows no INET), and follows sshd to its port of now.
        return prepare_from(parts.paths, record.written(), ask=False)
    return prepare(parts.paths)


def usable(parts: Parts) -> tuple[Prepared, str]:
    """The policy to ban, to report and to notify by: what decides, so that nobody has to mend a file before he can ban, with a word
    about the file. sshd's ports are those of now. Raises QuietgateError where there is none.
    """
    found = deciding(parts)
    prepared = found.prepared
    if prepared is not found.written and found.record is not None:
        prepared = replace(prepared, ports=of_guard(parts).ports)
    if found.mistake is None:
        return prepared, ""
    first = found.mistakes[0] if found.mistakes else found.mistake.message
    return prepared, f"{first}. This goes by the policy in force; see `quietgate check`"
