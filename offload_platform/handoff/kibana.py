"""Kibana's saved objects of a data set: a data view, a visualisation for each panel, a search, and a dashboard of all.

They have fixed ids, so that importing them again replaces them. The vendor's panels say what is counted.
"""

import json
from collections.abc import Iterator
from typing import Any

from offload_platform.contracts.listening import Listening, Measure, Panel, PanelKind
from offload_platform.handoff.template import MIRROR, index_of
from offload_platform.listening.raw import listening_of
from offload_platform.settings import Feed

_CORE = "8.8.0"
_VERSIONS = {"index-pattern": "8.0.0", "visualization": "8.5.0", "search": "8.0.0", "dashboard": "8.9.0"}
"""Form of the objects, which later versions of Kibana bring up to their own when they import them."""
_INDEX = "kibanaSavedObjectMeta.searchSourceJSON.index"
_WIDTH, _HEIGHT, _ACROSS = 24, 12, 2
_MOST_VALUES = 10
_SCORE_STEP = 0.1


def saved_objects(feed: Feed) -> list[dict[str, Any]]:
    """All objects, each after those that it refers to: a line each in the file for `_import`."""
    listening = listening_of(feed)
    index = index_of(feed)
    panels = [_visualisation(panel, index, listening) for panel in listening.panels]
    search = _search(index, listening)
    return [_data_view(index, listening), *panels, search, _dashboard(index, listening, [*panels, search])]


def as_lines(objects: list[dict[str, Any]]) -> bytes:
    """The file for `POST /api/saved_objects/_import?overwrite=true`."""
    return "".join(json.dumps(one, ensure_ascii=False, sort_keys=True) + "\n" for one in objects).encode()


def fields_of(panel: Panel) -> list[str]:
    """Columns that a panel counts or goes by."""
    measured = [measure.column for measure in panel.measures]
    return [name for name in (*measured, panel.over, panel.by) if name is not None]


def _saved(kind: str, name: str, attributes: dict[str, Any], references: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "type": kind,
        "id": name,
        "attributes": attributes,
        "references": references,
        "managed": False,
        "coreMigrationVersion": _CORE,
        "typeMigrationVersion": _VERSIONS[kind],
    }


def _data_view(index: str, listening: Listening) -> dict[str, Any]:
    return _saved(
        "index-pattern", index, {"title": index, "name": index, "timeFieldName": listening.moment, "fields": "[]"}, []
    )


def _to_index(index: str) -> list[dict[str, str]]:
    return [{"name": _INDEX, "type": "index-pattern", "id": index}]


def _source(where: str) -> dict[str, str]:
    said = {"query": {"query": where, "language": "kuery"}, "filter": [], "indexRefName": _INDEX}
    return {"searchSourceJSON": json.dumps(said)}


def _visualisation(panel: Panel, index: str, listening: Listening) -> dict[str, Any]:
    measures = list(_measures(panel))
    aggregations = [*measures, *_buckets(panel, listening, len(measures) + 1)]
    state = {"title": panel.title, "type": panel.kind.value, "aggs": aggregations, "params": _params(panel, measures)}
    return _saved(
        "visualization",
        f"{index}-{panel.name}",
        {
            "title": panel.title,
            "description": "",
            "visState": json.dumps(state),
            "uiStateJSON": "{}",
            "kibanaSavedObjectMeta": _source(panel.where),
        },
        _to_index(index),
    )


def _measures(panel: Panel) -> Iterator[dict[str, Any]]:
    for number, measure in enumerate(panel.measures, start=1):
        yield {"id": str(number), "enabled": True, "schema": "metric", **_aggregation(measure)}


def _aggregation(measure: Measure) -> dict[str, Any]:
    params: dict[str, Any] = {} if measure.column is None else {"field": measure.column}
    if measure.percents:
        params["percents"] = list(measure.percents)
    return {"type": measure.function, "params": params}


def _buckets(panel: Panel, listening: Listening, first: int) -> Iterator[dict[str, Any]]:
    along, apart = {
        PanelKind.PIE: ("segment", "segment"),
        PanelKind.TABLE: ("bucket", "bucket"),
    }.get(panel.kind, ("segment", "group"))
    for number, (name, schema) in enumerate([(panel.over, along), (panel.by, apart)], start=first):
        if name is not None:
            yield {"id": str(number), "enabled": True, "schema": schema, **_bucket(name, panel, listening)}


