"""The command `broker`: a broker in the foreground."""

import contextlib
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from docsluice.cli.output import CommandFailed
from docsluice.cli.page import command
from docsluice_local.broker import embedded_broker
from docsluice_local.foreground import Port, faults_told, until_terminated
from docsluice_local.kafka import apache_kafka
from docsluice_local.process import is_free

_POLL_SECONDS = 0.2


def _broker(
    *,
    port: Port = 9092,
    data_dir: Annotated[Path, Parameter(metavar="FOLDER")] = Path(".docsluice/broker"),
    kafka: bool = False,
) -> int:
    """Run a broker that speaks Kafka's protocol, until Ctrl-C or SIGTERM.

    $ docsluice broker
    $ docsluice broker --kafka --port 9092 --data-dir kafka-data

    It prints `ready HOST:PORT` once it serves clients. The embedded broker serves one consumer, and after that was
    killed lets nobody in until it is started again. For several take Apache Kafka.

    Args:
        port: where to listen (0 takes a free one)
        data_dir: where to keep data and the broker's log
        kafka: run Apache Kafka, from Docker or on Java 17+ with Maven, instead of the embedded broker
    """
    if port and not is_free(port):
        raise CommandFailed(f"something listens on port {port} already; --port takes another")
    launch = apache_kafka if kafka else embedded_broker
    with contextlib.suppress(KeyboardInterrupt), faults_told(), until_terminated():
        with launch(data_dir=data_dir, port=port or None) as running:
            print(f"ready {running.bootstrap_servers}", flush=True)
            while running.running:
                time.sleep(_POLL_SECONDS)
        raise CommandFailed(f"the broker has ended by itself; its log is {running.log_path}")
    return 0


broker = command(_broker, name="broker")
