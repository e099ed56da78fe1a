"""MLflow's server behind the guard: the app that `mlflow server --app-name knotwatch` runs.

MLflow's own checks let in a page of any port of this machine, and hosts such as 10.example.com.
"""

import json
from pathlib import Path

from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pipelines.tracking.guard import Guard, end_group_with_parent
from pipelines.tracking.pages import RUNS_TABLE

# What a browser remembers of MLflow's pages, as it is where nobody has chosen yet: the view of model training instead
# of the one of language models, no usage tracking, and none of the panels and hints that belong to neither.
_CHOSEN = {
    "mlflow.workflowType_v1": "machine_learning",
    "mlflow.settings.telemetry.enabled_v1": False,
    "mlflow.telemetry.info.alert.dismissed_v1": True,
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": True,
    "mlflow.home.getting-started.collapsed_v1": True,
    "mlflow.detectIssues.guidanceShown_v1": True,
    "_mlflow_model_registry_promo_modal_dismissed_v1": True,
}
# Answered in reading, not written: what a person chooses is kept by MLflow's own page, and wins.
_SCRIPT = """<script>
{
  const chosen = CHOSEN, runs = /-ExperimentPage-.*-ReactComponentState$/, read = Storage.prototype.getItem;
  Storage.prototype.getItem = function (key) {
    const found = read.call(this, key);
    return found === null && this === localStorage ? chosen[runs.test(key) ? "runs" : key] ?? null : found;
  };
}
</script><style>[data-assistant-ui] { display: none !important }</style>"""
# The assistant runs commands on this machine.
_CLOSED = "/ajax-api/3.0/mlflow/assistant"


class OpensOnTraining:
    """MLflow's application, whose pages open in the view of model training, and without its assistant."""

    def __init__(self, app: ASGIApp, index: Path) -> None:
        self._app = app
        remembered = {**{key: json.dumps(value) for key, value in _CHOSEN.items()}, "runs": json.dumps(RUNS_TABLE)}
        # In a script, `</` could end it.
        script = _SCRIPT.replace("CHOSEN", json.dumps(remembered).replace("</", "<\\/"))
        self._page = index.read_text("utf-8").replace("<head>", f"<head>{script}", 1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path.startswith(_CLOSED):
            await PlainTextResponse("not offered here", 404)(scope, receive, send)
        elif scope["type"] == "http" and path == "/" and scope["method"] == "GET":
            await HTMLResponse(self._page, headers={"Cache-Control": "no-cache"})(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def make_app() -> Guard:
    """Make MLflow's application, guarded; its process ends with `knotwatch ui`."""
    end_group_with_parent()
    from mlflow.server import app as pages
    from mlflow.server.fastapi_app import app

    return Guard(OpensOnTraining(app, Path(pages.static_folder) / "index.html"))
