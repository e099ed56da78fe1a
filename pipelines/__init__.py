"""The stages of knotwatch and the rooms that they are built from."""

import os
import sys

# Set before any of these libraries is imported: each reads its switch at import.
for _switch, _off in {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}.items():
    os.environ.setdefault(_switch, _off)

# Threads that wait do not spin: beside other work on the same cores, spinning makes training several times slower.
# For OpenMP (torch), Intel's OpenMP (MKL), and OpenBLAS (numpy; a power of two of processor cycles).
for _switch, _idle in {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "OPENBLAS_THREAD_TIMEOUT": "4"}.items():
    os.environ.setdefault(_switch, _idle)

# OpenVINO's converter and NNCF report their use through this package unless it cannot be imported.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
