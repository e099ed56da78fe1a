"""MLflow's server behind the guard: the app that `mlflow server --app-name knotwatch` runs.

MLflow's own checks let in a page of any port of this machine, and hosts such as 10.example.com.
"""

from pipelines.tracking.guard import Guard


def make_app() -> Guard:
    """Make MLflow's application, guarded."""
    from mlflow.server.fastapi_app import app

    return Guard(app)
