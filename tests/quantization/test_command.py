"""Fault injection with real tools: small Python programs that the tests write and the template names.

- ``material``: a network and six frames, as `ncdb_dask.testing` makes them
- ``quantize``: runs a program as a tool, and returns what came of it
"""

import json
import os
import signal
import sys
import textwrap
import threading
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil
import pytest

from ncdb_dask.errors import ExportError, QuantizationError
from ncdb_dask.model.spec import read_spec
from ncdb_dask.quantization import command_run
from ncdb_dask.quantization.base import Material, Quantized
from ncdb_dask.quantization.command import CommandQuantizer
from ncdb_dask.testing.inputs import FRAMES, Inputs
from ncdb_dask.testing.material import make_material

WRITES = "import sys; open(sys.argv[1], 'wb').write(b'int8')"
DEADLINE_S = 20.0


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return make_material(Inputs.write(tmp_path / "inputs", seed=3), tmp_path / "work")


@dataclass
class Tool:
    """A program, and where all that belongs to its runs lies."""

    folder: Path
    material: Material

    @property
    def out(self) -> Path:
        return self.folder / "out" / "int8.bin"

    @property
    def log(self) -> Path:
        return self.folder / "tool.log"

    def template(self, program: str, *arguments: str, **keys: Any) -> Path:
        """Write a program and the template that runs it with these arguments."""
        (self.folder / "tool.py").write_text(textwrap.dedent(program))
        command = [sys.executable, "{here}/tool.py", *(arguments or ("{output}",))]
        return write_template(self.folder / "tool.toml", {"command": command, **keys})

    def __call__(self, program: str, *arguments: str, **keys: Any) -> Quantized:
        self.out.parent.mkdir(exist_ok=True)
        return CommandQuantizer(self.template(program, *arguments, **keys), self.log).quantize(self.material, self.out)

    def fails(self, program: str, *arguments: str, **keys: Any) -> str:
        """Return what the error says; nothing is left but the log."""
        with pytest.raises(QuantizationError) as caught:
            self(program, *arguments, **keys)
        assert not list(self.out.parent.iterdir())
        message = str(caught.value)
        assert "\n" not in message
        assert str(self.log) in message
        return message


@pytest.fixture
def quantize(tmp_path: Path, material: Material) -> Tool:
    return Tool(tmp_path, material)


def write_template(path: Path, keys: dict[str, Any]) -> Path:
    tables = {key: value for key, value in keys.items() if isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items() if key not in tables]
    for key, table in tables.items():
        lines += [f"[{key}]", *(f"{name} = {json.dumps(value)}" for name, value in table.items())]
    path.write_text("\n".join(lines))
    return path


def eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def running(marker: str) -> list[psutil.Process]:
    """Return the processes, zombies not counted, that have an argument."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if marker in (process.info["cmdline"] or ()) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


# What the tool gets


def test_arguments_arrive_as_they_are(quantize: Tool) -> None:
    odd = ["two words", "\"'", "$HOME `id` ; rm -rf *", "größe 深度", "{{literal}}", "", "--x={model}"]
    program = """
        import json, sys
        json.dump(sys.argv[2:], open(sys.argv[1], "w"))
    """
    quantize(program, "{output}", *odd)
    model = str(quantize.material.model)
    assert json.loads(quantize.out.read_text()) == [*odd[:4], "{literal}", "", f"--x={model}"]


def test_a_string_is_split_before_paths_with_spaces_are_filled_in(tmp_path: Path) -> None:
    folder = tmp_path / "with two spaces {and braces}"
    folder.mkdir()
    tool = Tool(folder, make_material(Inputs.write(folder / "inputs", seed=3), folder / "work"))
    program = "import json, sys; json.dump(sys.argv[2:], open(sys.argv[1], 'w'))"
    (folder / "tool.py").write_text(program)
    command = f"{sys.executable} {{here}}/tool.py {{output}} 'one word' {{model}}"
    tool.out.parent.mkdir()
    template = write_template(folder / "tool.toml", {"command": command})
    CommandQuantizer(template, tool.log).quantize(tool.material, tool.out)
    assert json.loads(tool.out.read_text()) == ["one word", str(tool.material.model)]


def test_a_program_in_a_folder_with_braces(tmp_path: Path, material: Material) -> None:
    folder = tmp_path / "{model}"
    folder.mkdir()
    program = folder / "tool"
    program.write_text(f"#!{sys.executable}\n{WRITES}\n")
    program.chmod(0o755)
    template = write_template(folder / "tool.toml", {"command": ["{here}/tool", "{output}"]})
    CommandQuantizer(template, tmp_path / "log").quantize(material, tmp_path / "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == b"int8"


def test_split_and_root(quantize: Tool) -> None:
    program = """
        import json, pathlib, sys
        output, split, root = sys.argv[1:]
        items = json.loads(pathlib.Path(split).read_text())
        for item in items:
            assert pathlib.Path(root, item["dataset_root"], "image_a6", item["new_filename"] + ".png").is_file()
        pathlib.Path(output).write_text(str(len(items)))
    """
    quantize(program, "{output}", "{split}", "{root}")
    assert quantize.out.read_text() == str(FRAMES)
    assert not list(quantize.material.work.glob("command-*/images"))


def test_relative_places_are_made_absolute(quantize: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(quantize.folder)
    quantize.material = replace(
        quantize.material, model=Path("inputs/net.onnx"), split="inputs/calibration.json", root="inputs/data"
    )
    program = """
        import os, sys
        assert all(os.path.exists(path) for path in sys.argv[2:]), sys.argv
        open(sys.argv[1], "w").write("int8")
    """
    quantize(program, "{output}", "{model}", "{split}", "{root}")


def test_a_root_behind_a_url_stays_one(quantize: Tool) -> None:
    quantize.material = replace(quantize.material, root="s3://bucket/ncdb")
    quantize("import sys; open(sys.argv[1], 'w').write(sys.argv[2])", "{output}", "{root}")
    assert quantize.out.read_text() == "s3://bucket/ncdb"


def test_images_and_list(quantize: Tool) -> None:
    program = """
        import os, sys
        lines = open(sys.argv[2]).read().splitlines()
        assert sorted(lines) == sorted(os.path.join(sys.argv[3], name) for name in os.listdir(sys.argv[3]))
        assert all(open(line, "rb").read(4) == b"\\x89PNG" for line in lines)
        open(sys.argv[1], "w").write(str(len(lines)))
    """
    quantize(program, "{output}", "{image_list}", "{images}")
    assert quantize.out.read_text() == str(FRAMES)


@pytest.mark.parametrize(
    ("argument", "holds"),
    [
        ("{raw}/input_list.txt", "image:=/"),
        ("{rknn}/dataset.txt", ".png"),
        ("{ncnn}/ncnn2table.txt", "pixel=RGB"),
        ("{pulsar2}/pulsar2.json", "calibration_dataset"),
        ("{hailo}/calibration.alls", f"calibset_size={FRAMES}"),
        ("{npy}/manifest.json", "tensors"),
    ],
)
def test_only_the_export_that_is_named_is_made(quantize: Tool, argument: str, holds: str) -> None:
    made = []
    export = quantize.material.export
    quantize.material = replace(quantize.material, export=lambda form, out: (made.append(form), export(form, out)))
    quantize("import shutil, sys; shutil.copy(*sys.argv[:0:-1])", "{output}", argument)
    assert holds in quantize.out.read_text()
    assert [f"{{{form}}}" for form in made] == [argument.partition("/")[0]]


def test_the_model_file(quantize: Tool) -> None:
    quantize("import shutil, sys; shutil.copy(*sys.argv[:0:-1])", "{output}", "{spec}")
    assert read_spec(quantize.out) == quantize.material.spec


def test_its_folder_its_input_and_its_environment(quantize: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCDB_TEST_OWN", "own")
    program = """
        import json, os, sys
        assert sys.stdin.read() == ""
        assert os.getsid(0) == os.getpid()
        names = ("NCDB_TEST_OWN", "NCDB_TEST_GIVEN", "PYTHONUNBUFFERED")
        json.dump([os.getcwd(), *(os.environ[name] for name in names)], open(sys.argv[1], "w"))
    """
    made = quantize(program, "{output}", environment={"NCDB_TEST_GIVEN": "a secret for {model}"})
    folder, *variables = json.loads(quantize.out.read_text())
    assert Path(folder).is_relative_to(quantize.material.work)
    assert variables == ["own", f"a secret for {quantize.material.model}", "1"]
    assert made.report["environment"] == ["NCDB_TEST_GIVEN"]
    assert "secret" not in json.dumps(dict(made.report))
    assert "secret" not in quantize.log.read_text()


@pytest.mark.parametrize(("keys", "suffix"), [({}, ".bin"), ({"output": ".rknn"}, ".rknn")])
def test_the_suffix_that_the_tool_sees(quantize: Tool, keys: dict[str, str], suffix: str) -> None:
    quantize("import sys; open(sys.argv[1], 'w').write(sys.argv[1])", **keys)
    assert Path(quantize.out.read_text()).name == f"net_int8{suffix}"


# What comes of it


def test_report(quantize: Tool) -> None:
    program = "import sys\nif sys.argv[1] == '--version': sys.exit(print('tool 1.2'))\nprint('done')\n" + WRITES
    version = [sys.executable, "{here}/tool.py", "--version"]
    told = []
    quantize.material = replace(quantize.material, progress=lambda *about: told.append(about))
    made = quantize(program, version=version)
    json.dumps(dict(made.report))
    assert made.report["version"] == "tool 1.2"
    assert made.report["command"][0] == sys.executable
    assert made.report["last_lines"] == ["done"]
    assert (made.report["exit_code"], made.report["bytes"], made.report["log"]) == (0, 4, str(quantize.log))
    assert not made.onnx
    assert made.notes == ()
    assert told == [(Path(sys.executable).name, 0, 1), (Path(sys.executable).name, 1, 1)]
    assert quantize.log.read_text().startswith(f"$ {sys.executable} ")
    assert "[the tool ended with exit code 0; " in quantize.log.read_text()


def test_a_tool_that_does_not_tell_its_version_still_quantizes(quantize: Tool) -> None:
    made = quantize(WRITES, version=[sys.executable, "-c", "print('no such option'); raise SystemExit(2)"])
    assert made.report["version"] is None
    (note,) = made.notes
    assert "did not tell its version" in note
    assert "exit code 2 (last lines: no such option)" in note


def test_an_onnx_network_is_known_as_one(quantize: Tool) -> None:
    copy = "import shutil, sys; shutil.copy(*sys.argv[:0:-1])"
    made = quantize(copy, "{output}", "{model}")
    assert made.onnx
    assert quantize.out.read_bytes() == quantize.material.model.read_bytes()


def test_an_onnx_network_that_does_not_run_is_none_and_the_note_says_why(quantize: Tool) -> None:
    program = """
        import sys
        import onnx
        model = onnx.load(sys.argv[2])
        model.graph.node[0].domain = "vendor"
        open(sys.argv[1], "wb").write(model.SerializeToString())
    """
    made = quantize(program, "{output}", "{model}")
    assert not made.onnx
    (note,) = made.notes
    assert "does not run as this network" in note


def test_a_link_to_the_network_becomes_a_file_of_its_own(quantize: Tool) -> None:
    quantize("import os, sys; os.symlink(sys.argv[2], sys.argv[1])", "{output}", "{model}")
    assert not quantize.out.is_symlink()


def test_the_log_grows_while_the_tool_works(quantize: Tool) -> None:
    program = """
        import os, sys, time
        print("first line")
        print("and an error", file=sys.stderr)
        while not os.path.exists(sys.argv[2]):
            time.sleep(0.02)
        print("last line")
        open(sys.argv[1], "w").write("int8")
    """
    go = quantize.folder / "go"
    seen: list[bool] = []

    def watch() -> None:
        seen.append(eventually(lambda: quantize.log.exists() and b"and an error\n" in quantize.log.read_bytes()))
        seen.append(b"last line" not in quantize.log.read_bytes())
        go.touch()

    watching = threading.Thread(target=watch)
    watching.start()
    quantize(program, "{output}", str(go), timeout=2 * DEADLINE_S)
    watching.join()
    assert seen == [True, True]
    assert "last line" in quantize.log.read_text()


def test_the_log_lies_in_the_current_folder_unless_told(
    quantize: Tool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    made = CommandQuantizer(quantize.template(WRITES)).quantize(quantize.material, tmp_path / "out.bin")
    assert made.report["log"] == str(tmp_path / "here" / "net.log")
    assert os.listdir() == ["net.log"]


def test_a_huge_output_stays_out_of_memory(quantize: Tool) -> None:
    program = """
        import sys
        line = b"x" * 999 + b"\\n"
        for _ in range(64):
            sys.stdout.buffer.write(line * 1000)
        sys.stdout.buffer.write(b"y" * 2**20)
        sys.stdout.flush()
        sys.exit(3)
    """
    tracemalloc.start()
    try:
        message = quantize.fails(program)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()
    assert len(message) < 2000
    assert quantize.log.stat().st_size > 64_000_000


# What can go wrong while it runs


def test_exit_code(quantize: Tool) -> None:
    program = "import sys; print('a'); print(); print('no licence', file=sys.stderr); sys.exit(7)"
    message = quantize.fails(program)
    assert "ended with exit code 7 (last lines: a | no licence)" in message


def test_exit_code_though_a_file_was_written(quantize: Tool) -> None:
    assert "exit code 1" in quantize.fails(f"{WRITES}\nsys.exit(1)")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_signals(quantize: Tool, number: signal.Signals) -> None:
    program = f"import os, signal, resource; print('loaded'); os.kill(os.getpid(), {int(number)})"
    message = quantize.fails(program)
    assert f"was ended by signal {int(number)} ({number.name})" in message
    assert ("memory" in message) == (number is signal.SIGKILL)
    assert "loaded" in message


def test_a_real_time_signal(quantize: Tool) -> None:
    assert "signal 40 (no name)" in quantize.fails("import os; os.kill(os.getpid(), 40)")


def test_output_that_is_no_text(quantize: Tool) -> None:
    program = """
        import sys
        sys.stdout.buffer.write(b"\\xff\\xfe bad \\x1b[31mred\\x1b[0m\\x00\\n10%\\r50%\\r99%\\r\\n")
        sys.stdout.buffer.write("세로".encode("euc-kr"))
        sys.exit(1)
    """
    message = quantize.fails(program)
    assert "�� bad red | 99% | " in message
    assert message.isprintable()


def test_only_a_few_short_lines_are_repeated(quantize: Tool) -> None:
    message = quantize.fails("for number in range(99): print(number, 'x' * 5000)\nraise SystemExit(1)")
    assert " | 98 xxx" in message
    assert len(message) < 2000


def test_the_tools_output_alone_counts_as_its_last_lines(quantize: Tool) -> None:
    assert "last lines" not in quantize.fails("raise SystemExit(1)")


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("", "it wrote no net_int8.bin; its folder holds nothing"),
        ("open('net.bin', 'w').write('x'); import os; os.mkdir('more')", "its folder holds more/, net.bin"),
        ("import sys; open(sys.argv[1], 'w')", "net_int8.bin that it wrote is empty"),
        ("import os, sys; os.mkdir(sys.argv[1])", "net_int8.bin is a folder (empty); expected one file"),
        ("import os, sys; os.mkfifo(sys.argv[1])", "net_int8.bin is no file"),
        ("import os, sys; os.symlink('nowhere', sys.argv[1])", "net_int8.bin is no file"),
        ("for n in range(99): open(f'{n:02}', 'w')", "08, 09 and 89 more"),
    ],
)
def test_exit_code_0_without_the_file(quantize: Tool, program: str, expected: str) -> None:
    message = quantize.fails(program)
    assert expected in message
    assert "exit code 0, but" in message
    assert "output in the template" in message


def test_the_file_of_an_earlier_run_is_not_taken_for_this_ones(quantize: Tool) -> None:
    quantize(WRITES)
    quantize.out.unlink()
    assert "it wrote no net_int8.bin" in quantize.fails("pass")


def test_a_time_out_ends_grandchildren_that_will_not_end(quantize: Tool) -> None:
    # The child that is asked to end does; its own child, of another parent by then, has to be killed.
    marker = f"marker-{os.getpid()}-{time.monotonic_ns()}"
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(600)"
    middle = f"""
        import subprocess, sys, time
        subprocess.Popen([sys.executable, "-c", {stubborn!r}, {marker!r}])
        time.sleep(600)
    """
    program = f"""
        import subprocess, sys, time
        subprocess.Popen([sys.executable, "-c", {textwrap.dedent(middle)!r}, {marker!r}])
        print("waiting")
        time.sleep(600)
    """
    with mock.patch.object(command_run, "GRACE_S", 0.5):
        message = quantize.fails(program, timeout=3)
    assert "was ended after 3." in message
    assert "up" in message
    assert f"raise timeout = 3 (seconds) in {quantize.folder / 'tool.toml'}" in message
    assert eventually(lambda: not running(marker))


def test_what_a_tool_leaves_running_is_ended_too(quantize: Tool) -> None:
    marker = f"marker-{os.getpid()}-{time.monotonic_ns()}"
    program = f"""
        import subprocess, sys
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "{marker}"])
        open(sys.argv[1], "w").write("int8")
    """
    quantize(program)
    assert eventually(lambda: not running(marker))


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_ends_the_tool(quantize: Tool, interruption: type[BaseException]) -> None:
    marker = f"marker-{os.getpid()}-{time.monotonic_ns()}"
    begun = quantize.folder / "begun"
    program = """
        import subprocess, sys, time
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", sys.argv[2]])
        open(sys.argv[3], "w").close()
        time.sleep(600)
    """

    def interrupt(*_: object) -> None:
        raise interruption

    def strike() -> None:
        eventually(begun.exists)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    striking = threading.Thread(target=strike)
    try:
        striking.start()
        with pytest.raises(interruption):
            quantize(program, "{output}", marker, str(begun), timeout=4 * DEADLINE_S)
    finally:
        striking.join()
        signal.signal(signal.SIGUSR1, before)
    assert eventually(lambda: not running(marker))
    assert not list(quantize.out.parent.iterdir())


def test_a_failing_copy_leaves_no_file(quantize: Tool) -> None:
    def full(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with mock.patch("shutil.copyfile", full), pytest.raises(OSError, match="No space left"):
        quantize(WRITES)
    assert not list(quantize.out.parent.iterdir())


def test_a_failing_export_comes_before_the_tool(quantize: Tool) -> None:
    def export(form: str, out: Path) -> None:
        raise ExportError("no frames")

    quantize.material = replace(quantize.material, export=export)
    with pytest.raises(ExportError, match="no frames"):
        quantize(f"open({str(quantize.folder / 'ran')!r}, 'w')", "{output}", "{raw}")
    assert not (quantize.folder / "ran").exists()


@pytest.mark.parametrize("place", ["folder", "below-a-file"])
def test_a_log_that_cannot_be_written(quantize: Tool, place: str) -> None:
    (quantize.folder / "folder").mkdir()
    (quantize.folder / "file").touch()
    log = {"folder": quantize.folder / "folder", "below-a-file": quantize.folder / "file" / "log"}[place]
    made: list[str] = []
    material = replace(quantize.material, export=lambda form, out: made.append(form))
    with pytest.raises(QuantizationError, match=r"cannot be written .*; choose another place for the log"):
        CommandQuantizer(quantize.template(WRITES, "{output}", "{raw}"), log).quantize(material, quantize.out)
    assert not made


def test_a_script_without_an_interpreter(quantize: Tool) -> None:
    script = quantize.folder / "script"
    script.write_text("#!/nowhere/python\n")
    script.chmod(0o755)
    template = write_template(quantize.folder / "tool.toml", {"command": [str(script), "{output}"]})
    with pytest.raises(QuantizationError, match=r"cannot be started .*interpreter that is there"):
        CommandQuantizer(template, quantize.log).quantize(quantize.material, quantize.out)


def test_a_log_that_is_removed_while_the_tool_works(quantize: Tool) -> None:
    made = quantize(f"import os; print('a line'); os.remove({str(quantize.log)!r}); {WRITES}")
    assert made.report["last_lines"] == ["a line"]


# Templates that cannot be used


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, "has no command; expected command ="),
        ({"command": []}, "is empty; expected a program"),
        ({"command": " "}, "is empty; expected a program"),
        ({"command": [""]}, "is empty; expected a program"),
        ({"command": 3}, "command = 3: expected a list of arguments"),
        ({"command": ["sh", 3]}, "holds 3; expected strings only"),
        ({"command": ["sh", "a\0b"]}, "holds a zero character"),
        ({"command": "sh 'open"}, "cannot be split into arguments (No closing quotation)"),
        ({"command": "sh {output} | tee log"}, "holds |, and no shell is there"),
        ({"command": "sh {output} > log"}, "holds >, and no shell is there"),
        ({"command": ["sh", "{model}"]}, "no argument of command holds {output}"),
        ({"command": ["sh", "{output}", "{modle}"]}, "the placeholder {modle} is unknown; known are {model}, {output}"),
        ({"command": ["sh", "{output}", "{model.stem}"]}, "the placeholder {model.stem} is unknown"),
        ({"command": ["sh", "{output}", "{model!r}"]}, "the placeholder {model!r} is unknown"),
        ({"command": ["sh", "{output}", "{model:>9}"]}, "the placeholder {model:>9} is unknown"),
        ({"command": ["sh", "{output}", "{}"]}, "the placeholder {} is unknown"),
        ({"command": ["sh", "{output}", '{"json": 1}']}, 'the placeholder {"json": 1} is unknown'),
        ({"command": ["sh", "{output}", "}"]}, "write {{ and }} for braces that are no placeholder"),
        ({"command": ["{work}/tool", "{output}"]}, "the program can hold no placeholder but {here}"),
        ({"command": ["./tool", "{output}"]}, "by a relative path, and the tool runs in a folder of its own"),
        ({"command": ["no-such-tool-here", "{output}"]}, 'the program "no-such-tool-here": not on the PATH'),
        ({"command": ["/no/such/tool", "{output}"]}, '"/no/such/tool": no such file that can be executed'),
        ({"command": ["{here}", "{output}"]}, "no such file that can be executed"),
        ({"command": ["sh", "{output}"], "timout": 3}, 'has the key "timout", which is unknown'),
        ({"command": ["sh", "{output}"], "timout": 3}, 'did you mean "timeout"?'),
        ({"command": ["sh", "{output}"], "timeout": 0}, "timeout = 0: expected a number from 0.1 to 1e+07, in seconds"),
        ({"command": ["sh", "{output}"], "timeout": "1h"}, 'timeout = "1h": expected a number'),
        ({"command": ["sh", "{output}"], "output": "bin"}, 'such as ".bin"'),
        ({"command": ["sh", "{output}"], "output": "/../x"}, 'such as ".bin"'),
        ({"command": ["sh", "{output}"], "version": ["sh", "{model}"]}, "no placeholder but {here}"),
        ({"command": ["sh", "{output}"], "version": ["no-such-tool-here"]}, "version names the program"),
        ({"command": ["sh", "{output}"], "environment": "A=1"}, "expected a section [environment]"),
        ({"command": ["sh", "{output}"], "environment": {"A-B": "1"}}, '"A-B" is no name of a variable'),
        ({"command": ["sh", "{output}"], "environment": {"A": 1}}, "holds 1; expected strings only"),
        ({"command": ["sh", "{output}"], "environment": {"A": "{b}"}}, "the placeholder {b} is unknown"),
    ],
)
def test_templates_are_refused_before_anything_happens(tmp_path: Path, keys: dict[str, Any], expected: str) -> None:
    path = write_template(tmp_path / "tool.toml", keys)
    with pytest.raises(QuantizationError) as caught:
        CommandQuantizer(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert expected in str(caught.value)
    assert os.listdir(tmp_path) == ["tool.toml"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [(None, "cannot be read (No such file or directory)"), (b"command = ", "is no TOML"), (b"\xff", "is no TOML")],
)
def test_templates_that_are_none(tmp_path: Path, data: bytes | None, expected: str) -> None:
    path = tmp_path / "tool.toml"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(QuantizationError) as caught:
        CommandQuantizer(path)
    assert expected in str(caught.value)
    assert "docs/how_to/quantize_with_a_tool.md" in str(caught.value)


def test_output_may_be_named_in_the_environment_alone(quantize: Tool) -> None:
    made = quantize(
        "import os; open(os.environ['OUTPUT'], 'w').write('int8')", "--now", environment={"OUTPUT": "{output}"}
    )
    assert made.report["bytes"] == 4


def test_a_program_on_the_path_is_found(tmp_path: Path, material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "npu_quantize"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{WRITES}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    template = write_template(tmp_path / "tool.toml", {"command": "npu_quantize {output}"})
    made = CommandQuantizer(template, tmp_path / "log").quantize(material, tmp_path / "out.bin")
    assert made.report["command"][0] == str(program)


def test_the_frames_of_an_array_are_those_that_the_network_takes(quantize: Tool) -> None:
    quantize("import shutil, sys; shutil.copy(*sys.argv[:0:-1])", "{output}", "{hailo}/calibration.npy")
    first = quantize.material.reader.tensor(quantize.material.frames[0])
    np.testing.assert_array_equal(np.load(quantize.out)[0], first[0].transpose(1, 2, 0))
