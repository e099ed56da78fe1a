"""What the page of all results says of one surface, kept beside the surface's reports between two commands."""

from datetime import datetime
from pathlib import Path

from pydantic import Field

from pipelines.core.files import write_whole
from pipelines.core.records import Record
from pipelines.core.results import VersionSummary

_FILE = "overview.json"


class ChampionNote(Record):
    """The version in use. `page` is the folder of its run's page, `picture` a marked image; empty where there is none.

    `experiment` is what MLflow's page calls the surface by.
    """

    version: int
    algorithm: str
    run_id: str
    data_version: str = ""
    summary: VersionSummary | None = None
    page: str = ""
    experiment: str = ""
    picture: str = Field(default="", pattern=r"^(data:image/jpeg;base64,[A-Za-z0-9+/]+=*)?$")


class DecisionNote(Record):
    number: int
    time: datetime
    summary: str


class ModelsNote(Record):
    """What is registered: how many versions, which is in use or proposed, the last decisions, and what holds others."""

    versions: int = 0
    champion: ChampionNote | None = None
    challenger: int | None = None
    hold: str = ""
    decisions: tuple[DecisionNote, ...] = ()


class DataNote(Record):
    """The data as they are now; `seen_ns` is the time of the lock file that says so."""

    version: str
    images: int
    usable: int
    seen_ns: int


class InspectionNote(Record):
    """The last inspection; `page` is relative to the project's reports, empty where it lies elsewhere or is none."""

    time: datetime
    model: str
    images: int
    anomalous: int
    unread: int
    page: str = ""


class DriftNote(Record):
    """The last check of a batch; `kind` is None where nothing moved. `review` is relative to the project."""

    time: datetime
    version: int
    batch: str
    kind: str | None = None
    message: str = ""
    review: str = ""


class SurfaceCard(Record):
    """One surface; what was never looked up is None."""

    surface: str
    models: ModelsNote | None = None
    data: DataNote | None = None
    inspection: InspectionNote | None = None
    drift: DriftNote | None = None


def read_card(reports: Path) -> SurfaceCard:
    """Read what is known of a surface; a card that is missing or damaged is as good as an empty one.

    Args:
        reports: Folder of the surface's reports, named after it.
    """
    try:
        card = SurfaceCard.model_validate_json((reports / _FILE).read_bytes())
    except (OSError, ValueError):
        return SurfaceCard(surface=reports.name)
    return card.model_copy(update={"surface": reports.name})


def write_card(reports: Path, card: SurfaceCard) -> None:
    """Keep what the page of all results says of a surface.

    Args:
        reports: Folder of the surface's reports, made where it is absent.
        card: An earlier one is replaced.
    """
    write_whole(reports / _FILE, card.model_dump_json() + "\n")
