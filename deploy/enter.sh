#!/bin/sh
# Bring this image's code into the project folder, a volume, and run the command there. Data, settings of surfaces and
# state stay as they are; who changes params.yaml does so in the image, or says it in the surface's YAML.
set -eu
code=${KNOTWATCH_CODE:-/opt/knotwatch}
if [ "${KNOTWATCH_PREPARE:-}" = 1 ]; then
  mkdir -p data/surfaces data/raw data/work .dvc
  cp -R "$code/flows" "$code/pipelines" "$code/mlflow" "$code/dvc.yaml" "$code/params.yaml" .
  cp "$code/.dvcignore" "$code/.gitignore" .
  test -f .dvc/config || cp "$code/.dvc/config" .dvc/config
  test -f data/surfaces/index.yaml || cp "$code/data/surfaces/index.yaml" data/surfaces/
  test -d .git || git init -q .
fi
exec "$@"
