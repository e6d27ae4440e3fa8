"""Schedulers and workers as processes of their own, and certificates for them."""

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOOPBACK = "127.0.0.1"


@contextmanager
def process(*command: object, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the end of the block."""
    with log.open("ab") as said:
        running = subprocess.Popen(
            [*map(str, command)], stdout=said, stderr=said, cwd=log.parent, env={**os.environ, **environment}
        )
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(timeout=20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


@contextmanager
def scheduler(folder: Path, *options: object) -> Iterator[str]:
    """Run ``dask scheduler`` on the loopback interface and yield its address; its file is ``scheduler.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    file, log = folder / "scheduler.json", folder / "scheduler.log"
    command = (sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", LOOPBACK, "--port", 0)
    dashboard = ("--dashboard-address", f"{LOOPBACK}:0", "--scheduler-file", file)
    with process(*command, *dashboard, *options, log=log) as running:
        while not (address := _address_in(file)):
            try:
                running.wait(timeout=0.02)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(log.read_text())
        yield address


@contextmanager
def worker(
    address: str, folder: Path, *options: object, python: object = sys.executable, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``dask worker`` with one thread and without a nanny, which would be a second process to wait for."""
    folder.mkdir(parents=True, exist_ok=True)
    command = (python, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", 1)
    http = ("--dashboard-address", f"{LOOPBACK}:0", "--local-directory", folder)
    with process(*command, *http, *options, log=folder / "worker.log", **environment) as running:
        yield running


def _address_in(file: Path) -> str:
    try:
        return json.loads(file.read_text())["address"]
    except (FileNotFoundError, ValueError):
        return ""


def certificates(folder: Path) -> dict[str, str]:
    """Write a CA and a certificate of it, and return the three files as `AddressSpec` names them."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder.mkdir(parents=True, exist_ok=True)
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def signed(name: str, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey, is_ca: bool) -> bytes:
        built = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named("ca"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + datetime.timedelta(days=365 * 100))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        return built.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    unlocked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    texts = {
        "ca_file": signed("ca", ca_key, ca_key, True),
        "cert_file": signed("me", key, ca_key, False),
        "key_file": unlocked,
    }
    for name, text in texts.items():
        (folder / f"{name}.pem").write_bytes(text)
    return {name: str(folder / f"{name}.pem") for name in texts}


def tls_options(files: dict[str, str]) -> tuple[str, ...]:
    """Return the certificates as options of ``dask scheduler`` and ``dask worker``."""
    names = {"ca_file": "--tls-ca-file", "cert_file": "--tls-cert", "key_file": "--tls-key"}
    return tuple(word for name, option in names.items() for word in (option, files[name]))


def distribution(folder: Path, name: str, version: str) -> str:
    """Write what makes Python find a package in another version; return the value of PYTHONPATH."""
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return str(folder)
