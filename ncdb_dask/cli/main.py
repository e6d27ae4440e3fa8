"""The command group ``ncdb-dask`` (also ``dask ncdb``)."""

import signal
import sys
from importlib import import_module
from types import FrameType
from typing import Any

import click

from ncdb_dask import __version__
from ncdb_dask.errors import NcdbError

INTERRUPTED, TERMINATED = 130, 143  # 128 + the signal's number, as shells report it
# Each command lives in a module of its own, which is imported when it is called: the help must come at once.
COMMANDS = {
    "compare": "Set evaluations beside each other, with error bars; the first is the baseline.",
    "evaluate": "Measure a network, or predictions from a board, in metres.",
    "export": "Hand a calibration set over in the form that a quantizer reads.",
    "quantize": "Quantize a network with a calibration set.",
    "sample": "Choose the frames of a calibration set from a finished scan.",
    "sample-report": "Measure a calibration set that someone else made against a scan.",
    "scan": "Turn every entry of a split into one row of depth statistics.",
    "summary": "Print what a finished scan or evaluation found.",
    "synth": "Make a small valid NCDB tree from a seed.",
}


class LazyGroup(click.Group):
    """A group that knows its commands by name, and imports them one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"ncdb_dask.cli.{name}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what a user can mend ends in one line, a signal in its exit code."""
        signal.signal(signal.SIGTERM, _terminate)
        try:
            return super().invoke(ctx)
        except NcdbError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            click.echo("interrupted; what is complete stays, the same command goes on from it", err=True)
            sys.exit(INTERRUPTED)


def _terminate(signum: int, frame: FrameType | None) -> None:
    click.echo("terminated; what is complete stays, the same command goes on from it", err=True)
    # An exception, so that the cluster is closed and no worker outlives the command.
    raise SystemExit(TERMINATED)


@click.group(
    "ncdb",  # the name under which `dask` registers it
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="ncdb-dask")
def main() -> None:
    """Calibration data for INT8 depth networks: scan a data set in NCDB layout on Dask."""
