"""The command group ``ncdb-dask`` (also ``dask ncdb``)."""

import signal
import sys
from contextlib import ExitStack
from importlib import import_module
from typing import Any

import click

from ncdb_dask import __version__
from ncdb_dask.cli.signals import GOES_ON, end_on_signal
from ncdb_dask.errors import NcdbError

INTERRUPTED = 130  # 128 + the signal's number, as shells report it
# In click's `meta`, which all contexts of a call share; `dask ncdb` has contexts of its own around ours.
ARGUMENTS, ENDING = "ncdb_dask.arguments", "ncdb_dask.ending"
# Each command lives in a module of its own, which is imported when it is called: the help must come at once.
COMMANDS = {
    "compare": "Set evaluations beside each other, with error bars; the first is the baseline.",
    "demo": "Do everything once, from a data set to the page that says what INT8 cost.",
    "evaluate": "Measure a network, or predictions from a board, in metres.",
    "explain": "Say where the error of INT8 comes from, and what cures it.",
    "export": "Hand a calibration set over in the form that a quantizer reads.",
    "finetune": "Fine-tune a network so that INT8 costs less, and measure whether it does.",
    "quantize": "Quantize a network with a calibration set.",
    "sample": "Choose the frames of a calibration set from a finished scan.",
    "sample-report": "Measure a calibration set that someone else made against a scan.",
    "scan": "Turn every entry of a split into one row of depth statistics.",
    "slurm-script": "Print the script of a SLURM job that runs a command.",
    "status": "Tell how a run gets on, from its folder alone.",
    "stop": "Ask the driver of a run to end, and wait until it has.",
    "study": "Find out which calibration set and which quantizer a network needs.",
    "submit": "Run a command unattended, and return at once.",
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

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments as they were given."""
        ctx.meta[ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what a user can mend ends in one line, a signal in its exit code."""
        end_on_signal(lambda: "terminated")
        try:
            with ExitStack() as ctx.meta[ENDING]:
                return super().invoke(ctx)
        except NcdbError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # one more, while Python ends, would change the exit code
            click.echo(f"interrupted; {GOES_ON}", err=True)
            sys.exit(INTERRUPTED)


@click.group(
    "ncdb",  # the name under which `dask` registers it
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="ncdb-dask")
@click.option("--driver", metavar="RECORD", hidden=True, help="Be the driver that `submit` has written this record of.")
@click.option("--until-eof", is_flag=True, hidden=True, help="End when standard input does.")
def main(driver: str | None, until_eof: bool) -> None:
    """Calibration data for INT8 depth networks: scan a data set in NCDB layout on Dask."""
    if driver is not None:
        from ncdb_dask.cli.running import begin_as

        begin_as(driver, until_eof)
