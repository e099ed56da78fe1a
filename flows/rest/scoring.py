"""One request's work: every photograph through the champion that the request began with."""

import base64
import secrets
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from flows.champion import Loaded
from flows.rest.holder import Holder
from flows.rest.protocol import Asked, RequestError
from flows.rest.recorder import Recorder
from pipelines.errors import ImageError
from pipelines.history import Observation
from pipelines.imaging.decoding import decode_photograph
from pipelines.imaging.encoding import encode_map
from pipelines.inspection import observe


class Scorer:
    """Scores requests. Threads may share it: they decode side by side and take turns at the network."""

    def __init__(self, holder: Holder, recorder: Recorder) -> None:
        self._holder = holder
        self._recorder = recorder
        # One inference takes all cores; two at once would only wait for each other, and OpenVINO's call is not shared.
        self._turn = Lock()

    def score(self, asked: Asked) -> list[dict[str, Any]]:
        """Return a prediction for each photograph, all by one version.

        Raises:
            RequestError: naming the row, where one cannot be read; nothing is answered then.
        """
        used, seen = self._holder.current, []
        request = secrets.token_hex(4)
        try:
            predictions = []
            for row, data in enumerate(asked.images):
                start = Observation(time=datetime.now(UTC), path=f"rest:{request}/{row}", version=used.version)
                try:
                    prediction, observation = self._score_one(used, data, start, maps=asked.maps)
                except ImageError as error:
                    seen.append(start.model_copy(update={"error": error.problem}))
                    raise RequestError(f"row {row}: {error.problem}", cure=error.cure) from error
                seen.append(observation)
                predictions.append(prediction)
            return predictions
        finally:
            self._recorder.add(seen)

    def _score_one(
        self, used: Loaded, data: bytes, start: Observation, *, maps: bool
    ) -> tuple[dict[str, Any], Observation]:
        image = decode_photograph(data, used.detector.info.max_megapixels).image
        with self._turn:
            scan = used.detector.scan(image)
        prediction = {
            "score": scan.score,
            "anomalous": scan.anomalous,
            "defects": [defect.model_dump(mode="json") for defect in scan.defects],
            "sound": scan.sound,
            "foreign": scan.foreign,
            "version": used.version,
            "model": used.name,
        }
        if maps:
            prediction["map"] = base64.b64encode(encode_map(scan.map)).decode("ascii")
        return prediction, observe(start, image, scan)
