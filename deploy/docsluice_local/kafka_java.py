"""Apache Kafka without Docker: its Maven artifacts on a Java that is already here."""

import contextlib
import fcntl
import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from docsluice_local.broker import Broker, BrokerProcess
from docsluice_local.process import Child

_OLDEST_JAVA = 17
_DOWNLOAD_SECONDS = 900
_FORMAT_SECONDS = 120
_READY_SECONDS = 120
_GRACE_SECONDS = 20
_CLUSTER_ID = "ZG9jc2x1aWNlLWxvY2FsMQ"  # any 16 bytes in URL-safe base64

# A broker of a test lives for seconds: quick to start and small, where a server's defaults are slow and large.
_JVM_OPTIONS = (
    "-Xms128m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xlog:cds=off",  # whether an archive of classes fits is nothing to tell a person
    "-Xlog:cds+dynamic=off",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
)

# Kafka's distribution brings a logging backend that its artifact does not depend on. slf4j-simple stands in for it.
_LOGGING = "org.slf4j:slf4j-simple:1.7.36"
_POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>docsluice</groupId>
  <artifactId>jars</artifactId>
  <version>1</version>
  <dependencies>
{dependencies}
  </dependencies>
</project>
"""
_DEPENDENCY = """\
    <dependency>
      <groupId>{}</groupId>
      <artifactId>{}</artifactId>
      <version>{}</version>
    </dependency>
"""


def why_not() -> str | None:
    """What is missing here to run Apache Kafka on Java, as the end of a sentence. None if nothing."""
    version = _java_version()
    if version is None:
        return "java is not on the PATH"
    if version < _OLDEST_JAVA:
        return f"java is version {version}"
    return None if shutil.which("mvn") else "mvn is not on the PATH"


@contextlib.contextmanager
def java_broker(*, version: str, data_dir: Path, port: int, server_properties: Mapping[str, str]) -> Iterator[Broker]:
    """Run the broker with its data, its log and its server.properties in `data_dir`.

    The first time ever, some 45 MB of jars are downloaded into the user's cache.
    """
    java = prepared(version=version, port=port, server_properties=server_properties)
    log_dir = data_dir / "data"
    log_dir.mkdir(parents=True, exist_ok=True)
    config_path = data_dir / "server.properties"
    write_properties(config_path, {**server_properties, "log.dirs": str(log_dir)})
    if not (log_dir / "meta.properties").exists():
        shutil.copytree(_empty_storage(version, java, server_properties), log_dir, dirs_exist_ok=True)
    with _running(java, config_path, port=port) as broker:
        yield broker


def prepared(*, version: str, port: int, server_properties: Mapping[str, str]) -> list[str]:
    """Put into the user's cache what every broker begins with. Returns the command of its Java, without a class.

    The first time ever, a broker is started on `port` and stopped again.
    """
    java = java_command(fetched_jars(f"apache-kafka-{version}", f"org.apache.kafka:kafka_2.13:{version}"))
    classes = _loaded_classes(version, java, port=port, server_properties=server_properties)
    return [*java, f"-XX:SharedArchiveFile={classes}"]


def fetched_jars(name: str, *artifacts: str) -> Path:
    """A folder with the jars of Maven's `group:artifact:version` and of all that they need, kept under `name`.

    Raises:
        RuntimeError: Maven could not fetch them.
    """
    return _cached(name, functools.partial(_download, (*artifacts, _LOGGING)))


def java_command(jars: Path) -> list[str]:
    """Java with all jars of the folder, quick to start and small. The class and its arguments are to follow."""
    return ["java", *_JVM_OPTIONS, "-cp", f"{jars}/*"]


def write_properties(path: Path, properties: Mapping[str, str]) -> None:
    """Write a file of Java's properties."""
    lines = (f"{name}={value}".replace("\\", "\\\\") for name, value in properties.items())
    path.write_text("\n".join(lines) + "\n", "utf-8")


@contextlib.contextmanager
def _running(java: list[str], config_path: Path, *, port: int) -> Iterator[Broker]:
    child = Child(
        name="Apache Kafka",
        command=[*java, "kafka.Kafka", str(config_path)],
        log_path=config_path.with_name("broker.log"),
    )
    broker = BrokerProcess(child=child, port=port, ready_seconds=_READY_SECONDS, grace_seconds=_GRACE_SECONDS)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


def _java_version() -> int | None:
    """The major version of the `java` on the PATH. None without one."""
    try:
        said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(r'version "(\d+)', said)
    return int(found[1]) if found else None


def _cached(name: str, make: Callable[[Path], Path]) -> Path:
    """A folder or a file in the user's cache. `make` builds it in a scratch folder, once for each user."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "docsluice"
    kept = cache / name
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs side by side build it once
        if not kept.exists():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                made = make(Path(scratch))
                made.rename(kept)  # whole or not at all, so its existence is enough
    return kept


def _download(artifacts: Sequence[str], scratch: Path) -> Path:
    dependencies = "".join(_DEPENDENCY.format(*artifact.split(":")) for artifact in artifacts)
    pom = scratch / "pom.xml"
    pom.write_text(_POM.format(dependencies=dependencies.rstrip()), "utf-8")
    jars = scratch / "jars"
    command = ["mvn", "--quiet", "--batch-mode", "--file", str(pom), "dependency:copy-dependencies"]
    try:
        _run([*command, f"-DoutputDirectory={jars}", "-DincludeScope=runtime"], timeout_seconds=_DOWNLOAD_SECONDS)
    except RuntimeError as failure:
        raise RuntimeError(f"Maven could not fetch {', '.join(artifacts)}: {failure}") from None
    return jars


def _empty_storage(version: str, java: list[str], server_properties: Mapping[str, str]) -> Path:
    """The files of a formatted storage. They are the same for every broker, so Java makes them once."""

    def made(scratch: Path) -> Path:
        storage, config_path = scratch / "storage", scratch / "server.properties"
        write_properties(config_path, {**server_properties, "log.dirs": str(storage)})
        _format(java, config_path)
        return storage

    return _cached(f"apache-kafka-{version}-storage", made)


def _loaded_classes(version: str, java: list[str], *, port: int, server_properties: Mapping[str, str]) -> Path:
    """An archive of the classes that a broker has loaded. With it, the next one is there in half the time."""

    def made(scratch: Path) -> Path:
        data, config_path, archive = scratch / "data", scratch / "server.properties", scratch / "classes.jsa"
        shutil.copytree(_empty_storage(version, java, server_properties), data)
        write_properties(config_path, {**server_properties, "log.dirs": str(data)})
        with _running([*java, f"-XX:ArchiveClassesAtExit={archive}"], config_path, port=port):
            pass
        archive.touch()  # there are Javas that write none, and an empty one is passed over
        return archive

    return _cached(f"apache-kafka-{version}-java-{_java_version()}.jsa", made)


def _format(java: list[str], config_path: Path) -> None:
    format_command = ["kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(config_path)]
    try:
        _run([*java, *format_command], timeout_seconds=_FORMAT_SECONDS)
    except RuntimeError as failure:
        raise RuntimeError(f"Apache Kafka could not format its storage: {failure}") from None


def _run(command: list[str], *, timeout_seconds: float) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_seconds, check=False
    )
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}\n{done.stdout[-2000:]}")