def _bucket(name: str, panel: Panel, listening: Listening) -> dict[str, Any]:
    if name == listening.moment:
        interval = "h" if panel.kind is PanelKind.HEAT else "d"
        return {"type": "date_histogram", "params": {"field": name, "interval": interval, "min_doc_count": 1}}
    if name == listening.score:
        return {"type": "histogram", "params": {"field": name, "interval": _SCORE_STEP, "min_doc_count": False}}
    field = f"{name}.{MIRROR}" if name in listening.texts else name
    # By what is counted: the function of a column need not be one that can be ordered by.
    order = {"orderBy": "1" if panel.measures[0].function == "count" else "_key", "order": "desc"}
    return {"type": "terms", "params": {"field": field, "size": _MOST_VALUES, **order}}


def _params(panel: Panel, measures: list[dict[str, Any]]) -> dict[str, Any]:
    shared = {"type": panel.kind.value, "addTooltip": True, "addLegend": True, "legendPosition": "right"}
    match panel.kind:
        case PanelKind.TABLE:
            return {"perPage": _MOST_VALUES, "showPartialRows": False, "showMetricsAtAllLevels": False}
        case PanelKind.PIE:
            return shared | {"isDonut": True, "labels": {"show": True, "values": True, "last_level": True}}
        case PanelKind.HEAT:
            axis = {"id": "ValueAxis-1", "type": "value", "show": False, "scale": {"type": "linear"}, "labels": {}}
            return shared | {"enableHover": False, "colorsNumber": 6, "colorSchema": "Greens", "valueAxes": [axis]}
    category = {
        "id": "CategoryAxis-1",
        "type": "category",
        "position": "bottom",
        "show": True,
        "labels": {"show": True},
    }
    value = {
        "id": "ValueAxis-1",
        "name": "LeftAxis-1",
        "type": "value",
        "position": "left",
        "show": True,
        "scale": {"type": "linear", "mode": "normal"},
        "labels": {"show": True},
        "title": {"text": ""},
    }
    series = [
        {
            "show": True,
            "type": panel.kind.value,
            "mode": "stacked" if panel.kind is PanelKind.BAR else "normal",
            "data": {"id": measure["id"], "label": measure["type"]},
            "valueAxis": "ValueAxis-1",
            "drawLinesBetweenPoints": True,
            "showCircles": True,
        }
        for measure in measures
    ]
    return shared | {
        "grid": {"categoryLines": False},
        "categoryAxes": [category],
        "valueAxes": [value],
        "seriesParams": series,
    }


def _search(index: str, listening: Listening) -> dict[str, Any]:
    shown = [*listening.texts, listening.score, listening.computed.user_type]
    attributes = {
        "title": f"What was said ({index})",
        "description": "",
        "columns": shown,
        "sort": [[listening.moment, "desc"]],
        "kibanaSavedObjectMeta": _source(""),
    }
    return _saved("search", f"{index}-said", attributes, _to_index(index))


def _dashboard(index: str, listening: Listening, shown: list[dict[str, Any]]) -> dict[str, Any]:
    panels, references = [], []
    for number, one in enumerate(shown):
        place = str(number + 1)
        row, column = divmod(number, _ACROSS)
        grid = {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT, "i": place}
        name = f"panel_{place}"
        panels.append(
            {"type": one["type"], "gridData": grid, "panelIndex": place, "embeddableConfig": {}, "panelRefName": name}
        )
        references.append({"name": f"{place}:{name}", "type": one["type"], "id": one["id"]})
    # Test users are left out until somebody asks for them.
    source = {"query": {"query": f"{listening.computed.user_type} : real", "language": "kuery"}, "filter": []}
    attributes = {
        "title": f"Assistant ({index})",
        "description": "Times are shown in the zone of the browser. A login is no person: each login counts anew.",
        "panelsJSON": json.dumps(panels),
        "optionsJSON": json.dumps({"useMargins": True, "hidePanelTitles": False}),
        "timeRestore": False,
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(source)},
    }
    return _saved("dashboard", index, attributes, references)
