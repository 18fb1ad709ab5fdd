"""The files that ``deployment`` writes: their metrics exist, and tools that read them do so."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from atriz_realtime.defaults.metrics.families import ENTITIES, FAMILIES
from tests.cli.processes import environment, finished

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "atriz_realtime" / "deployment"
COMPOSE = SHIPPED / "compose.yaml"
DASHBOARD = SHIPPED / "grafana-dashboard.json"
NAMES = {ENTITIES, *(family.name for family in FAMILIES)}


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def queries() -> list[str]:
    """All queries of the dashboard."""
    return [target["expr"] for panel in panels() for target in panel.get("targets", ())]


async def test_existing_files_are_not_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "ops"
    done = await finished("deployment", str(folder))
    shipped = {path.name: path.read_bytes() for path in SHIPPED.iterdir()}
    assert (done.status, done.err) == (0, "")
    assert {Path(line).name for line in done.out.splitlines()} == shipped.keys()
    assert {path.name: path.read_bytes() for path in contents(folder)} == shipped
    (folder / "environment").write_text("JWT_SECRET=ours")
    done = await finished("deployment", str(folder))
    assert done.status == 0
    assert done.err.count("exists already") == len(shipped)
    assert (folder / "environment").read_text() == "JWT_SECRET=ours"


def contents(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.mark.parametrize(
    "file",
    [DASHBOARD, SHIPPED / "alerts.yml", ROOT / "docs" / "operate" / "metrics.md"],
    ids=lambda path: path.name,
)
def test_every_queried_metric_exists(file: Path) -> None:
    asked = set(re.findall(r"\batriz_realtime_\w+", file.read_text()))
    assert asked
    assert asked - NAMES == set()


def test_the_dashboard_shows_every_common_metric() -> None:
    shown = DASHBOARD.read_text()
    assert {name.removeprefix("atriz_realtime_") for name in NAMES if name not in shown} == {
        "cache_dropped_total",
        "cache_entries",
        "cache_last_known_bytes",
        "cache_last_known_entries",
        "journal_appended_total",
        "journal_entries",
        "journal_lag_seconds",
        "journal_lost_total",
        "journal_queue",
        "journal_queue_bytes",
        "journal_queue_dropped_total",
        "journal_waiting",
        "recorder_batches_total",
        "recorder_failed_batches_total",
        "recorder_written_total",
        "redis_cluster_primaries",
        "statistic",
    }


def test_only_counters_are_queried_as_rates() -> None:
    kinds = {family.name: family.kind for family in FAMILIES}
    for query in queries():
        for function, name in re.findall(r"(\w+)\((atriz_realtime_\w+)", query):
            is_rate = function in ("rate", "increase")
            assert is_rate == (kinds.get(name) == "counter"), query


def test_panels_do_not_overlap_and_have_descriptions() -> None:
    places: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))
    for panel in panels():
        place = panel["gridPos"]
        taken = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & places, panel["title"]
        assert place["x"] + place["w"] <= 24
        places |= taken
        if panel["type"] != "row":
            assert panel["description"].endswith(".")
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert panel["datasource"]["uid"] == "${datasource}"


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    text = (SHIPPED / "alerts.yml").read_text()
    alerts = {
        name: re.search(r"^ +runbook_url: \"(.+)\"$", rule, re.MULTILINE)
        for name, rule in re.findall(r"- alert: (\w+)\n(.*?)(?=- alert: |\Z)", text, re.DOTALL)
    }
    page = (ROOT / "docs" / "operate" / "repairing.md").read_text()
    _, _, section = page.partition("\n## Alerts\n")
    runbooks = re.findall(r"^### (\w+)$", section.partition("\n## ")[0], re.MULTILINE)
    assert runbooks == list(alerts)
    for name, runbook in alerts.items():
        assert runbook is not None, name
        assert runbook[1] == f"https://docs.example.com/docs/operate/repairing.html#{name.lower()}"


def test_the_documented_command_sets_the_address_of_all_runbooks(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "operate" / "metrics.md").read_text()
    command = re.search(r"^ +(sed -i 's.*) ops/alerts\.yml$", page, re.MULTILINE)
    assert command is not None
    alerts = tmp_path / "alerts.yml"
    alerts.write_bytes((SHIPPED / "alerts.yml").read_bytes())
    subprocess.run(f"{command[1]} {alerts}", shell=True, check=True)
    addresses = re.findall(r"runbook_url: \"(.+)#\w+\"", alerts.read_text())
    assert set(addresses) == {"https://git.example.com/realtime/docs/operate/repairing.md"}


def checked(module: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a tool that is installed with the tests."""
    command = [Path(sys.executable).with_name(module), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_compose_takes_its_file() -> None:
    done = checked("check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_needs_no_variable_that_is_not_documented() -> None:
    page = (ROOT / "docs" / "operate" / "running.md").read_text()
    needed = set(re.findall(r"(?<!\$)\$\{(\w+)", COMPOSE.read_text()))
    assert needed == set(re.findall(r"^ +echo \"(\w+)=", page, re.MULTILINE))


def test_nginx_takes_the_configuration_of_compose(nginx: str, tmp_path: Path) -> None:
    found = re.search(r"\n  nginx:\n    content: \|\n((?:      .*\n|\n)+)", COMPOSE.read_text())
    assert found is not None
    configuration = textwrap.dedent(found[1]).replace("$$", "$")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"),
            *("-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"),
        ],
        check=True,
        capture_output=True,
    )
    for documented, here in {
        "/run/nginx.pid": str(tmp_path / "pid"),
        "access_log /dev/stdout;": "access_log off;",
        "/etc/nginx/tls": str(tmp_path),
        "listen 80;": "listen 127.0.0.1:8080;",
        "listen 443": "listen 127.0.0.1:8443",
    }.items():
        assert documented in configuration
        configuration = configuration.replace(documented, here)
    (tmp_path / "nginx.conf").write_text(configuration)
    done = subprocess.run(
        [nginx, "-t", "-c", tmp_path / "nginx.conf"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_nginx_of_compose_needs_no_name_of_a_server() -> None:
    """It would not start while one is away, and would not find one that was made anew."""
    text = COMPOSE.read_text()
    servers = re.findall(r"^ +server (\S+):3001 ", text, re.MULTILINE)
    assert servers == re.findall(r"<<: \*server\n.*ipv4_address: ([\d.]+)", text)
    assert len(servers) == 2


@pytest.mark.parametrize(
    ("wheels", "chosen"),
    [
        (["1.0.0"], "1.0.0"),
        (["1.9.0", "1.10.0"], "1.10.0"),
        (["1.0.0", "1.0.0rc1"], "1.0.0"),
    ],
)
def test_the_image_gets_the_newest_wheel(tmp_path: Path, wheels: list[str], chosen: str) -> None:
    command = re.search(r"^RUN pip (.+)$", (SHIPPED / "Containerfile").read_text(), re.MULTILINE)
    assert command is not None
    for version in wheels:
        (tmp_path / f"atriz_realtime-{version}-py3-none-any.whl").touch()
    called = f"echo {command[1]}".replace("/tmp/", f"{tmp_path}/")
    shell = subprocess.run(["sh", "-c", called], capture_output=True, text=True, check=True)
    wheel = tmp_path / f"atriz_realtime-{chosen}-py3-none-any.whl"
    assert shell.stdout == f"install --no-cache-dir {wheel}[serve,metrics,jwks]\n"


def test_kubernetes_takes_its_file() -> None:
    done = checked("kubernetes-validate", "--strict", SHIPPED / "kubernetes.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" passed ") + done.stderr.count(" passed ") == 3


async def test_a_server_starts_beside_the_services_of_the_manifest() -> None:
    """Kubernetes tells a container about Services in its environment, unless the pod declines."""
    _, *others = manifest = (SHIPPED / "kubernetes.yaml").read_text().split("\n---\n")
    links: dict[str, str] = {}
    for service in (each for each in others if "kind: Service\n" in each):
        name = re.search(r"^  name: (\S+)$", service, re.MULTILINE)
        assert name is not None
        prefix = name[1].upper().replace("-", "_")
        links |= {
            f"{prefix}_SERVICE_HOST": "10.96.0.7",
            f"{prefix}_PORT": "tcp://10.96.0.7:80",
            f"{prefix}_PORT_80_TCP": "tcp://10.96.0.7:80",
        }
    assert links
    declines = "\n      enableServiceLinks: false\n" in manifest[0]
    env = environment(JWT_SECRET="s" * 32, **({} if declines else links))
    assert (await finished("check", "--running", env=env)).status == 0
    done = await finished("check", "--running", env=environment(JWT_SECRET="s" * 32, **links))
    assert done.status == 1
    assert "set enableServiceLinks: false" in done.err


def test_logrotate_takes_its_file(logrotate: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text(
        (SHIPPED / "logrotate").read_text().replace("/var/log/atriz-realtime", str(tmp_path))
    )
    rules.chmod(0o644)
    (tmp_path / "server.log").write_text("a line\n")
    done = subprocess.run(
        [logrotate, "--force", "--state", tmp_path / "state", rules],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "server.log").read_text() == ""
    assert (tmp_path / "server.log.1").read_text() == "a line\n"
