"""One request's work: every image through the champion that the request began with."""

import base64
import secrets
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from flows.runtime.champion import Loaded
from flows.serving.champions.holder import Holder
from flows.serving.patience import HeedingNetwork, Patience, taking_turns
from flows.serving.pixels import check_pixels
from flows.serving.protocol import Limits, RequestError, ScoringRequest
from flows.serving.recorder import Recorder
from pipelines.core.errors import ImageError, ScoreError
from pipelines.imaging.decoding import decode_image
from pipelines.imaging.overlay import encode_map
from pipelines.inspection.history import Observation
from pipelines.inspection.inspect import observe


class Scorer:
    """Scores requests of one surface. Threads may share it: they decode side by side and take turns at the network."""

    def __init__(self, holder: Holder, recorder: Recorder, turn: Lock) -> None:
        """Score with a surface's champion.

        Args:
            holder: Lends the champion.
            recorder: Writes what was seen into the surface's history.
            turn: Whoever has it may infer; the same for all surfaces of the process.
        """
        self._holder = holder
        self._recorder = recorder
        # One inference takes all cores; two at once would only wait for each other, and OpenVINO's call is not shared.
        self._turn = turn

    def score(self, request: ScoringRequest, limits: Limits, patience: Patience) -> list[dict[str, Any]]:
        """Return a prediction for each image, all by one version.

        What was seen goes into the surface's history, also where the request is refused.

        Args:
            request: Its images are decoded one by one; maps make the answer many times larger.
            limits: How large images may be.
            patience: Heeded before each image and each tile, and while another request has its turn.

        Returns:
            In the order of the images: score, the threshold that it is compared with, verdict, defects and the version;
            with maps also `map`, a float32 TIFF in base64, (height, width) of the image.

        Raises:
            RequestError: Naming the row, if one cannot be read (status 400), is too large (413) or gets no finite score
                (500); and if the request's time is over (504). No prediction is answered then.
            ModelError: If the champion had been unloaded, and does not load again.
        """
        with self._holder.lend(patience.heed) as used:
            return self._score_all(used, request, limits, patience)

    def _score_all(
        self, used: Loaded, request: ScoringRequest, limits: Limits, patience: Patience
    ) -> list[dict[str, Any]]:
        seen = list[Observation]()
        request_id = secrets.token_hex(4)
        starts = [
            Observation(time=datetime.now(UTC), path=f"rest:{request_id}/{row}", version=used.version)
            for row in range(len(request.images))
        ]
        row, predictions = 0, []
        try:
            # All of them before the first is decoded: together they may be too large.
            for _ in check_pixels(request.images, used.detector.info.usual_pixels, limits):
                row += 1
            for row, data in enumerate(request.images):
                prediction, observation = self._score_one(used, data, starts[row], patience, maps=request.maps)
                seen.append(observation)
                predictions.append(prediction)
        except ImageError as error:
            seen.append(starts[row].model_copy(update={"error": error.problem}))
            raise RequestError(f"row {row}: {error.problem}", hint=error.hint) from error
        except ScoreError as error:
            seen.append(starts[row].model_copy(update={"error": error.problem}))
            problem = f"row {row}: {error.problem}"
            raise RequestError(problem, hint=error.hint, status=500, code="INTERNAL_ERROR") from error
        else:
            return predictions
        finally:
            self._recorder.add(seen)

    def _score_one(
        self, used: Loaded, data: bytes, start: Observation, patience: Patience, *, maps: bool
    ) -> tuple[dict[str, Any], Observation]:
        patience.heed()
        # How large it may be was looked at before, with the server's own limits.
        image = decode_image(data, float("inf")).image
        with taking_turns(self._turn, patience.heed):
            scan = used.detector.scan(image, lambda network: HeedingNetwork(network, patience))
        patience.heed()
        prediction = {
            "score": scan.score,
            "image_threshold": used.detector.info.image_threshold.threshold,
            "anomalous": scan.anomalous,
            "defects": [defect.model_dump(mode="json") for defect in scan.defects],
            "normal_regions": scan.normal_regions,
            "out_of_distribution": scan.out_of_distribution,
            "version": used.version,
            "model": used.name,
        }
        if maps:
            prediction["map"] = base64.b64encode(encode_map(scan.map)).decode("ascii")
        return prediction, observe(start, image, scan)
