"""The command line: finds the command, and turns every error into one message and its exit code.

Commands are imported when they are called, so that `--version` costs nothing else. click, since it is small, has no
dependencies, and does help, completion and usage errors.
"""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from quietgate import __version__
from quietgate.errors import Exit, InputError, NotPermitted, QuietgateError
from quietgate.ui.text import safe

COMMANDS = (
    "init",
    "check",
    "show",
    "diff",
    "up",
    "confirm",
    "revert",
    "down",
    "status",
    "doctor",
    "ban",
    "unban",
    "allow",
    "bans",
    "why",
    "run",
    "events",
    "alerts",
    "metrics",
    "parse",
    "demo",
    "report",
    "boot",
    "refresh",
    "resolve",
    "deliver",
    "helper",
    "notify",
    "arrange",
)


@dataclass(slots=True)
class Settings:
    """What the options before the command said."""

    root: Path
    json: bool = False


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in COMMANDS:
            return None
        found: click.Command = importlib.import_module(f"quietgate.ui.commands.{name}").command
        return found

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"there is no command {safe(args[0])!r}{_instead(args[0])}")
        return super().resolve_command(ctx, args)


def _instead(word: str) -> str:
    """What whoever typed `word` most likely wants, after a semicolon; "" where nothing is near."""
    from quietgate.host.systemd import start_words
    from quietgate.nearest import nearest

    guard = "quietgate-guard"
    does = {
        **dict.fromkeys(("block", "deny", "banip", "reject"), "quietgate ban ADDRESS"),
        **dict.fromkeys(("unblock", "unbanip", "delete"), "quietgate unban ADDRESS"),
        **dict.fromkeys(("list", "banned"), "quietgate bans lists the bans, quietgate show the rules"),
        **dict.fromkeys(("enable", "reload"), "quietgate up puts the policy in force"),
        **dict.fromkeys(("start", "restart"), f"quietgate up puts the policy in force; the guard: {start_words(guard, word)}"),
        **dict.fromkeys(
            ("stop", "disable"), f"quietgate down takes the firewall out of force; the guard alone: {start_words(guard, 'stop')}"
        ),
        **dict.fromkeys(("log", "logs"), f"quietgate events -f follows what the guard does; its own output: {start_words(guard, 'log')}"),
        "help": "quietgate --help",
        "version": "quietgate --version",
    }
    if word in does:
        return f"; instead: {does[word]}"
    near = nearest(word, COMMANDS)
    return f"; did you mean {near}?" if near else ""


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="quietgate", message="%(prog)s %(version)s")
@click.option("--root", envvar="QUIETGATE_ROOT", default="/", metavar="DIR", type=click.Path(path_type=Path),
              help="Put every path of quietgate under DIR.")  # fmt: skip
@click.pass_context
def cli(ctx: click.Context, root: Path) -> None:
    """A host firewall and SSH guard that cannot lock its administrator out.

    \b
    quietgate init           write a policy that fits this host
    quietgate check          is the policy right?
    quietgate up             put it in force, on trial until a new login proves it
    quietgate status         what is true now
    quietgate why ADDRESS    what happens to a packet from there
    """
    ctx.obj = Settings(root)


def main() -> None:
    """Run the command line and exit with a code of `Exit`. No traceback reaches a user, but a bug's."""
    try:
        # By this name, though the installed command calls `python -m quietgate`.
        code = cli.main(prog_name="quietgate", standalone_mode=False)
        sys.stdout.flush()
    except QuietgateError as error:
        sys.exit(_report(error))
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        sys.exit(Exit.USAGE)
    except click.UsageError as error:
        _report_json(InputError(error.format_message(), "see --help"))
        print(f"quietgate: {safe(error.format_message())}", file=sys.stderr)
        if error.ctx is not None:
            print(f"see: {error.ctx.command_path} --help", file=sys.stderr)
        sys.exit(Exit.USAGE)
    except click.ClickException as error:
        _report_json(InputError(error.format_message(), "see --help"))
        print(f"quietgate: {safe(error.format_message())}", file=sys.stderr)
        sys.exit(Exit.USAGE)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `quietgate bans | head` is no error
        sys.exit(Exit.OK)
    except Exception as error:
        if os.environ.get("QUIETGATE_DEBUG"):
            raise
        if isinstance(error, PermissionError) and os.geteuid() != 0:
            sys.exit(_report(NotPermitted(f"{error.filename or 'a file'} may not be used by this user", "run this as root, with sudo")))
        print(f"quietgate: this is a bug of ours: {type(error).__name__}: {safe(str(error))}", file=sys.stderr)
        print("please report it, with the output under QUIETGATE_DEBUG=1; nothing more was done", file=sys.stderr)
        sys.exit(Exit.FAILED)
    sys.exit(code if isinstance(code, int) else Exit.OK)


def _report_json(error: QuietgateError) -> None:
    """On standard output, where a program has asked for JSON: whatever went wrong, also with its words."""
    if "--json" in sys.argv:
        from quietgate.ui import forms

        print(forms.error(error))


def _report(error: QuietgateError) -> int:
    _report_json(error)
    print(safe(error.message, lines=True), file=sys.stderr)
    if error.hint:
        print(safe(error.hint), file=sys.stderr)
    return int(error.exit)
