"""docs/grafana.json and docs/observability.md: they ask for what there is."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from backend.main import create_app
from tests.conftest import settings_for

DASHBOARD = Path(__file__).parent.parent / "docs" / "grafana.json"


def expressions(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        if "expr" in part:
            yield part["expr"]
        for each in part.values():
            yield from expressions(each)
    elif isinstance(part, list):
        for each in part:
            yield from expressions(each)


def exported(app: FastAPI) -> set[str]:
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}
    found = app.state.watch.metrics.registry.collect()
    return {family.name + suffix for family in found for suffix in suffixes[family.type]}


@pytest.mark.parametrize("file", ["grafana.json", "observability.md"])
def test_what_the_documentation_asks_for_is_exported(database_url: str, tmp_path: Path, file: str) -> None:
    app = create_app(settings_for(database_url, tmp_path))
    text = DASHBOARD.with_name(file).read_text()
    asked = set(
        re.findall(r"\btend_[a-z_]+[a-z]", "\n".join(expressions(json.loads(text))) if "json" in file else text)
    )

    assert asked
    assert asked <= exported(app)
    if "json" in file:
        assert {name.removesuffix("_bucket") for name in asked} >= {
            name for name in exported(app) if not name.endswith(("_sum", "_count", "_bucket"))
        }


def test_the_dashboard_is_one_that_grafana_can_read() -> None:
    """In the form of schema 39 (Grafana 10.4 and newer). Grafana itself is not at hand in the tests."""
    dashboard = json.loads(DASHBOARD.read_text())

    assert dashboard["schemaVersion"] == 39
    assert dashboard["title"] == "Tend"
    assert dashboard["uid"]
    assert dashboard["id"] is None
    (variable,) = dashboard["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(x + place["x"], y + place["y"]) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] in {"row", "stat", "timeseries"}
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
            for target in panel["targets"]:
                assert target["expr"].count("(") == target["expr"].count(")")
                assert target["datasource"] == panel["datasource"]
